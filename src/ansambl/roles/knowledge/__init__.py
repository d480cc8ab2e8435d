"""Roles that read: what is searched before they answer, how it stands in the prompt, and which of it they cite."""
