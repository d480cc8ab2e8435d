"""What one client may take of the connections."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may take. Sizes are in bytes, times in seconds; `headers` and `connections` are numbers."""

    connections: int = 4096
    headers: int = 200
    header_bytes: int = 64 * 1024
    url_bytes: int = 16 * 1024
    head_timeout: float = 20.0
    body_timeout: float = 30.0
    write_timeout: float = 60.0
    keep_alive: float = 75.0
