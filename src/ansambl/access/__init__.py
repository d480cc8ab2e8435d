"""Who may do what: API keys, their limits, and sessions of browsers."""
