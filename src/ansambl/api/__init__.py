"""The admin API under ``/admin/api``: what commands and the console read and change."""
