"""The command line. Commands talk to the running Ansambl, or work on the data folder when there is none."""
