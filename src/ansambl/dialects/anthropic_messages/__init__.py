"""Anthropic's messages: requests become chat completion requests, answers become messages and their events."""
