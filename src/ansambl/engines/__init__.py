"""Engines: what each one can do and how it is started. Adapters describe; the runtime acts."""
