"""A bell that rings when the state of an instance may have changed: whoever listens looks again then."""

from __future__ import annotations

import asyncio


class Changes:
    """Counts what happened, and wakes those who wait for it. Nothing is kept for a listener that is slow."""

    def __init__(self) -> None:
        self.count = 0
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def tell(self) -> None:
        """Something may have changed; may be called in any thread, and costs nothing where nobody waits."""
        self.count += 1
        for loop, rung in tuple(self._waiting):
            # Not at once: who tells it changes its state in the same turn of the loop.
            loop.call_soon_threadsafe(rung.set)

    async def after(self, count: int, patience: float) -> int:
        """Wait until there are more changes than `count`, at most `patience` seconds; returns how many there are."""
        rung = asyncio.Event()
        entry = (asyncio.get_running_loop(), rung)
        self._waiting.add(entry)
        try:
            if self.count == count:
                async with asyncio.timeout(patience):
                    await rung.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting.discard(entry)
        return self.count
