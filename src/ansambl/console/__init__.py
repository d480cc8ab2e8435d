"""The console at ``/``: what the machine is doing, and a chat with roles, ensembles and models."""
