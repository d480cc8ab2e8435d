"""One file per engine; none knows another. ``engines/registry.py`` names them."""
