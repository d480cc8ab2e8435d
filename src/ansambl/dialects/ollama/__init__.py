"""Ollama's chat and generation: requests become chat completion requests, answers become lines of JSON."""
