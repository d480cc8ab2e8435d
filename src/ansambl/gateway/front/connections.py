"""The connections of clients: uvicorn's HTTP protocol with limits, patience that ends, and answers in the right shape.

uvicorn takes heads of any size, waits for ever for a slow one and for a client that reads nothing, and counts a client
that has only finished sending as gone. All of that is decided here, once a second for all connections together, so that
an ordinary request pays for none of it.
"""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from ansambl.domain.errors import AnsamblError, UnavailableError
from ansambl.domain.text import text
from ansambl.foundation.logging import get_logger
from ansambl.gateway.asgi import header
from ansambl.gateway.front import head_errors
from ansambl.gateway.front.connection_limits import Limits
from ansambl.gateway.front.half_closed import abort_when_reset
from ansambl.gateway.front.head_errors import HeadError
from ansambl.gateway.front.until_closed import answer_until_closed

log = get_logger(__name__)

_PIECE = 16 * 1024
"""Bytes of a head that are parsed before its size is looked at again."""
_LEAST_RATE = 500
"""Bytes a second that a body must bring; what Apache's mod_reqtimeout asks for, and no real network is slower."""
_LINGER = 2.0
"""Seconds for a client to read why it was refused. Closing at once would reset the connection while it still sends,
and its system would throw our answer away."""
_DISCARDED = 64 * 2**20
"""Bytes that are read and thrown away after an answer that did not wait for them."""
_PIPELINED = 16
_TICK = 1.0
_VERSIONS = frozenset({"1.0", "1.1"})
_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)


class Connections:
    """All open connections of one address. `limits` may be changed at any time."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._open: dict[Connection, None] = {}

    def __len__(self) -> int:
        return len(self._open)

    def protocol(self) -> type[asyncio.Protocol]:
        """What uvicorn makes a connection with."""
        return cast("type[asyncio.Protocol]", partial(Connection, self))

    async def watch(self) -> None:
        """End what has taken too long, again and again."""
        loop = asyncio.get_running_loop()
        while True:
            limits = self.limits
            shortest = min(limits.head_timeout, limits.body_timeout, limits.write_timeout, limits.keep_alive)
            await asyncio.sleep(max(0.01, min(_TICK, shortest / 4)))
            now = loop.time()
            for one in tuple(self._open):
                try:
                    one.look(now)
                except Exception:
                    # Or none of the others would be looked at any more.
                    log.exception("connection_not_looked_at")

    def abort(self) -> None:
        """Cut all connections that are still open."""
        for one in tuple(self._open):
            one.transport.abort()

    def admit(self, connection: Connection) -> bool:
        """Count a new connection. Where there are too many, those that wait longest for nothing make room."""
        if len(self._open) >= self.limits.connections:
            waiting = sorted((one for one in self._open if one.idle_since is not None), key=_idle_since)
            # Some at once, so that a flood does not have all of them sorted for each newcomer.
            for one in waiting[: max(1, self.limits.connections // 20)]:
                self._open.pop(one, None)
                one.transport.abort()
            if not waiting:
                return False
        self._open[connection] = None
        return True

    def forget(self, connection: Connection) -> None:
        """One is closed."""
        self._open.pop(connection, None)


def _without_upgrade(piece: bytes) -> bytes:
    """The first bytes of a request without its offer to go on in another protocol.

    Java's HTTP client and curl offer HTTP/2 with every request. It is answered as what it is otherwise; but the parser
    would take the body for the beginning of that other protocol, and throw it away.
    """
    head, end, rest = piece.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"\r\nx-offered-upgrade:", head) + end + rest


def _idle_since(connection: Connection) -> float:
    return connection.idle_since or 0.0


class Connection(HttpToolsProtocol):
    """One client's connection."""

    def __init__(
        self, connections: Connections, config: Config, server_state: ServerState, app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:  # fmt: skip
        super().__init__(config, server_state, app_state, _loop)
        self.timeout_keep_alive = max(1, round(connections.limits.keep_alive))
        self._all = connections
        self._running: Any = None
        # Of the head that is being received: since when, how many bytes so far.
        self._in_head = True
        self._ended_one = False
        self._head_since: float | None = None
        self._head_bytes = 0
        # Of the body: bytes in the span that began at `_span_since`, and what came after the answer was over.
        self._body_bytes = 0
        self._span_since: float | None = None
        self._discarded = 0
        self._idle_since: float | None = None
        self._refusal: HeadError | None = None
        # What comes from now on is thrown away.
        self._deaf = False
        self._unread = 0
        self._unread_since: float | None = None

    # What uvicorn and the parser call

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        """A client has connected."""
        super().connection_made(transport)
        if self._all.admit(self):
            self._idle_since = self.loop.time()
            return
        log.warning("too_many_connections", limit=self._all.limits.connections)
        self._deaf = True
        self._say(
            UnavailableError(
                text("Ansambl holds {limit} connections and can take no more now; ask again in a moment.",
                     limit=self._all.limits.connections),
                code="too_many_connections", retry_after=1,
            )
        )  # fmt: skip
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self._all.forget(self)
        # uvicorn tells only the newest request, and with pipelining that is not the one that is being answered.
        running = self._running
        if running is not None and running is not self.cycle and not running.response_complete:
            running.disconnected = True
            running.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived."""
        while data and not self._deaf:
            # A head is read in pieces, because one read may bring as much as a quarter of a MiB.
            piece, data = (data[:_PIECE], data[_PIECE:]) if self._in_head else (data, b"")
            if not self._in_head:
                self._count_body(len(piece))
            elif not self._head_bytes and (b"pgrade:" in piece or b"PGRADE:" in piece):
                piece = _without_upgrade(piece)
            self._ended_one = False
            super().data_received(piece)
            if self._in_head and not self._ended_one and not self._deaf:
                self._count_head(piece)
        if self._deaf and data:
            self._discard(len(data))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of a head. Those behind a body in chunks are dropped: nobody before us has looked at them."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """A request's head is whole."""
        limits = self._all.limits
        if len(self.url) > limits.url_bytes:
            self._reject(head_errors.url_too_long(limits))
        if len(self.headers) > limits.headers:
            self._reject(head_errors.too_many_headers(limits))
        if not self.url.startswith((b"/", b"*")):
            self._use_absolute_url()
        if len(self.pipeline) >= _PIPELINED or not self._is_well_framed():
            self._reject(head_errors.garbage())
        self._in_head = False
        self._head_since = self._idle_since = None
        self._head_bytes = 0
        before = self._newest
        super().on_headers_complete()
        if self.cycle is not before and self.parser.get_http_version() == "1.0":
            answer_until_closed(self.cycle)
        if before is None or before.response_complete:
            self._running = self.cycle

    def on_message_complete(self) -> None:
        """A request is whole."""
        super().on_message_complete()
        self._in_head = self._ended_one = True
        self._span_since = None
        self._discarded = 0

    def on_response_complete(self) -> None:
        """An answer is over; the next request that was sent ahead is answered now."""
        following = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()
        if following is not None:
            self._running = following

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words
        """Refuse what cannot be parsed, or what `_reject` found wrong with it."""
        self._refuse(self._refusal or head_errors.garbage())

    def _unsupported_upgrade_warning(self) -> None:
        # It may come with every request; see `_without_upgrade`.
        return

    def eof_received(self) -> bool | None:  # type: ignore[override]  # uvicorn answers nothing; asyncio asks
        """The client sends no more. It may still read, or it may be gone: at first that looks the same."""
        running = self._running
        if self.scheme == "https":
            return None
        if not self._deaf and self._is_cut_short():
            self._refuse(head_errors.cut_short())
            return None
        if running is None or running.response_complete:
            return None
        last = running if self._deaf else self.cycle
        if last.more_body or running.scope["http_version"] == "1.0":
            return None
        # A client that is gone resets the connection when it gets something. One that still reads gets what any client
        # passes over: an interim answer, or a zero in front of the next chunk's size.
        if not running.response_started:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        elif running.chunked_encoding:
            self.transport.write(b"0")
        last.keep_alive = False
        return abort_when_reset(self.transport, self.loop, lambda: bool(running.response_complete))

    # What is decided from time to time

    @property
    def idle_since(self) -> float | None:
        """Since when nothing is asked here; None while something is."""
        return self._idle_since

    def look(self, now: float) -> None:
        """End the connection where its client has taken too long."""
        limits = self._all.limits
        if self._is_stalled(now, limits.write_timeout):
            log.info("client_reads_nothing", seconds=limits.write_timeout)
            self.transport.abort()
        elif self._deaf:
            return
        elif not self._in_head:
            self._look_at_body(now, limits.body_timeout)
        elif self._head_since is not None:
            if now - self._head_since > limits.head_timeout:
                self._refuse(head_errors.slow(limits.head_timeout))
        elif self._running is None or self._running.response_complete:
            if self._idle_since is None:
                self._idle_since = now
            elif now - self._idle_since > limits.keep_alive:
                self.transport.close()

    def _is_stalled(self, now: float, patience: float) -> bool:
        """Whether nothing of what waits to be read by the client has been read for so long."""
        unread = self.transport.get_write_buffer_size()
        # While more may be written to it, a buffer that does not shrink says nothing.
        finished = self._running is None or self._running.response_complete
        if not unread or not (self.flow.write_paused or finished):
            self._unread_since = None
        elif self._unread_since is None or unread < self._unread:
            self._unread_since = now
        self._unread = unread
        return self._unread_since is not None and now - self._unread_since > patience

    def _look_at_body(self, now: float, patience: float) -> None:
        cycle = self.cycle
        # Where we do not read, or have not said that we will, it is not the client who is slow.
        if self.flow.read_paused or cycle.waiting_for_100_continue or self._span_since is None:
            self._span_since = now
            self._body_bytes = 0
        elif now - self._span_since > patience:
            if self._body_bytes < _LEAST_RATE * patience:
                self._refuse(head_errors.slow(patience))
            self._span_since = now
            self._body_bytes = 0

    def _count_head(self, piece: bytes) -> None:
        if not self._head_bytes and not piece.strip(b"\r\n"):
            # Some clients send an empty line after a body.
            return
        if self._head_since is None:
            self._head_since = self.loop.time()
            self._idle_since = None
        self._head_bytes += len(piece)
        limits = self._all.limits
        if self._head_bytes > limits.header_bytes:
            long_url = len(getattr(self, "url", b"")) > limits.url_bytes
            self._refuse(head_errors.url_too_long(limits) if long_url else head_errors.head_too_large(limits))

    def _count_body(self, size: int) -> None:
        self._body_bytes += size
        if self.cycle.response_complete:
            self._discard(size)

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > _DISCARDED:
            self.transport.abort()

    def _is_well_framed(self) -> bool:
        """Whether nobody before or behind us can read another request out of the same bytes.

        The parser refuses two lengths, and a length beside chunks; the rest is refused here.
        """
        version = self.parser.get_http_version()
        names = [name for name, _ in self.headers]
        hosts = names.count(b"host")
        if version not in _VERSIONS or hosts > 1 or (not hosts and version == "1.1"):
            return False
        if b"transfer-encoding" not in names:
            return True
        coding = header({"headers": self.headers}, b"transfer-encoding")
        return version == "1.1" and coding is not None and coding.strip().lower() == b"chunked"

    def _use_absolute_url(self) -> None:
        """Of a URL with a host, that host counts, whatever stands in the header (RFC 9112, 3.2.2)."""
        authority = self.url.partition(b"://")[2].partition(b"/")[0].partition(b"?")[0]
        self.headers[:] = [(b"host", authority), *(one for one in self.headers if one[0] != b"host")]

    @property
    def _newest(self) -> Any:
        """The request whose head came last; None before there was one, which uvicorn's types deny."""
        return self.cycle

    def _is_cut_short(self) -> bool:
        """Whether a request is missing its end, and nothing else is being answered."""
        running = self._running
        if running is None or running.response_complete:
            return self._in_head and self._head_bytes > 0
        return running is self.cycle and bool(running.more_body) and not running.response_started

    # How a connection ends

    def _reject(self, error: HeadError) -> None:
        """Give the head up from within the parser, which ends in `send_400_response`."""
        self._refusal = error
        raise error

    def _refuse(self, error: AnsamblError) -> None:
        """Say what is wrong, and close. An answer to an earlier request is finished instead."""
        self._deaf = True
        running, newest = self._running, self._newest
        self.pipeline.clear()
        if running is not None and not running.response_complete:
            if running is not newest or not running.more_body:
                running.keep_alive = False
                return
            running.disconnected = True
            running.message_event.set()
            if running.response_started:
                self.transport.abort()
                return
        elif newest is not None and newest.more_body and not self._in_head:
            # It was answered already, and nobody waits for the rest of it.
            self.transport.abort()
            return
        self._say(error)
        self._linger()

    def _say(self, error: AnsamblError) -> None:
        # What is known of a head that never became whole: uvicorn sets both when it begins.
        url, headers = getattr(self, "url", b""), cast("Any", self.headers) or []
        self.transport.write(head_errors.bare_answer(error, url, headers))

    def _linger(self) -> None:
        self.loop.call_later(_LINGER, self.transport.abort)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()
