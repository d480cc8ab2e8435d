"""Where those wait who want an instance's endpoint: open while its engine answers, shut while it does not."""

from __future__ import annotations

import asyncio

from ansambl.domain.errors import AnsamblError
from ansambl.domain.instance import Endpoint


class Door:
    """The door of one instance; use it on one event loop.

    `wanted` is set as soon as somebody waits before the shut door.
    """

    def __init__(self) -> None:
        self._ready: asyncio.Future[Endpoint] | None = None
        self.wanted = asyncio.Event()

    @property
    def is_open(self) -> bool:
        """Whether nobody has to wait."""
        return self._ready is not None and self._ready.done()

    def endpoint(self) -> Endpoint | None:
        """The endpoint while the door is open, else None."""
        return self._ready.result() if self._ready is not None and self._ready.done() else None

    def shut(self) -> None:
        """Let those who come from now on wait; those who wait go on waiting."""
        if self._ready is None or self._ready.done():
            self.wanted.clear()
            self._ready = asyncio.get_running_loop().create_future()
            # Nobody may be waiting when it fails; that is no mistake of the program.
            self._ready.add_done_callback(lambda one: one.cancelled() or one.exception())

    def open(self, endpoint: Endpoint) -> None:
        """Let all in."""
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(endpoint)

    def give_up(self, error: AnsamblError) -> None:
        """Send those away who wait, and nobody is behind the door any more."""
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(error)
        self._ready = None

    async def wait(self) -> Endpoint | None:
        """Wait until it is open; None when it was shut again before the caller could go on.

        Raises:
            AnsamblError: that of `give_up`.
        """
        ready = self._ready
        if ready is None:
            return None
        if not ready.done():
            self.wanted.set()
        # Shielded: a caller that goes away must not cancel the start that others wait for.
        endpoint = await asyncio.shield(ready)
        return endpoint if self._ready is ready else None
