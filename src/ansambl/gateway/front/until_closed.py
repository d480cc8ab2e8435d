"""Answers whose body ends with the connection: all that a client of HTTP/1.0 understands beside a known length.

uvicorn divides every body without a length into chunks, which such a client takes for a part of the answer (RFC 9112,
6.1 forbids it).
"""

from __future__ import annotations

from typing import Any, Self


class _AnyLength(int):
    """Stands for the bytes that uvicorn still expects of a body, and is content with any number of them."""

    __slots__ = ()

    def __lt__(self, other: int) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0

    def __sub__(self, other: int) -> Self:
        return self


def answer_until_closed(cycle: Any) -> None:
    """Have the answer to the request of `cycle` sent without chunks; uvicorn closes the connection behind it."""
    cycle.chunked_encoding = False
    cycle.expected_content_length = _AnyLength()
