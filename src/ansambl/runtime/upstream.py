"""The HTTP client towards engines, on the request path. Nothing but this and `upstream_connections` knows aiohttp.

Why this one: an engine stops generating only when its connection is closed, and aiohttp closes it at once at any
moment, also during a prefill, when the answer has not begun. ``docs/decisions/0004`` has the figures and the clients
that were tried. Bytes are handed on as they arrive; nothing is decompressed, followed or parsed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from ansambl.domain.errors import EngineError
from ansambl.domain.instance import Endpoint
from ansambl.domain.text import Text, text
from ansambl.runtime.flight import Flight
from ansambl.runtime.upstream_connections import Connector, Destination, EngineConnection, Pouring, Transfer

_CONNECT_PATIENCE = 10.0
_IDLE_LIMIT = 4.0
"""Seconds; engines close idle connections after 5 (llama.cpp, uvicorn), and a request sent in that moment is lost."""
_SILENCE_LIMIT = 3600.0
"""Seconds without a byte. A prefill may take many minutes; but aiohttp waits for ever on a stream that is not HTTP."""
_READ_AHEAD = 2**16
"""Bytes of an answer that are kept for a slow client; an engine that is ahead of them waits."""

_SETTLED_LIMIT = 64 * 2**20
"""Bytes of an answer that are waited for before any of it is handed on."""
_COMMENT = ord(":")
_MOST_DESTINATIONS = 256
_SHOWN = 200
_LOST = (aiohttp.ClientError, HttpProcessingError, OSError, ValueError)

JSON = "application/json"
Body = bytes | Sequence[bytes | memoryview]
"""What is sent: a whole body, or pieces that are sent one after another and never joined."""

BROKE_OFF = text("it broke off in the middle of its answer")
"""The reason of a `ConnectionLostError` when an answer began and has no end."""


_FIRST_STATUS, _LAST_STATUS = 200, 599
"""What may end a request: 1xx announces another answer, and there is nothing above."""


class ConnectionLostError(EngineError):
    """The connection to the engine failed.

    `answered` tells whether its answer had begun: only before that may a request be sent again. `garbage` tells whether
    what came is no HTTP.
    """

    def __init__(self, reason: Text | str, *, answered: bool, garbage: bool = False) -> None:
        super().__init__(
            text("The connection to the engine was lost ({reason}). Send the request again.", reason=reason)
        )
        self.answered = answered
        self.garbage = garbage


_LONGEST_WAIT = 5
"""Digits of a number of seconds that is believed."""


class UpstreamAnswer:
    """An engine's answer whose body is still arriving. Leaving the context closes an unfinished connection at once.

    `flight` is told what is waited for and what arrives. `ended` tells whether the body arrived as a whole.
    """

    def __init__(self, connector: Connector, destination: Destination, head: bytes, body: Body) -> None:
        self._transfer = Transfer()
        self._begin = partial(
            self._transfer.begin, connector, destination, head, body,
            connect=_CONNECT_PATIENCE, silence=_SILENCE_LIMIT, read_ahead=_READ_AHEAD,
        )  # fmt: skip
        self.status = 0
        self.content_type = ""
        self.flight = Flight()
        self.ended = False
        self._ahead: list[bytes] = []

    async def __aenter__(self) -> Self:
        transfer = self._transfer
        self.flight.awaited += 1
        try:
            await self._begin()
        except BaseException as error:
            transfer.close()
            if not isinstance(error, _LOST):
                raise
            garbage = isinstance(error, HttpProcessingError)
            raise ConnectionLostError(_reason(error), answered=False, garbage=garbage) from error
        finally:
            self.flight.awaited -= 1
        self.flight.arrived += 1
        self.status = transfer.status
        if not _FIRST_STATUS <= self.status <= _LAST_STATUS:
            transfer.close()
            raise ConnectionLostError(text("it answered with status {status}", status=self.status),
                                      answered=False, garbage=True)  # fmt: skip
        kind = transfer.headers.get("content-type", "")
        # It stands in our own answer's head, where other characters would end that.
        self.content_type = kind if kind.isascii() and kind.isprintable() else ""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._transfer.close()

    @property
    def retry_after(self) -> int | None:
        """The seconds after which the engine wants to be asked again; None where it says none."""
        found = self._transfer.headers.get("retry-after", "")
        return int(found) if found.isascii() and found.isdigit() and len(found) <= _LONGEST_WAIT else None

    @property
    def streams(self) -> bool:
        """Whether the body is a stream of server-sent events."""
        return self.content_type.startswith("text/event-stream")

    async def chunk(self) -> bytes | None:
        """The next bytes as they arrived; None at the end.

        Raises:
            ConnectionLostError: the engine went away in the middle.
        """
        return self._ahead.pop(0) if self._ahead else await self._arriving()

    async def settle(self) -> list[bytes]:
        """Wait until it is sure that an answer comes, and return what arrived; `chunk` and `body` give it once more.

        Of JSON and of a refusal that is the whole, of anything else its first bytes.

        Raises:
            ConnectionLostError: the engine went away before.
        """
        whole = not self.streams and (self.status >= 400 or self.content_type.startswith("application/json"))
        size = 0
        while (piece := await self._arriving()) is not None:
            self._ahead.append(piece)
            size += len(piece)
            if not whole or size > _SETTLED_LIMIT:
                break
        return self._ahead

    async def _arriving(self) -> bytes | None:
        if self.ended:
            return None
        flight = self.flight
        flight.awaited += 1
        try:
            piece = await self._transfer.content.readany()
        except _LOST as error:
            raise ConnectionLostError(_reason(error), answered=True) from error
        finally:
            flight.awaited -= 1
        if not piece:
            self.ended = True
            return None
        if piece[0] != _COMMENT:
            # llama.cpp's comments come from a thread that goes on when the engine hangs.
            flight.arrived += 1
        return piece

    async def pour(self, take: Callable[[bytes], bool]) -> bool:
        """Hand the rest of the body to `take` as it arrives; return whether it is over, and not only `take` full.

        `take` says whether it can take more at once. It is called from wherever bytes arrive, and must not wait.

        Raises:
            ConnectionLostError: the engine went away in the middle.
        """
        while self._ahead:
            if not take(self._ahead.pop(0)):
                return False
        if self.ended:
            return True
        connection = self._transfer.protocol
        if not isinstance(connection, EngineConnection):
            # It is here as a whole, and its connection is another answer's already; or aiohttp made another kind.
            while (piece := await self._arriving()) is not None:
                if not take(piece):
                    return False
            return True
        flight = self.flight

        def arrived(piece: bytes) -> bool:
            if piece[0] != _COMMENT:
                flight.arrived += 1
            return take(piece)

        pouring = Pouring(connection, self._transfer.content, arrived)
        flight.awaited += 1
        try:
            pouring.begin()
            ended = self.ended = await pouring.poured
        except _LOST as error:
            raise ConnectionLostError(_reason(error), answered=True) from error
        finally:
            pouring.end()
            flight.awaited -= 1
        return ended

    async def body(self, limit: int = 64 * 2**20) -> bytes:
        """The whole body.

        Raises:
            ConnectionLostError: the engine went away in the middle, or the body is over `limit` bytes.
        """
        parts: list[bytes] = []
        size = 0
        while (part := await self.chunk()) is not None:
            size += len(part)
            if size > limit:
                reason = f"its answer is over {limit} bytes"
                raise ConnectionLostError(reason, answered=True)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


class Upstream:
    """A pool of kept-alive connections to engines. One for the process, closed at its end.

    No proxy is used: an engine's address is on this machine or on one that the owner named; nothing else may see it.
    """

    def __init__(self) -> None:
        self._kept: Connector | None = None
        self._anew: Connector | None = None
        self._destinations: dict[str, Destination] = {}
        self._closed = False

    def post(
        self, endpoint: Endpoint, path: str, body: Body, *, anew: bool = False, content_type: str = JSON
    ) -> UpstreamAnswer:  # fmt: skip
        """POST a body to ``base_url + path``; enter the result to send it.

        `anew` sends it over a connection of its own: what is sent again because an engine had closed a kept-alive
        connection must not meet another one that it has closed as well.

        Raises:
            ConnectionLostError: the address or the key cannot be sent as it is written, or this was closed.
        """
        length = len(body) if isinstance(body, bytes) else sum(map(len, body))
        head = f"content-type: {content_type}\r\naccept: */*\r\nuser-agent: ansambl\r\ncontent-length: {length}\r\n"
        if endpoint.key:
            if " " in endpoint.key:
                raise _unwritable()
            head += f"authorization: Bearer {endpoint.key}\r\n"
        if not content_type.isprintable() or not (endpoint.key or "").isprintable() or not head.isascii():
            raise _unwritable()
        connector = self._connector(anew=anew)
        address = endpoint.base_url + path
        destination = self._destinations.get(address)
        if destination is None:
            if len(self._destinations) >= _MOST_DESTINATIONS:
                self._destinations.clear()
            destination = self._destinations[address] = _destination(address)
        return UpstreamAnswer(connector, destination, head.encode("ascii") + b"\r\n", body)

    def _connector(self, *, anew: bool) -> Connector:
        if self._closed:
            raise ConnectionLostError("Ansambl is stopping", answered=False)
        # Made when they are first used, because they belong to the event loop that runs then.
        if anew:
            if self._anew is None:
                self._anew = Connector(limit=0, force_close=True)
            return self._anew
        if self._kept is None:
            self._kept = Connector(limit=0, keepalive_timeout=_IDLE_LIMIT)
        return self._kept

    async def close(self) -> None:
        """Close all connections; nothing can be sent any more."""
        self._closed = True
        for connector in (self._kept, self._anew):
            if connector is not None:
                await connector.close()


def _destination(address: str) -> Destination:
    try:
        url = URL(address)
        if url.scheme not in {"http", "https"} or not url.host:
            raise _unwritable()
        return Destination.of(url)
    except ValueError as error:
        raise _unwritable() from error


def _unwritable() -> ConnectionLostError:
    return ConnectionLostError("its address or key holds characters that HTTP cannot carry", answered=False)


def _reason(error: Exception) -> Text | str:
    # What aiohttp says of these is about HTTP's own framing.
    if isinstance(error, aiohttp.ClientPayloadError):
        return BROKE_OFF
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return text("it closed the connection without an answer")
    if isinstance(error, HttpProcessingError):
        return " ".join(error.message.split())[:_SHOWN]
    # asyncio writes words of its own where the system has some that people know.
    number = getattr(error, "errno", None)
    if isinstance(error, aiohttp.ClientOSError) and number is None:
        return text("it closed the connection without an answer")
    return os.strerror(number) if isinstance(number, int) and number > 0 else str(error) or type(error).__name__
