"""The truth in SQLite: collections, documents with their text, passages, vectors with their model's name."""
