"""The HTTP client towards engines, on the request path. Nothing but this and `upstream_connections` knows aiohttp.

Why this one: an engine stops generating only when its connection is closed, and aiohttp closes it at once at any
moment, also during a prefill, when the answer has not begun. ``docs/decisions/0004`` has the figures and the clients
that were tried. Bytes are handed on as they arrive; nothing is decompressed, followed or parsed.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from functools import lru_cache
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from ansambl.domain.errors import EngineError
from ansambl.domain.instance import Endpoint
from ansambl.domain.text import Text, text
from ansambl.runtime.flight import Flight
from ansambl.runtime.upstream_connections import Connection, Connector, Pouring

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
_SENT_AT_ONCE = 2**18
"""Bytes of a body in pieces that are handed to the connection before it is waited for."""

JSON = "application/json"
Body = bytes | Sequence[bytes | memoryview]
"""What is sent: a whole body, or pieces that are sent one after another and never joined."""

BROKE_OFF = text("it broke off in the middle of its answer")
"""The reason of a `ConnectionLostError` when an answer began and has no end."""


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


class UpstreamAnswer:
    """An engine's answer whose body is still arriving. Leaving the context closes an unfinished connection at once.

    `flight` is told what is waited for and what arrives. `ended` tells whether the body arrived as a whole.
    """

    def __init__(self, session: aiohttp.ClientSession, url: URL, headers: dict[str, str], body: Body) -> None:
        content = body if isinstance(body, bytes) else _in_turn(body)
        self._request = session.post(url, data=content, headers=headers, allow_redirects=False)
        self._response: aiohttp.ClientResponse | None = None
        self.status = 0
        self.content_type = ""
        self.flight = Flight()
        self.ended = False
        self._ahead: list[bytes] = []

    async def __aenter__(self) -> Self:
        self.flight.awaited += 1
        try:
            self._response = await self._request
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            garbage = isinstance(error, aiohttp.ClientResponseError)
            raise ConnectionLostError(_reason(error), answered=False, garbage=garbage) from error
        finally:
            self.flight.awaited -= 1
        self.flight.arrived += 1
        self.status = self._response.status
        self.content_type = self._response.headers.get("content-type", "")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Closing and not releasing: a connection whose answer was read to its end is in the pool again already.
        if self._response is not None:
            self._response.close()

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
        if self._response is None or self.ended:
            return None
        flight = self.flight
        flight.awaited += 1
        try:
            piece = await self._response.content.readany()
        except (aiohttp.ClientError, TimeoutError) as error:
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
        response = self._response
        if response is None or self.ended:
            return True
        connection = response.connection.protocol if response.connection is not None else None
        if not isinstance(connection, Connection):
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

        pouring = Pouring(connection, response.content, arrived)
        flight.awaited += 1
        try:
            pouring.begin()
            ended = self.ended = await pouring.poured
        except (aiohttp.ClientError, TimeoutError) as error:
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
        self._session: aiohttp.ClientSession | None = None
        self._anew: aiohttp.ClientSession | None = None
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
        headers = {"content-type": content_type, "accept": "*/*", "user-agent": "ansambl"}
        if not isinstance(body, bytes):
            headers["content-length"] = str(sum(len(one) for one in body))
        if endpoint.key:
            if not endpoint.key.isascii() or not endpoint.key.isprintable() or " " in endpoint.key:
                raise _unwritable()
            headers["authorization"] = f"Bearer {endpoint.key}"
        url = _url(endpoint.base_url + path)
        return UpstreamAnswer(self._open_session(anew=anew), url, headers, body)

    def _open_session(self, *, anew: bool) -> aiohttp.ClientSession:
        if self._closed:
            raise ConnectionLostError("Ansambl is stopping", answered=False)
        # Made when they are first used, because they belong to the event loop that runs then.
        if anew:
            if self._anew is None:
                self._anew = _session(Connector(limit=0, force_close=True))
            return self._anew
        if self._session is None:
            self._session = _session(Connector(limit=0, keepalive_timeout=_IDLE_LIMIT))
        return self._session

    async def close(self) -> None:
        """Close all connections; nothing can be sent any more."""
        self._closed = True
        for session in (self._session, self._anew):
            if session is not None:
                await session.close()


async def _in_turn(pieces: Sequence[bytes | memoryview]) -> AsyncIterator[bytes | memoryview]:
    for piece in pieces:
        for start in range(0, len(piece), _SENT_AT_ONCE):
            yield piece[start : start + _SENT_AT_ONCE]


def _session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_PATIENCE, sock_read=_SILENCE_LIMIT),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        read_bufsize=_READ_AHEAD,
        skip_auto_headers=("accept-encoding",),
    )


@lru_cache(256)
def _url(address: str) -> URL:
    try:
        url = URL(address)
    except ValueError as error:
        raise _unwritable() from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise _unwritable()
    return url


def _unwritable() -> ConnectionLostError:
    return ConnectionLostError("its address or key holds characters that HTTP cannot carry", answered=False)


def _reason(error: Exception) -> Text | str:
    # What aiohttp says of these is about HTTP's own framing.
    if isinstance(error, aiohttp.ClientPayloadError):
        return BROKE_OFF
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return text("it closed the connection without an answer")
    # asyncio writes words of its own where the system has some that people know.
    number = getattr(error, "errno", None)
    if isinstance(error, aiohttp.ClientOSError) and number is None:
        return text("it closed the connection without an answer")
    return os.strerror(number) if isinstance(number, int) and number > 0 else str(error) or type(error).__name__
