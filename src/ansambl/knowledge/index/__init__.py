"""Indexes: where passages are found. Each is rebuilt from the store at any time, and none holds the truth."""
