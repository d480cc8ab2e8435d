"""Ansambl: one machine, one resident model, many minds.

The package is laid out in layers; see ``ARCHITECTURE.md``. Nothing is imported here, so that a child process that
needs one module pays for one module.
"""

__version__ = "0.1.0"
