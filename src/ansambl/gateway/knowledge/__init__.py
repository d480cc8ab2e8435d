"""Searching and reading knowledge without a model: the MCP tools and ``/v1/knowledge/…``."""
