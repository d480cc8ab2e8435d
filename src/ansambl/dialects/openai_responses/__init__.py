"""OpenAI's responses: requests become chat completion requests, answers become responses and their events."""
