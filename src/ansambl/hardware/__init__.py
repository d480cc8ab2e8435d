"""Facts about this machine, read from the system and never guessed."""
