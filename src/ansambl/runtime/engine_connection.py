"""One HTTP/1.1 connection to an engine, as an asyncio protocol: one request at a time, its answer as it arrives."""

from __future__ import annotations

import asyncio
from typing import cast

import httptools

_READ_AHEAD = 256 * 1024
"""Bytes that are kept before the engine is told, by TCP, to wait until they were read."""

_HEAD_LIMIT = 64 * 1024


class BrokenAnswerError(Exception):
    """The connection ended, or what arrived is not HTTP; `began` tells whether the answer's head had come."""

    def __init__(self, reason: str, *, began: bool) -> None:
        super().__init__(reason)
        self.began = began


class EngineConnection(asyncio.Protocol):
    """Sends a request and takes its answer apart. `abort` closes it at once, which makes an engine stop generating."""

    def __init__(self) -> None:
        self.idle_since = 0.0
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._closed = False
        self._busy = False
        self._paused = False
        self._reset()

    def _reset(self) -> None:
        self.status = 0
        self.content_type = ""
        self._parser = httptools.HttpResponseParser(self)
        self._head_size = 0
        self._framed = False
        self._complete = False
        self._stays_open = False
        self._stray = False
        self._chunks: list[bytes] = []
        self._size = 0
        self._failure: str | None = None
        self._waiter: asyncio.Future[None] | None = None

    # --- what the answer's reader asks ------------------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        """Whether another request may be sent: it is open, and the last answer was read and ended cleanly."""
        return not (self._closed or self._busy)

    async def send(self, request: bytes) -> None:
        """Send a whole request and return when the head of its answer has arrived.

        Raises:
            BrokenAnswerError: the connection failed before that.
        """
        self._reset()
        self._busy = True
        if self._closed or self._transport is None:
            reason = "connection closed"
            raise BrokenAnswerError(reason, began=False)
        self._transport.write(request)
        while not self.status:
            if self._failure is not None:
                raise BrokenAnswerError(self._failure, began=False)
            await self._wait()

    async def read(self) -> bytes | None:
        """The bytes of the body that have arrived since the last call, waiting for some; None at its end.

        Raises:
            BrokenAnswerError: the connection failed in the middle.
        """
        while not self._chunks:
            if self._complete:
                return None
            if self._failure is not None:
                raise BrokenAnswerError(self._failure, began=True)
            await self._wait()
        found = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._size = 0
        if self._paused and self._transport is not None and not self._closed:
            self._paused = False
            self._transport.resume_reading()
        return found

    def release(self) -> bool:
        """The reader is done: return whether the connection can be used again; if not, it is closed."""
        if self._complete and self._stays_open and not self._stray and not self._closed:
            self._busy = False
            self.idle_since = self._loop.time()
            return True
        self.abort()
        return False

    def abort(self) -> None:
        """Close the connection at once."""
        self._closed = True
        if self._transport is not None:
            self._transport.abort()

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, reason: str) -> None:
        if self._failure is None and not self._complete:
            self._failure = reason
        self.abort()
        self._wake()

    # --- what the event loop tells ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Bytes of the answer arrived."""
        if not self._busy or self._complete:
            # Nobody asked: what follows could not be told from the next answer.
            self._stray = True
            self.abort()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail("it changed the protocol")
        except httptools.HttpParserError:
            self._stray = True
            self._fail("its answer is not HTTP")
        if self._size > _READ_AHEAD and not self._paused and self._transport is not None and not self._closed:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection ended: the end of a body without a length, else a failure."""
        self._closed = True
        if self.status and not self._framed and exc is None:
            self._complete = True
        elif not self._complete and self._failure is None:
            self._failure = "connection closed" if exc is None else getattr(exc, "strerror", None) or str(exc)
        self._wake()

    # --- what the parser tells --------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Another answer begins; there must be only one for a request."""
        if self._complete:
            self._stray = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._head_size += len(name) + len(value)
        if self._head_size > _HEAD_LIMIT:
            self._fail("its headers are too long")
        folded = name.lower()
        if folded == b"content-type":
            self.content_type = value.decode("latin-1")
        elif folded in {b"content-length", b"transfer-encoding"}:
            self._framed = True

    def on_headers_complete(self) -> None:
        """The head is whole; one of status 1xx only announces the real one."""
        status = self._parser.get_status_code()
        if status >= 200 and not self._complete:
            self.status = status

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        if not self._complete:
            self._chunks.append(body)
            self._size += len(body)

    def on_message_complete(self) -> None:
        """The answer is whole, unless it was of status 1xx."""
        if self.status:
            self._complete = True
            self._stays_open = self._parser.should_keep_alive()
        else:
            self.content_type, self._framed = "", False
