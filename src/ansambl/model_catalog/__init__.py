"""Facts about models, read from their files and from data that we ship."""
