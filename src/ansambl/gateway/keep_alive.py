"""What a streamed answer says while it waits: comments that nobody shows, and lines that Open WebUI does."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

from ansambl.dialects.openai_chat import Envelope
from ansambl.domain.errors import AnsamblError
from ansambl.domain.text import text
from ansambl.gateway.citing import is_open_webui, status_event
from ansambl.gateway.exchange import Exchange, speaker_of_scope

SILENCE = 5.0
"""Seconds without a byte after which a comment is sent, and again.

A shorter wait needs no word, and until the stream begins a request can still be refused with a status of its own. The
least patient of those that sit between wait 30 s (load balancers of clouds) to 60 s (nginx, and some HTTP clients).
"""


TOLD_AFTER, LOOKED_AT = 1.0, 0.5
"""Seconds after which Open WebUI is told what its answer waits for, and between two looks whether that has changed."""


@asynccontextmanager
async def kept_alive(exchange: Exchange) -> AsyncIterator[None]:
    """While this is open, the streamed answer of `exchange` is never silent for long.

    The first comment begins the stream, with the headers that are known by then. Each says what is waited for. Open
    WebUI gets that as lines, too, until the answer begins.
    """
    # Its events are part of chat completions, and no other dialect has them.
    shows = exchange.asked is None and is_open_webui(exchange.scope)
    comments = _Statuses(exchange) if shows else _Comments(exchange, SILENCE)
    try:
        yield
    finally:
        await comments.end()


class _Comments:
    """A timer is set again and again; nothing more happens for an answer that is never silent for long."""

    def __init__(self, exchange: Exchange, first: float) -> None:
        self._exchange = exchange
        self._loop = asyncio.get_running_loop()
        self._sending: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(first, self._look)

    async def end(self) -> None:
        self._timer.cancel()
        if self._sending is not None and not self._sending.done():
            # It may wait for a client that reads nothing.
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)

    def _look(self) -> None:
        silent = time.perf_counter() - self._exchange.sent_at
        if silent >= SILENCE:
            self._send(self._exchange.comment(self._words()))
        left = SILENCE - silent
        self._timer = self._loop.call_later(left if left > 0 else SILENCE, self._look)

    def _send(self, sending: Coroutine[Any, Any, None]) -> None:
        if self._sending is None or self._sending.done():
            self._sending = self._loop.create_task(sending)
        else:
            sending.close()

    def _words(self) -> str:
        message = text("at work")
        # A reload may have taken the model away.
        with suppress(AnsamblError):
            message = self._exchange.outlook() if self._exchange.outlook is not None else message
        return message.render(speaker_of_scope(self._exchange.scope))


class _Statuses(_Comments):
    """Before the answer begins, each change of what is waited for becomes a line; the answer takes the line away."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange, TOLD_AFTER)
        self._envelope = Envelope(f"chatcmpl-{uuid.uuid4().hex}", int(time.time()), "")
        self._told = ""

    def _look(self) -> None:
        if self._exchange.begun:
            super()._look()
            return
        words = self._words()
        if words != self._told:
            self._told = words
            self._send(self._show(words))
        elif time.perf_counter() - self._exchange.sent_at >= SILENCE:
            self._send(self._exchange.comment(words))
        self._timer = self._loop.call_later(LOOKED_AT, self._look)

    async def _show(self, words: str) -> None:
        envelope = replace(self._envelope, model=self._exchange.name)
        clearing = status_event(envelope, words, done=True, hidden=True)
        await self._exchange.progress(status_event(envelope, words, done=False), clearing)
