"""aiohttp's connections and its parser, without what aiohttp builds around each request and each piece of an answer.

aiohttp opens, keeps and closes the connections, looks names up, does TLS, and parses what engines answer. Its session
takes 45 µs more to make objects of a request that is the same each time but for its body, and its reader wakes a task,
sets a timer anew and resumes the reading for each piece of a stream (``docs/decisions/0004``). So the head is written
here, and whoever reads may be called back while a piece arrives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Self, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

_JOINED = 2**16
"""Bytes of a body up to which it is copied behind its head, for one write."""
_SENT_AT_ONCE = 2**18
"""Bytes of a body in pieces that are handed to the connection before it is waited for."""
_SWITCHING = 101

_Piece = Callable[[bytes], bool]


class EngineConnection(ResponseHandler):
    """One connection to an engine. `pouring` takes the body of the answer that arrives, None while it is kept."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.pouring: Pouring | None = None
        self._last = 0.0

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived."""
        super().data_received(data)
        if self.pouring is not None:
            self.pouring.look()

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is closed."""
        super().connection_lost(exc)
        if self.pouring is not None:
            self.pouring.look()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """There is room for more. aiohttp says so after each piece."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def _reschedule_timeout(self) -> None:
        # One timer that looks when it is due, and not one timer for each piece.
        self._last = self._loop.time()
        if self._read_timeout_handle is None and self._read_timeout:
            self._read_timeout_handle = self._loop.call_later(self._read_timeout, self._on_read_timeout)

    def _on_read_timeout(self) -> None:
        self._read_timeout_handle = None
        left = self._last + (self._read_timeout or 0.0) - self._loop.time()
        if left > 0:
            self._read_timeout_handle = self._loop.call_later(left, self._on_read_timeout)
            return
        super()._on_read_timeout()
        if self.pouring is not None:
            self.pouring.look()


class _Body(aiohttp.StreamReader):
    """A body whose pieces go to `EngineConnection.pouring`, where there is one.

    aiohttp's parser makes its readers itself, so they are turned into this one, which has no state of its own. It also
    leaves out where the pieces of the transfer encoding end, which nobody here asks for.
    """

    __slots__ = ()

    def feed_data(self, data: bytes, size: int = 0) -> bool:
        """A piece arrived."""
        pouring = cast("EngineConnection", self._protocol).pouring
        if pouring is None:
            return super().feed_data(data, size)
        pouring.pieces.append(data)
        return False

    def begin_http_chunk_receiving(self) -> None:
        """A piece of the transfer encoding begins."""

    def end_http_chunk_receiving(self) -> None:
        """A piece of the transfer encoding ends."""


class Connector(aiohttp.TCPConnector):
    """Makes connections of that kind."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = cast("partial[ResponseHandler]", partial(EngineConnection, self._loop))


@dataclass(frozen=True, slots=True)
class Destination:
    """Where requests go. `begin` is the request line and the headers that follow from the address."""

    request: aiohttp.ClientRequest
    begin: bytes

    @classmethod
    def of(cls, url: URL) -> Self:
        """The destination of POST requests to `url`; on the running loop."""
        # What aiohttp connects by, and never sent: it knows how a host is written.
        request = aiohttp.ClientRequest("POST", url, loop=asyncio.get_running_loop())
        names = ("Host", "Authorization")
        lines = [f"{name}: {request.headers[name]}\r\n" for name in names if name in request.headers]
        return cls(request, f"POST {url.raw_path_qs} HTTP/1.1\r\n{''.join(lines)}".encode("ascii"))


class Transfer:
    """One request and its answer. Every error of a connection is raised as aiohttp raises it.

    `status`, `headers` and `content` are those of the answer.
    """

    __slots__ = ("_connection", "_sending", "_sent_large", "content", "headers", "status")

    def __init__(self) -> None:
        self._connection: aiohttp.connector.Connection | None = None
        self._sending: asyncio.Task[None] | None = None
        self._sent_large: asyncio.Transport | None = None

    async def begin(
        self, connector: Connector, destination: Destination, head: bytes, body: bytes | Sequence[bytes | memoryview],
        *, connect: float, silence: float, read_ahead: int,
    ) -> None:  # fmt: skip
        """Send a request, and wait for the head of its answer.

        `head` are the other headers with the empty line. `connect` and `silence` are seconds until it is given up,
        `read_ahead` the bytes that are kept for a slow reader.
        """
        patience = aiohttp.ClientTimeout(total=None, sock_connect=connect)
        try:
            connection = await connector.connect(destination.request, [], patience)
        except TimeoutError as error:
            if isinstance(error, aiohttp.ClientError):
                raise
            raise aiohttp.ConnectionTimeoutError(f"Connection timeout to host {destination.request.url}") from error
        self._connection = connection
        protocol, transport = connection.protocol, connection.transport
        if protocol is None or transport is None:
            raise aiohttp.ServerDisconnectedError
        protocol.set_response_params(
            read_until_eof=True, auto_decompress=False, read_timeout=silence, read_bufsize=read_ahead
        )
        head = destination.begin + head
        if isinstance(body, bytes):
            if len(body) < _JOINED:
                transport.write(head + body)
            else:
                transport.writelines((head, body))
                self._sent_large = transport
            protocol.start_timeout()
        else:
            transport.write(head)
            self._sending = asyncio.get_running_loop().create_task(_send(protocol, transport, body))
        message, content = await protocol.read()
        while 100 <= message.code < 200 and message.code != _SWITCHING:
            message, content = await protocol.read()
        self.status, self.headers, self.content = message.code, message.headers, content
        if type(content) is aiohttp.StreamReader and isinstance(protocol, EngineConnection):
            content.__class__ = _Body
        content.on_eof(self._arrived)

    @property
    def protocol(self) -> ResponseHandler | None:
        """The connection while the answer still arrives."""
        return None if self._connection is None else self._connection.protocol

    def _arrived(self) -> None:
        """The whole answer is here: the connection is for the next request."""
        if (self._sending is not None and not self._sending.done()) or (
            self._sent_large is not None and self._sent_large.get_write_buffer_size()
        ):
            # It was answered before it was read; another request would stand behind what is left of it.
            self.close()
        elif self._connection is not None:
            self._connection.release()

    def close(self) -> None:
        """Close the connection, unless the whole answer has arrived."""
        if self._sending is not None:
            self._sending.cancel()
        if self._connection is not None:
            self._connection.close()


async def _send(protocol: ResponseHandler, transport: asyncio.Transport, body: Sequence[bytes | memoryview]) -> None:
    # Whoever waits for the answer is told that the connection is lost.
    with suppress(ConnectionError, aiohttp.ClientError):
        for piece in body:
            for start in range(0, len(piece), _SENT_AT_ONCE):
                transport.write(piece[start : start + _SENT_AT_ONCE])
                await protocol._drain_helper()  # noqa: SLF001 - what aiohttp's own writer waits for
        protocol.start_timeout()


class Pouring:
    """Hands the pieces of a body to `take` while they arrive, until it is over or `take` says False.

    `poured` is awaited meanwhile: True when the body is over, False when `take` has enough for now. What arrived
    together is handed over together.
    """

    __slots__ = ("_connection", "_content", "_take", "pieces", "poured")

    def __init__(self, connection: EngineConnection, content: aiohttp.StreamReader, take: _Piece) -> None:
        self._connection = connection
        self._content = content
        self._take = take
        self.pieces: list[bytes] = []
        self.poured: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def begin(self) -> None:
        """Hand over what is there already, and then what comes."""
        # What is read may let more in, which then is read as well.
        while piece := self._content.read_nowait():
            self.pieces.append(piece)
        self._connection.pouring = self
        self.look()

    def end(self) -> None:
        """Be told no more; what arrives is kept again."""
        # Another answer may have the connection by now.
        if self._connection.pouring is self:
            self._connection.pouring = None

    def look(self) -> None:
        """Something happened on the connection."""
        pieces = self.pieces
        try:
            if pieces:
                piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
                pieces.clear()
                if not self._take(piece):
                    self._over(False)
                    return
            if (lost := self._content.exception()) is not None:
                self._failed(lost)
            elif self._content.is_eof():
                self._over(True)
        except Exception as error:  # noqa: BLE001 - whoever waits is told of it
            self._failed(error)

    def _over(self, ended: bool) -> None:
        self.end()
        if not self.poured.done():
            self.poured.set_result(ended)

    def _failed(self, error: BaseException) -> None:
        self.end()
        if not self.poured.done():
            self.poured.set_exception(error)
