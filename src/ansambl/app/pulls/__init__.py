"""Models fetched by a running Ansambl."""
