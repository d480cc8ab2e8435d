"""One module per kind of hardware; each reads what it can and says in words what it could not."""
