"""Engines installed by commands and by a running Ansambl."""
