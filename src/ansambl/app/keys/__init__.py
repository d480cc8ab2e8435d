"""API keys of a running Ansambl, and of a data folder."""
