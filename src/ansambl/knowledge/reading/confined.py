"""Reading in child processes with limits: whatever a file does to a library, it costs one sentence and no more."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Self

import msgspec

from ansambl.domain.knowledge import Material
from ansambl.domain.text import Text, text
from ansambl.foundation.child_process import HEADER, command_of, kill, length_of, signal_name, start_child
from ansambl.foundation.logging import get_logger
from ansambl.foundation.processes import resident_bytes
from ansambl.knowledge.contract import Refused
from ansambl.knowledge.passages.limits import DEFAULT, PassageLimits
from ansambl.knowledge.prepared import Prepared
from ansambl.knowledge.reading import wire
from ansambl.knowledge.reading.content import UnreadableError
from ansambl.knowledge.reading.limits import DEFAULT_LIMITS, MIB, ReadingLimits
from ansambl.knowledge.reading.options import DEFAULT_OPTIONS, ReadingOptions
from ansambl.knowledge.reading.roots import path_of, place_of

log = get_logger(__name__)

_PROGRAM = command_of("ansambl.knowledge.reading.child")

_LOOK = 0.25
"""Seconds between two looks at the memory of a child that is reading."""

_START = 60.0
"""Seconds that a new child may take to start, added to its first file's time."""

_PATIENCE = 3.0
"""Times the processor time of a file that may pass by the clock: the child is nice, and a busy machine is no fault of
a file. The processor time itself the system limits."""

_CHUNK = 1 << 18


class _LostError(Exception):
    """The child is of no more use; `reason` says what happened to the file that it read."""

    def __init__(self, reason: Text | str) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Confined:
    """A few child processes that read files, started when they are needed and used for many files.

    Any thread may call; as many files are read at once as `limits.children` says, further callers wait. A generator
    holds its child until it ends, and one that is given up in the middle ends it at once. `close` ends them all.
    """

    def __init__(self, limits: ReadingLimits = DEFAULT_LIMITS, passages: PassageLimits = DEFAULT) -> None:
        self.limits, self.passages = limits, passages
        self._free = threading.Semaphore(limits.children)
        self._lock = threading.Lock()
        self._idle: list[_Child] = []
        self._busy: set[_Child] = set()
        self._closed = False

    def documents(self, place: str, options: ReadingOptions = DEFAULT_OPTIONS) -> Iterator[Prepared | Refused]:
        """The documents of one file, and what was refused of it. One file may give several.

        Args:
            place: a path as `roots.place_of` gives it; or any place, where `options.path` says where the bytes lie.
            options: what is known about the file.
        """
        path = path_of(options.path or place)
        try:
            size = min(path.stat().st_size, self.limits.max_file)
        except OSError as error:
            yield _unreadable(place, error)
            return
        # The path may hold bytes that no text can; it travels as bytes, and what it is called as a place.
        options = replace(options, path="", name=options.name or Path(place_of(path)).name)
        yield from self._read(self._job(path, place, size, options=options))

    def chats(
        self, path: str, *, day_first: bool | None = None, roots: Sequence[str] = ()
    ) -> Iterator[Prepared | Refused]:  # fmt: skip
        """The conversations of an export (a file, or a folder of notes), and what was refused of it.

        `day_first` is how dates such as 07/08/2025 are meant where nothing in the export tells. With `roots`, absolute
        paths without links, only files below one of them are read.
        """
        place, real = path, path_of(path)
        try:
            size = _size(real)
        except OSError as error:
            yield _unreadable(place, error)
            return
        options = ReadingOptions(roots=tuple(roots))
        yield from self._read(self._job(real, place, size, chats=True, day_first=day_first, options=options))

    def divided(self, material: Material) -> Prepared:
        """A material that is there already, divided and analysed; its digest is the hash of its text.

        Raises:
            UnreadableError: it takes too long or too much memory.
        """
        job = self._job(Path(), material.place, len(material.text), material=material)
        (found,) = self._read(job)
        if isinstance(found, Refused):
            reason = found.reason
            raise UnreadableError(
                reason if isinstance(reason, Text) else text("reading it failed inside ({error})", error=reason)
            )
        return found

    def close(self) -> None:
        """End all children; a file that is being read ends as refused."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            for child in self._busy:
                # Whoever waits for it sees the end of its pipe, and clears it away.
                child.kill()
        for child in idle:
            child.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _job(self, path: Path, place: str, size: int, **more: Any) -> wire.Job:
        seconds = self.limits.time_for(size)
        return wire.Job(os.fsencode(path), place, seconds, limits=self.limits, passages=self.passages, **more)

    def _read(self, job: wire.Job) -> Iterator[Prepared | Refused]:
        with self._free:
            try:
                child = self._child()
            except OSError as error:
                # No process or no memory is left for one more; that costs this file, and not the whole run.
                reason = text("what reads it cannot be started: {reason}", reason=error.strerror or str(error))
                yield Refused(job.place, reason)
                return
            whole = False
            try:
                yield from child.answers(job)
                whole = True
            except _LostError as lost:
                yield Refused(job.place, lost.reason)
            finally:
                self._give_back(child, whole=whole)

    def _child(self) -> _Child:
        with self._lock:
            while self._idle:
                child = self._idle.pop()
                if child.alive():
                    break
                child.end()
            else:
                child = _Child(self.limits)
            self._busy.add(child)
            return child

    def _give_back(self, child: _Child, *, whole: bool) -> None:
        with self._lock:
            self._busy.discard(child)
            keep = whole and not self._closed and child.served < self.limits.files
            if keep:
                self._idle.append(child)
        if not keep:
            child.end()


def _unreadable(place: str, error: OSError) -> Refused:
    return Refused(place, text("it cannot be read: {reason}", reason=error.strerror or str(error)))


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if not path.is_dir():
        return path.stat().st_size
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118 - a hundred thousand notes
    return total


class _Child:
    """One child process, and the pipe to it. One job at a time."""

    def __init__(self, limits: ReadingLimits) -> None:
        self.served = 0
        self._limits = limits
        self._process = start_child(_PROGRAM)
        self._ended = threading.Lock()

    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def answers(self, job: wire.Job) -> Iterator[Prepared | Refused]:
        """What comes of a job.

        Raises:
            _LostError: it died, was too slow or took too much memory; it must be ended.
        """
        patience = _PATIENCE * job.seconds + (0.0 if self.served else _START)
        self.served += 1
        try:
            pipe = self._pipe(self._process.stdin)
            pipe.write(wire.frame(job))
            pipe.flush()
        except OSError:
            raise _LostError(self._death()) from None
        frames = _Frames(self._pipe(self._process.stdout), self._process.pid, self._limits, patience)
        while True:
            body = frames.next()
            if body is None:
                raise _LostError(self._death())
            try:
                answer = wire.answer(body)
            except msgspec.MsgspecError as error:
                log.exception("reading_child_unreadable", place=job.place)
                raise _LostError(text("reading it failed inside ({error})", error=str(error)[:150])) from error
            if answer.mistake:
                log.error("reading_failed", place=job.place, error=answer.mistake[0], at=answer.mistake[1:])
            if answer.spent:
                raise _LostError(answer.refused.reason if answer.refused else _too_much_memory(self._limits))
            if answer.prepared is not None:
                yield answer.prepared
            elif answer.refused is not None:
                yield answer.refused
            else:
                return

    def kill(self) -> None:
        """End it and all that it started; from any thread."""
        with self._ended:
            kill(self._process)

    def end(self) -> None:
        """As `kill`, wait for it, and give back its pipes; nobody may be reading from it."""
        self.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                self._pipe(pipe).close()

    def _death(self) -> Text:
        try:
            code = self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            code = 0
        if code == -signal.SIGXCPU:
            return _too_slow()
        if code < 0:
            return text(
                "the program that read it crashed ({signal}); convert it to another format", signal=signal_name(code)
            )
        return text("the program that read it ended with {code}; convert it to another format", code=code)

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None  # noqa: S101 - started with both
        return pipe


def _too_slow() -> Text:
    return text("reading it took too long; divide it, or convert it to a simpler format")


def _too_much_memory(limits: ReadingLimits) -> Text:
    return text(
        "reading it takes more than {limit} MiB of memory; divide it, or convert it", limit=limits.memory // MIB
    )


class _Frames:
    """Frames from a child's pipe. Only waiting for the child counts as its time, not what is done with its answers."""

    def __init__(self, pipe: IO[bytes], pid: int, limits: ReadingLimits, patience: float) -> None:
        self._descriptor = pipe.fileno()
        self._pid, self._limits, self._left = pid, limits, patience
        self._buffer = bytearray()

    def next(self) -> bytes | None:
        """The next frame's body; None where the child is gone.

        Raises:
            _LostError: it takes too long, takes too much memory, or sends too much.
        """
        if not self._fill(HEADER):
            return None
        length = length_of(self._buffer)
        if length > self._limits.frame:
            raise _LostError(text("it became {size} MiB of text; divide it", size=length // MIB))
        if not self._fill(HEADER + length):
            return None
        body = bytes(self._buffer[HEADER : HEADER + length])
        del self._buffer[: HEADER + length]
        return body

    def _fill(self, wanted: int) -> bool:
        while len(self._buffer) < wanted:
            self._wait()
            try:
                more = os.read(self._descriptor, _CHUNK)
            except OSError:
                return False
            if not more:
                return False
            self._buffer += more
        return True

    def _wait(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._descriptor, selectors.EVENT_READ)
            while True:
                since = time.monotonic()
                ready = selector.select(max(0.0, min(_LOOK, self._left)))
                self._left -= time.monotonic() - since
                if ready:
                    return
                if self._left <= 0:
                    raise _LostError(_too_slow())
                if (resident_bytes(self._pid) or 0) > self._limits.memory:
                    raise _LostError(_too_much_memory(self._limits))
