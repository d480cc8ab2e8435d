"""Handing a stream of server-sent events through without ever passing on half an event."""

from __future__ import annotations

_END, _END_CRLF = b"\n\n", b"\r\n\r\n"
_ENDS = (_END, _END_CRLF)
_HELD_LIMIT = 2**20
_KEPT_TAIL = 4096
_KEPT_ALL = 8 * 2**20


class EventRelay:
    """Passes an engine's bytes on event by event.

    Chunks nearly always end with an event, and are then passed on as they are; the beginning of an event is held back
    until its end arrives (or it grows beyond 1 MiB). So when the engine dies in the middle of one, the client gets an
    error event and not a broken line in front of it. Lines may end with LF or with CR LF.

    `complete` tells whether `kept` is the whole stream so far: with `keep_all`, up to 8 MiB of it.
    """

    def __init__(self, *, keep_all: bool = False) -> None:
        self._held = b""
        self._kept: list[bytes] = []
        self._size = 0
        self._limit = _KEPT_ALL if keep_all else 2 * _KEPT_TAIL
        self.complete = keep_all

    def feed(self, chunk: bytes) -> bytes:
        """Take what arrived, return what may be passed on now (perhaps nothing)."""
        if self._held:
            chunk = self._held + chunk
            self._held = b""
        if not chunk.endswith(_ENDS) and len(chunk) <= _HELD_LIMIT:
            cut = max(chunk.rfind(end) + len(end) if end in chunk else 0 for end in _ENDS)
            self._held = chunk[cut:]
            chunk = chunk[:cut]
            if not chunk:
                return b""
        # As `_keep` does it: no call for each event.
        self._kept.append(chunk)
        self._size += len(chunk)
        if self._size > self._limit:
            self._shorten()
        return chunk

    def finish(self) -> bytes:
        """The engine has ended its stream properly: what was still held back."""
        rest, self._held = self._held, b""
        self._keep(rest)
        return rest

    def _keep(self, chunk: bytes) -> None:
        self._kept.append(chunk)
        self._size += len(chunk)
        if self._size > self._limit:
            self._shorten()

    def _shorten(self) -> None:
        self.complete = False
        self._limit = 2 * _KEPT_TAIL
        tail = b"".join(self._kept)[-_KEPT_TAIL:]
        self._kept, self._size = [tail], len(tail)

    @property
    def kept(self) -> bytes:
        """All that was passed on, or its tail when not all is kept: the usage stands there."""
        return b"".join(self._kept)
