"""What an engine still owes: how many of its answers are waited for, and whether anything of them arrives.

On the request path, so it is two numbers and nothing else.
"""

from __future__ import annotations


class Flight:
    """`awaited` counts those who wait for bytes of the engine at this moment; `arrived` grows with each piece.

    A client that reads slowly holds its engine up without waiting for it, so it does not count.
    """

    __slots__ = ("arrived", "awaited")

    def __init__(self) -> None:
        self.awaited = 0
        self.arrived = 0
