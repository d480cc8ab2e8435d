"""How many use an instance now."""

from __future__ import annotations

import asyncio


class Uses:
    """Counts the uses of one instance."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    def any(self) -> bool:
        """Whether anybody uses it now."""
        return self._count > 0

    def begin(self) -> None:
        """One more."""
        self._count += 1
        self._none.clear()

    def end(self) -> None:
        """One less."""
        self._count -= 1
        if self._count == 0:
            self._none.set()

    async def none_left(self) -> None:
        """Wait until nobody uses it."""
        await self._none.wait()
