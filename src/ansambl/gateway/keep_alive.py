"""Comments in the stream of an answer that is silent for long, so that nobody takes it for dead."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from ansambl.domain.errors import AnsamblError
from ansambl.domain.text import text
from ansambl.gateway.exchange import Exchange, speaker_of_scope

SILENCE = 5.0
"""Seconds without a byte after which a comment is sent, and again.

A shorter wait needs no word, and until the stream begins a request can still be refused with a status of its own. The
least patient of those that sit between wait 30 s (load balancers of clouds) to 60 s (nginx, and some HTTP clients).
"""


@asynccontextmanager
async def kept_alive(exchange: Exchange) -> AsyncIterator[None]:
    """While this is open, the streamed answer of `exchange` is never silent for long.

    The first comment begins the stream, with the headers that are known by then. Each says what is waited for.
    """
    comments = _Comments(exchange)
    try:
        yield
    finally:
        await comments.end()


class _Comments:
    """A timer is set again and again; nothing more happens for an answer that is never silent for long."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._loop = asyncio.get_running_loop()
        self._sending: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(SILENCE, self._look)

    async def end(self) -> None:
        self._timer.cancel()
        if self._sending is not None and not self._sending.done():
            # It may wait for a client that reads nothing.
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)

    def _look(self) -> None:
        silent = time.perf_counter() - self._exchange.sent_at
        if silent >= SILENCE and (self._sending is None or self._sending.done()):
            self._sending = self._loop.create_task(self._exchange.comment(self._words()))
        left = SILENCE - silent
        self._timer = self._loop.call_later(left if left > 0 else SILENCE, self._look)

    def _words(self) -> str:
        message = text("at work")
        # A reload may have taken the model away.
        with suppress(AnsamblError):
            message = self._exchange.outlook() if self._exchange.outlook is not None else message
        return message.render(speaker_of_scope(self._exchange.scope))
