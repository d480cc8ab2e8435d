"""Configurations of other programs, taken over: read, translated, and written as a checked ``ansambl.toml``."""
