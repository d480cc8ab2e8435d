"""The OpenAI-compatible face: plain ASGI on the request path, bytes handed through."""
