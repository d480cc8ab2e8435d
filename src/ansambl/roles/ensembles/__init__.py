"""How several roles answer one request: one module per pattern."""
