"""Roles of the file and of the database as one book, how they are changed, and how a change takes effect."""
