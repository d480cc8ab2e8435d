"""Noticing that a client has gone, and streams of events that end with it or with Ansambl."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, Final, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ansambl.domain.errors import AnsamblError
from ansambl.domain.text import text

KEEP_ALIVE: Final = b": keep-alive\n\n"
"""A comment, which every client passes over; it shows that the connection is alive."""
KEEP_ALIVE_EVERY: Final = 15.0
"""Seconds of silence after which one is sent: proxies give a silent connection up after 30 to 60."""

_PATIENCE = 60.0
"""Seconds for a client to read what it was sent; one that does not is let go."""
_LAST_WORDS = 0.2

_Result = TypeVar("_Result")


class ClientLeftError(AnsamblError):
    """Nobody is left to answer; the status is one that nobody gets."""

    status = 499
    code = "client_left"


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def while_client_stays(receive: Receive, work: Coroutine[Any, Any, _Result]) -> _Result:
    """Do `work`; where the client leaves before it is done it is cancelled.

    Raises:
        ClientLeftError: the client has gone.
    """
    doing = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_until_gone(receive))
    try:
        await asyncio.wait({doing, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise ClientLeftError(text("The client has gone before its answer was ready."))
        return await doing
    finally:
        gone.cancel()
        doing.cancel()


def frame(kind: str, data: dict[str, Any], event_id: str | None = None) -> bytes:
    """One event of a stream."""
    head = f"event: {kind}\n" if event_id is None else f"id: {event_id}\nevent: {kind}\n"
    return f"{head}data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


class EventStream(Response):
    """Sends what `source` gives, as it comes. It ends with its source, its client, or when `closing` is set.

    The source is asked for more only when what it gave was taken off our hands, so a slow client costs one buffer.
    """

    media_type = "text/event-stream"
    longest = 86_400.0
    """Seconds after which a stream ends by itself: who still reads comes back with the id of the last event."""

    def __init__(self, source: AsyncGenerator[bytes], closing: asyncio.Event) -> None:
        super().__init__(headers={"cache-control": "no-cache", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._source = source
        self._closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        del scope
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        pump = asyncio.create_task(self._pump(send), name="event stream")
        ends = [asyncio.create_task(_until_gone(receive)), asyncio.create_task(self._closing.wait())]
        try:
            await asyncio.wait([pump, *ends], timeout=self.longest, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in (pump, *ends):
                one.cancel()
            await asyncio.gather(pump, *ends, return_exceptions=True)
            await self._source.aclose()
        if pump.cancelled() or pump.exception() is None:
            # What was stuck behind a client that does not read stays stuck.
            with contextlib.suppress(TimeoutError, OSError):
                async with asyncio.timeout(_LAST_WORDS):
                    await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pump(self, send: Send) -> None:
        async for part in self._source:
            async with asyncio.timeout(_PATIENCE):
                await send({"type": "http.response.body", "body": part, "more_body": True})
