"""Decoding what an engine or a client wrote, which may be anything."""

from __future__ import annotations

from typing import Any

import msgspec

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises: broken JSON or a number out of range, broken UTF-8, thousands of brackets in each other."""


def decode_object(body: bytes) -> dict[str, Any] | None:
    """What an engine wrote, as an object; None when it is none. Engines are not trusted to write JSON."""
    try:
        found = msgspec.json.decode(body)
    except UNREADABLE:
        return None
    return found if isinstance(found, dict) else None
