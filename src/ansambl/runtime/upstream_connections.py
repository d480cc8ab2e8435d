"""aiohttp's connections, with what costs most taken out of the way of each piece of a stream.

aiohttp wakes a task for each piece, sets its timer anew, and resumes its reading whether it was paused or not: 9 of
the 17 µs that a streamed chunk cost beyond the system calls (``docs/decisions/0004``). Here whoever reads may be called
back while a piece arrives. Where a later aiohttp no longer makes its connections in this way, that is all that is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler

_Piece = Callable[[bytes], bool]


class Connection(ResponseHandler):
    """One connection to an engine. `heard` is called when bytes arrived, and when nothing more will."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.heard: Callable[[], None] | None = None
        self._last = 0.0

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived."""
        super().data_received(data)
        if self.heard is not None:
            self.heard()

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is closed."""
        super().connection_lost(exc)
        if self.heard is not None:
            self.heard()

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
        if self.heard is not None:
            self.heard()


class Connector(aiohttp.TCPConnector):
    """Makes connections of that kind."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = cast("partial[ResponseHandler]", partial(Connection, self._loop))


class Pouring:
    """Hands the pieces of a body to `take` while they arrive, until it is over or `take` says False.

    `poured` is awaited meanwhile: True when the body is over, False when `take` has enough for now.
    """

    __slots__ = ("_connection", "_content", "_more", "_take", "_within", "poured")

    def __init__(self, connection: Connection, content: aiohttp.StreamReader, take: _Piece) -> None:
        self._connection = connection
        self._content = content
        self._take = take
        self._within = self._more = False
        self.poured: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        connection.heard = self._heard

    def begin(self) -> None:
        """Hand over what is there already."""
        self._heard()

    def end(self) -> None:
        """Be called no more; what arrives is kept again."""
        # Another answer may have the connection by now.
        if self._connection.heard == self._heard:
            self._connection.heard = None

    def _heard(self) -> None:
        # Taking a piece may resume the reading, which hands over what waited: that must come after it.
        if self._within or self.poured.done():
            self._more = True
            return
        self._within = True
        try:
            goes_on, self._more = True, True
            while goes_on and self._more:
                self._more = False
                if piece := self._content.read_nowait():
                    goes_on = self._take(piece)
            if not goes_on:
                self._over(False)
            elif self._content.at_eof():
                self._over(True)
        except Exception as error:  # noqa: BLE001 - whoever waits is told of it
            self.end()
            self.poured.set_exception(error)
        finally:
            self._within = False

    def _over(self, ended: bool) -> None:
        self.end()
        self.poured.set_result(ended)
