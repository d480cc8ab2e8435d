"""Installing engines: which build fits this machine (pure), and putting it into a folder of its own."""
