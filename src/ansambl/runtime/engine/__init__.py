"""One engine that we run: its process from the first start to the last stop, and all that happens to it in between."""
