"""Dividing a document's text into passages, by its structure."""
