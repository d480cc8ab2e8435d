"""An index in a process of its own: if its native code fails, that process ends and not ours, and it is started again.

One thread for each index starts the process, reads its answers and starts it again when it ended (it is this thread and
not a caller's, because Linux ends the child with the *thread* that started it). Callers send and wait, from any thread.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from ansambl.domain.errors import AnsamblError
from ansambl.domain.knowledge import Filters
from ansambl.domain.text import Text, text
from ansambl.foundation.child_process import command_of, kill, signal_name, start_child
from ansambl.foundation.logging import get_logger
from ansambl.foundation.paths import PRIVATE_FOLDER
from ansambl.foundation.processes import resident_bytes
from ansambl.knowledge.embedding import Vectors
from ansambl.knowledge.index import wire
from ansambl.knowledge.index.checking import check_vector
from ansambl.knowledge.index.contract import Entry, IndexPlace, IndexState, Ranked
from ansambl.knowledge.index.errors import IndexDamagedError, IndexFailedError, IndexWithoutRoomError, gone
from ansambl.knowledge.index.folders import set_all_aside

log = get_logger(__name__)

SEARCH_PATIENCE, WRITE_PATIENCE = 60.0, 600.0
"""Seconds that an answer may take before the process counts as hanging, and is ended."""

START_PATIENCE = 60.0
"""Seconds that a call waits for a process that is being started."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 30.0
_LONG_LIFE = 60.0
"""A process that lived that long failed by chance, and is started again at once."""

_CLOSING = 15.0
_PUT_AT_ONCE = 128
"""Entries in one message: a search waits for one of them at most."""

_LARGEST_LOG = 1 << 20

_CALM = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Several searches at once use the processors already. Threads that share one product wait for each other by turning in
circles: on a busy machine a search of 1 ms became one of 30 ms."""


class _Call:
    """One request that waits for its answer."""

    __slots__ = ("body", "done", "error", "generation")

    def __init__(self) -> None:
        self.generation = 0
        self.done = threading.Event()
        self.body = b""
        self.error: AnsamblError | None = None


class OwnProcess:
    """An `Index`, wherever it runs. `generation` counts its processes; a new one stands at the last commit."""

    def __init__(self, maker: str, place: IndexPlace, *, search_patience: float = SEARCH_PATIENCE,
                 write_patience: float = WRITE_PATIENCE) -> None:  # fmt: skip
        """Start the process and open the index; `maker` is ``"module:class"``, called with `place`.

        Raises:
            AnsamblError: what opening raised there.
        """
        self._maker, self._place = maker, place
        self._patience = {"search": search_patience, "write": write_patience}
        self._changed = threading.Condition()
        self._sending = threading.Lock()
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._calls: dict[int, _Call] = {}
        self._number = wire.READY
        self._up = False
        self._closing = threading.Event()
        self._refused: AnsamblError | None = None
        self._written_in: int | None = None
        self._listeners: list[Callable[[int], None]] = []
        self._died_opening = 0
        self.generation = 0
        self._thread = threading.Thread(target=self._supervise, name="index-process", daemon=True)
        self._thread.start()
        try:
            self._wait_until_up()
        except BaseException:
            self.close()
            raise

    def listen(self, listener: Callable[[int], None]) -> None:
        """Call `listener` with the new generation when the process was started again; from a thread of ours."""
        self._listeners.append(listener)

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        process = self._process
        return None if process is None or process.poll() is not None else process.pid

    # -- the process

    def _supervise(self) -> None:
        pause = _FIRST_PAUSE
        while not self._closing.is_set():
            started = time.monotonic()
            reason, was_up = self._one_life()
            lived = time.monotonic() - started
            with self._changed:
                waiting, self._calls = self._calls, {}
            for call in waiting.values():
                call.error = gone(reason)
                call.done.set()
            if self._closing.is_set():
                return
            log.warning("index_process_ended", folder=self._place.folder, reason=str(reason), lived=round(lived, 1))
            pause = _FIRST_PAUSE if was_up and lived > _LONG_LIFE else min(_LONGEST_PAUSE, pause * 2)
            self._closing.wait(pause)

    def _one_life(self) -> tuple[Text, bool]:
        """Start a process, and read what it says until it ends; why it ended, and whether its index was open."""
        try:
            connection, process = self._started()
        except OSError as error:
            return text("its process cannot be started: {reason}", reason=str(error)), False
        opened = False
        try:
            for frame in wire.frames(connection):
                if frame.number == wire.READY:
                    opened = self._opened(frame, connection)
                    continue
                call = self._calls.pop(frame.number, None)
                if call is not None:
                    call.body = frame.body
                    if frame.what == "error":
                        call.error = wire.unpack_error(frame.body)
                    call.done.set()
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("index_process_unreadable", folder=self._place.folder, reason=str(error))
        finally:
            with self._changed:
                # Both at once: a call must find it up with a socket, or wait.
                self._socket, self._up = None, False
            connection.close()
            code = self._reaped(process)
        if not opened and code == -signal.SIGBUS:
            self._found_no_room()
        elif not opened and code < 0 and self._refused is None:
            self._died_while_opening()
        return _ending(code), opened

    def _found_no_room(self) -> None:
        """A mapped file got no block of the disk: the files are as good as they were, and another start may do it."""
        with self._changed:
            self._refused = IndexWithoutRoomError(
                text("the disk is full, so the index in {folder} cannot be written", folder=self._place.folder)
            )
            self._changed.notify_all()

    def _died_while_opening(self) -> None:
        """Files that end the process each time it opens them would do so for ever."""
        self._died_opening += 1
        if self._died_opening > 1 and self._place.folder:
            self._died_opening = 0
            log.warning("index_set_aside", folder=self._place.folder)
            set_all_aside(Path(self._place.folder), "its process died twice while opening it")

    def _started(self) -> tuple[socket.socket, subprocess.Popen[bytes]]:
        ours, theirs = socket.socketpair()
        with theirs:
            # A child that reads nothing any more must not keep a caller for ever.
            limit = struct.pack("ll", int(self._patience["write"]), 0)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
            try:
                with self._log_file() as output:
                    process = start_child(
                        command_of("ansambl.knowledge.index.child", theirs.fileno()), stdin=subprocess.DEVNULL,
                        stdout=output, stderr=output, pass_fds=(theirs.fileno(),), environment={**_CALM, **os.environ},
                    )  # fmt: skip
            except OSError:
                ours.close()
                raise
        with self._changed:
            self._process = process
        with contextlib.suppress(OSError):
            ours.sendall(wire.framed(wire.READY, "open", wire.packed(wire.Opening.of(self._maker, self._place))))
        return ours, process

    @contextlib.contextmanager
    def _log_file(self) -> Iterator[int]:
        """What native code says before it ends, in the index's folder, or nowhere."""
        if not self._place.folder:
            yield subprocess.DEVNULL
            return
        path = Path(self._place.folder, "process.log")
        path.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        fresh = os.O_TRUNC if path.exists() and path.stat().st_size > _LARGEST_LOG else os.O_APPEND
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | fresh, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _opened(self, frame: wire.Frame, connection: socket.socket) -> bool:
        if frame.what == "error":
            refused = wire.unpack_error(frame.body)
            log.warning("index_not_opened", folder=self._place.folder, reason=str(refused))
            with self._changed:
                # What was set aside is told once; the next start makes an empty index.
                self._refused = refused
                self._changed.notify_all()
            return False
        self._died_opening = 0
        with self._changed:
            self._socket, self._up, self._refused = connection, True, None
            self.generation += 1
            self._changed.notify_all()
        if self.generation > 1:
            for listener in tuple(self._listeners):
                try:
                    listener(self.generation)
                except Exception as error:  # noqa: BLE001 - a listener's failure must not end this thread
                    log.warning("index_listener_failed", reason=str(error))
        return True

    @staticmethod
    def _reaped(process: subprocess.Popen[bytes]) -> int:
        try:
            return process.wait(_CLOSING)
        except subprocess.TimeoutExpired:
            kill(process)
            return process.wait()

    def _kill(self) -> None:
        process = self._process
        if process is not None:
            kill(process)

    # -- calls

    def _wait_until_up(self) -> None:
        with self._changed:
            first = self.generation == 0
            self._changed.wait_for(
                lambda: (
                    self._up or self._closing.is_set() or (self._refused is not None and (first or not self._damaged()))
                ),
                START_PATIENCE,
            )
            if self._closing.is_set():
                message = text("the index is closed")
                raise IndexFailedError(message)
            if not self._up:
                raise self._refused or gone(text("its process has not started within {n:.0f} s", n=START_PATIENCE))

    def _damaged(self) -> bool:
        return isinstance(self._refused, IndexDamagedError)

    def _ask(self, what: str, body: bytes, patience: str, expected: int | None = None) -> _Call:
        """Ask and wait; where `expected` is given, a process of another generation is not asked."""
        number, call, connection = self._registered(expected)
        try:
            content = wire.framed(number, what, body)
            with self._sending:
                connection.sendall(content)
        except OSError:
            # Half a message may have gone: this process cannot be spoken to any more.
            self._kill()
        except AnsamblError:
            self._calls.pop(number, None)
            raise
        if not call.done.wait(self._patience[patience]):
            self._calls.pop(number, None)
            self._kill()
            raise gone(text("it has not answered for {n:.0f} s, and was ended", n=self._patience[patience]))
        if call.error is not None:
            raise call.error
        return call

    def _registered(self, expected: int | None) -> tuple[int, _Call, socket.socket]:
        """A call that waits for its answer, and where to send it; first of all the process has to be up."""
        call = _Call()
        while True:
            if not self._up:
                self._wait_until_up()
            with self._changed:
                connection, call.generation = self._socket, self.generation
                if connection is None:
                    # It ended between the two looks.
                    continue
                if expected is not None and expected != call.generation:
                    raise gone(text("what was written since the last commit is lost"))
                self._number += 1
                self._calls[self._number] = call
                return self._number, call, connection

    def _write(self, what: str, body: bytes) -> None:
        # A commit must never go to a process that does not have what was written before it: it would note a revision
        # that it has not reached.
        expected = None if what == "clear" else self._written_in
        try:
            call = self._ask(what, body, "write", expected)
        except AnsamblError:
            # Whoever wrote knows now, and begins again from the last commit.
            self._written_in = None
            raise
        self._written_in = call.generation if what in {"put", "remove"} else None

    def put(self, entries: Sequence[Entry]) -> None:
        """See `Index`."""
        for start in range(0, len(entries), _PUT_AT_ONCE):
            self._write("put", wire.pack_entries(entries[start : start + _PUT_AT_ONCE]))

    def remove(self, ids: Sequence[int]) -> None:
        """See `Index`."""
        self._write("remove", wire.packed([one for one in ids if 0 <= one < 2**63]))

    def commit(self, applied: int) -> None:
        """See `Index`."""
        self._write("commit", wire.packed([applied]))

    def clear(self) -> None:
        """See `Index`."""
        self._write("clear", b"")

    def by_vector(self, vector: Vectors, filters: Filters, limit: int) -> list[Ranked]:
        """See `Index`."""
        if self._place.space is not None:
            check_vector(vector, self._place.space)
        return wire.unpack_ranking(self._ask("by_vector", wire.pack_by_vector(vector, filters, limit), "search").body)

    def by_terms(self, terms: Mapping[str, float], filters: Filters, limit: int) -> list[Ranked]:
        """See `Index`."""
        return wire.unpack_ranking(self._ask("by_terms", wire.pack_by_terms(terms, filters, limit), "search").body)

    def state(self) -> IndexState:
        """The index's own, with facts about its process."""
        state = wire.unpack_state(self._ask("state", b"", "search").body)
        pid = self.pid
        resident = resident_bytes(pid) if pid is not None else None
        facts = {
            **state.facts, "process": str(pid), "generation": str(self.generation), "resident_bytes": str(resident or 0)
        }  # fmt: skip
        return IndexState(state.entries, state.vectors, state.applied, facts)

    def close(self) -> None:
        """Have it closed, and wait for its end; one that does not end is ended."""
        if self._closing.is_set():
            return
        if self._up:
            with contextlib.suppress(AnsamblError):
                self._ask_to_close()
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
            connection = self._socket
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        elif not self._up:
            self._kill()
        self._thread.join(_CLOSING + 5)

    def _ask_to_close(self) -> None:
        # Set before it ends, so that its end is not taken for a failure.
        self._closing.set()
        self._patience["close"] = _CLOSING
        self._ask("close", b"", "close")


def _ending(code: int) -> Text:
    if code < 0:
        return text("its process was ended by {signal}", signal=signal_name(code))
    return text("its process ended with the code {code}", code=code)
