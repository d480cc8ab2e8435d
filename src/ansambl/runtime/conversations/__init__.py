"""Conversations that outlive a swap and a restart, and that one key never shares with another."""
