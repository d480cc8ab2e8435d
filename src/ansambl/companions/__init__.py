"""Programs of others that Ansambl starts beside itself, already connected: each in a process of its own."""
