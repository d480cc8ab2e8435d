"""What the admin API does with a running product, beside instances and roles."""
