"""The HTTP client towards engines, on the request path: connections kept open between requests, bytes handed on.

Why one of our own: an engine stops generating only when its connection is closed, and that has to happen also while
it has not answered yet, which is all the time of a prefill and of an answer that is not streamed. pyreqwest 0.15, the
fastest client that was tried, leaves a cancelled request running until its answer begins; the others cost more CPU
(``docs/decisions``). Nothing is decompressed, followed or parsed beyond HTTP's own framing.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from dataclasses import dataclass
from functools import cache, lru_cache
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from ansambl.domain.errors import EngineError
from ansambl.domain.instance import Endpoint
from ansambl.domain.text import text
from ansambl.runtime.engine_connection import BrokenAnswerError, EngineConnection

_HEAD = (
    b"POST %b HTTP/1.1\r\nhost: %b\r\n%bcontent-type: application/json\r\naccept: */*\r\n"
    b"user-agent: ansambl\r\ncontent-length: %d\r\n\r\n"
)
_CONNECT_PATIENCE = 10.0
_IDLE_LIMIT = 4.0
"""Seconds; engines close idle connections after 5 (llama.cpp, uvicorn), and then a request on one would be lost."""
_KEPT = 64


class ConnectionLostError(EngineError):
    """The connection to the engine failed.

    `answered` tells whether its answer had begun: only before that may a request be sent again.
    """

    def __init__(self, reason: str, *, answered: bool) -> None:
        super().__init__(
            text("The connection to the engine was lost ({reason}). Send the request again.", reason=reason)
        )
        self.answered = answered


@dataclass(frozen=True, slots=True)
class _Origin:
    host: str
    port: int
    secure: bool
    authority: bytes
    path: str


@lru_cache(maxsize=256)
def _origin_of(base_url: str) -> _Origin:
    parts = urlsplit(base_url)
    if not parts.hostname or parts.scheme not in {"http", "https"}:
        raise ValueError(base_url)
    secure = parts.scheme == "https"
    authority = parts.netloc.rpartition("@")[2].encode("idna" if not parts.netloc.isascii() else "ascii")
    return _Origin(parts.hostname, parts.port or (443 if secure else 80), secure, authority, parts.path)


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


class UpstreamAnswer:
    """An engine's answer whose body is still arriving. Leaving the context closes an unfinished connection at once."""

    def __init__(self, upstream: Upstream, origin: _Origin, request: bytes) -> None:
        self._upstream = upstream
        self._origin = origin
        self._request = request
        self._connection: EngineConnection | None = None
        self.status = 0
        self.content_type = ""

    async def __aenter__(self) -> Self:
        connection = await self._upstream.take(self._origin)
        try:
            await connection.send(self._request)
        except BrokenAnswerError as error:
            connection.abort()
            raise ConnectionLostError(str(error), answered=False) from error
        except BaseException:
            connection.abort()
            raise
        self._connection = connection
        self.status, self.content_type = connection.status, connection.content_type
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and connection.release():
            self._upstream.keep(self._origin, connection)

    @property
    def streams(self) -> bool:
        """Whether the body is a stream of server-sent events."""
        return self.content_type.startswith("text/event-stream")

    async def chunk(self) -> bytes | None:
        """The next bytes as they arrived; None at the end.

        Raises:
            ConnectionLostError: the engine went away in the middle.
        """
        if self._connection is None:
            return None
        try:
            return await self._connection.read()
        except BrokenAnswerError as error:
            raise ConnectionLostError(str(error), answered=True) from error

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
        self._idle: dict[tuple[str, int, bool], list[EngineConnection]] = {}
        self._closed = False

    def post(self, endpoint: Endpoint, path: str, body: bytes) -> UpstreamAnswer:
        """POST a JSON body to ``base_url + path``; enter the result to send it.

        Raises:
            ConnectionLostError: the address or the key cannot be sent as it is written.
        """
        try:
            origin = _origin_of(endpoint.base_url)
            key = endpoint.key.encode("ascii") if endpoint.key else b""
            target = (origin.path + path).encode("ascii")
        except ValueError as error:
            raise ConnectionLostError(_unwritable(), answered=False) from error
        if any(one < 33 or one == 127 for one in key + target):
            raise ConnectionLostError(_unwritable(), answered=False)
        authorization = b"authorization: Bearer " + key + b"\r\n" if key else b""
        head = _HEAD % (target, origin.authority, authorization, len(body))
        return UpstreamAnswer(self, origin, head + body)

    async def take(self, origin: _Origin) -> EngineConnection:
        """A connection that no other request uses.

        Raises:
            ConnectionLostError: the engine cannot be reached.
        """
        loop = asyncio.get_running_loop()
        idle = self._idle.get((origin.host, origin.port, origin.secure), [])
        while idle:
            kept = idle.pop()
            if kept.usable and loop.time() - kept.idle_since < _IDLE_LIMIT:
                return kept
            kept.abort()
        try:
            async with asyncio.timeout(_CONNECT_PATIENCE):
                _, connection = await loop.create_connection(
                    EngineConnection, origin.host, origin.port, ssl=_tls() if origin.secure else None
                )
        except TimeoutError as error:
            reason = f"no connection within {_CONNECT_PATIENCE:.0f} s"
            raise ConnectionLostError(reason, answered=False) from error
        except OSError as error:
            # asyncio writes words of its own where the system has some that people know.
            known = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
            raise ConnectionLostError(known or str(error), answered=False) from error
        return connection

    def keep(self, origin: _Origin, connection: EngineConnection) -> None:
        """Keep a connection for the next request."""
        idle = self._idle.setdefault((origin.host, origin.port, origin.secure), [])
        # Those at the front were used longest ago; the newest is taken first.
        while idle and (not idle[0].usable or len(idle) >= _KEPT):
            idle.pop(0).abort()
        if self._closed:
            connection.abort()
        else:
            idle.append(connection)

    async def close(self) -> None:
        """Close all idle connections, and those in use when their answers end."""
        self._closed = True
        for idle in self._idle.values():
            for connection in idle:
                connection.abort()
            idle.clear()
        # Sockets are closed in the next turn of the loop.
        await asyncio.sleep(0)


def _unwritable() -> str:
    return "its address or key holds characters that HTTP cannot carry"
