"""The admin API under `PREFIX`: what commands and the console read and change."""

PREFIX = "/admin/api"
"""Where it stands. Here, so that a command that asks it need not load the API itself."""
