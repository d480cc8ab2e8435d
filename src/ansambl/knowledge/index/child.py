"""The process of an index: ``python -m ansambl.knowledge.index.child DESCRIPTOR``, started by `own_process`.

It reads requests from the socket, does searches in threads and writes one after the other, and ends with its parent.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from ansambl.knowledge.index import wire
from ansambl.knowledge.index.contract import Index

SEARCHERS = 4
"""Searches at once: what the processors can do, and a little more for those that wait for the disk."""

_SWITCH = 0.0005
"""Seconds after which a thread gives the interpreter to another one that waits. With the default of 5 ms a search
beside a write waited that long several times."""

_LAST_PATIENCE = 5.0
"""Seconds that closing may take when the parent is gone."""

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Where the system can do it (Linux, prctl(2)); the end of the socket tells it everywhere, if later."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class _Server:
    """One index behind one socket."""

    def __init__(self, connection: socket.socket, index: Index) -> None:
        self._connection = connection
        self._index = index
        self._sending = threading.Lock()
        self._searches = ThreadPoolExecutor(SEARCHERS, "search")
        self._writes = ThreadPoolExecutor(1, "write")

    def take(self, frame: wire.Frame) -> bool:
        """Have a request done; False when it was the last one."""
        if frame.what == "close":
            self._writes.shutdown(wait=True)
            self._searches.shutdown(wait=True)
            self._index.close()
            self.answer(frame.number, "ok", b"")
            return False
        pool = self._writes if frame.what in {"put", "remove", "commit", "clear"} else self._searches
        pool.submit(self._perform, frame)
        return True

    def _perform(self, frame: wire.Frame) -> None:
        try:
            body = self._done(frame.what, frame.body)
        except BaseException as error:  # noqa: BLE001 - a panic of native code is no Exception, and must be answered, too
            self.answer(frame.number, "error", wire.pack_error(error))
        else:
            self.answer(frame.number, "ok", body)

    def _done(self, what: str, body: bytes) -> bytes:
        index = self._index
        if what == "by_vector":
            return wire.pack_ranking(index.by_vector(*wire.unpack_by_vector(body)))
        if what == "by_terms":
            return wire.pack_ranking(index.by_terms(*wire.unpack_by_terms(body)))
        if what == "put":
            index.put(wire.unpack_entries(body))
        elif what == "remove":
            index.remove(wire.unpack_ids(body))
        elif what == "commit":
            index.commit(wire.unpack_ids(body)[0])
        elif what == "clear":
            index.clear()
        elif what == "state":
            return wire.packed(index.state())
        else:
            raise ValueError(what)
        return b""

    def answer(self, number: int, what: str, body: bytes) -> None:
        """Send an answer; nobody may be there any more to read it."""
        content = wire.framed(number, what, body)
        try:
            with self._sending:
                self._connection.sendall(content)
        except OSError:
            # The reading thread finds the end of the socket, and ends us.
            return

    def orphaned(self) -> None:
        """The parent is gone: close what can be closed in time."""
        threading.Timer(_LAST_PATIENCE, os._exit, (0,)).start()
        self._writes.shutdown(wait=True, cancel_futures=True)
        self._index.close()


def _made(opening: wire.Opening) -> Index:
    module, _, name = opening.maker.partition(":")
    made: Index = getattr(importlib.import_module(module), name)(opening.place())
    return made


def main(descriptor: int) -> None:
    """Serve until the socket ends."""
    die_with_parent()
    # The parent alone decides when this ends: Ctrl-C and a service manager's signal reach it, too, and it closes us.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.setswitchinterval(_SWITCH)
    connection = socket.socket(fileno=descriptor)
    requests = wire.frames(connection)
    try:
        opening = wire.unpack_opening(next(requests).body)
    except StopIteration:
        return
    try:
        index = _made(opening)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent says it
        connection.sendall(wire.framed(wire.READY, "error", wire.pack_error(error)))
        return
    server = _Server(connection, index)
    server.answer(wire.READY, "ok", b"")
    for frame in requests:
        if not server.take(frame):
            return
    server.orphaned()


if __name__ == "__main__":
    main(int(sys.argv[1]))
    # Threads of native libraries may still wait for something; nothing of ours is left to do.
    os._exit(0)
