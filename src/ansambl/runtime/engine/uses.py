"""Who uses an instance now, and since when nobody does."""

from __future__ import annotations

import asyncio


class Uses:
    """Counts the uses of one instance. Times are those of a monotonic clock, in seconds, and are given to it.

    Args:
        now: when it becomes usable.
    """

    def __init__(self, now: float) -> None:
        self._count = 0
        self._changed = now
        self._none = asyncio.Event()
        self._none.set()

    def any(self) -> bool:
        """Whether anybody uses it now."""
        return self._count > 0

    def begin(self) -> None:
        """One more."""
        self._count += 1
        self._none.clear()

    def end(self, now: float) -> None:
        """One less."""
        self._count -= 1
        self._changed = max(self._changed, now)
        if self._count == 0:
            self._none.set()

    def renew(self, now: float) -> None:
        """As if the last use had ended now."""
        self._changed = now

    def idle_until(self, ttl: float) -> float | None:
        """When nobody will have used it for `ttl` seconds; None while somebody does."""
        return None if self._count else self._changed + ttl

    async def none_left(self) -> None:
        """Wait until nobody uses it."""
        await self._none.wait()
