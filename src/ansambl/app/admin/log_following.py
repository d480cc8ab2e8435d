"""Log files as streams of lines: the newest ones, then what is added. Each line has an id by which reading goes on.

An id says in which file (its inode) and where behind the line the next one begins. Files that are rotated are read to
their end first; files that are emptied begin anew.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import BinaryIO

from ansambl.api.leaving import KEEP_ALIVE, KEEP_ALIVE_EVERY, frame
from ansambl.foundation.redaction import redact

_POLL = 0.5
"""Seconds between two looks at a file: one `stat`, some microseconds."""
_STEP = 65_536
_MOST_BEHIND = 1_000_000
"""Bytes that a reader may be behind; a slower one is told how much it misses."""
_LONGEST_LINE = 4000
_ID = re.compile(r"([0-9a-f]{1,16})-([0-9]{1,15})")


def newest_lines(path: Path, count: int) -> list[str]:
    """The newest lines of a file, oldest first; none where there is no file. Blocks."""
    try:
        with path.open("rb") as file:
            return [_clean(one) for one in _tail(file, count)[1]]
    except OSError:
        return []


class LogFollower:
    """Follows one file. `poll` is the seconds between two looks."""

    def __init__(self, path: Path, *, poll: float = _POLL, keep_alive: float = KEEP_ALIVE_EVERY) -> None:
        self._path = path
        self._poll = poll
        self._keep_alive = keep_alive
        self._file: BinaryIO | None = None
        self._inode = 0
        self._offset = 0
        self._rest = b""

    async def stream(self, lines: int, after: str | None) -> AsyncGenerator[bytes]:
        """The lines after the one of this id, else the newest `lines`; then what is added, for ever."""
        sent = time.monotonic()
        try:
            first = await asyncio.to_thread(self._begin, lines, after)
            if first:
                yield first
            while True:
                part = b""
                if self._has_news():
                    part = await asyncio.to_thread(self._read)
                if part:
                    sent = time.monotonic()
                    yield part
                    continue
                if time.monotonic() - sent >= self._keep_alive:
                    sent = time.monotonic()
                    yield KEEP_ALIVE
                await asyncio.sleep(self._poll)
        finally:
            self._close()

    def _begin(self, lines: int, after: str | None) -> bytes:
        if not self._open():
            return b""
        file, found = self._file, _ID.fullmatch(after or "")
        if file is None:
            return b""
        if found is not None and int(found[1], 16) == self._inode and int(found[2]) <= os.fstat(file.fileno()).st_size:
            self._offset = int(found[2])
            return b""
        begin, newest = _tail(file, lines)
        self._offset = begin
        return self._frames(newest)

    def _open(self) -> bool:
        try:
            self._file = self._path.open("rb")
        except OSError:
            return False
        self._inode, self._offset, self._rest = os.fstat(self._file.fileno()).st_ino, 0, b""
        return True

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _has_news(self) -> bool:
        """Whether there is something to read, or another file to open."""
        try:
            found = os.stat(self._path)  # noqa: PTH116 - half the price on the event loop
        except OSError:
            return False
        return self._file is None or found.st_ino != self._inode or found.st_size != self._offset + len(self._rest)

    def _read(self) -> bytes:
        """The frames of what was added, at most `_STEP` bytes of it."""
        if self._file is None and not self._open():
            return b""
        file = self._file
        if file is None:
            return b""
        told, size = b"", os.fstat(file.fileno()).st_size
        position = self._offset + len(self._rest)
        if size < position:
            told, position = frame("gap", {"bytes": None}), 0
            self._offset, self._rest = 0, b""
        elif size - position > _MOST_BEHIND:
            told = frame("gap", {"bytes": size - _STEP - position})
            position = self._offset = size - _STEP
            self._rest = b""
        file.seek(position)
        content = file.read(_STEP)
        if not content and not told:
            # At its end; it may have been rotated, and then all that follows stands in another one.
            ended = self._rest
            if self._is_rotated():
                self._close()
                if self._open():
                    return (frame("line", {"line": _clean(ended)}) if ended else b"") + self._read()
            return b""
        *whole, rest = (self._rest + content).split(b"\n")
        if len(rest) > _STEP:
            # A line without an end, of which the beginning has to do.
            self._rest = b""
            return told + self._frames([*whole, rest], ended=False)
        self._rest = rest
        return told + self._frames(whole)

    def _is_rotated(self) -> bool:
        try:
            return self._path.stat().st_ino != self._inode
        except OSError:
            return False

    def _frames(self, lines: list[bytes], *, ended: bool = True) -> bytes:
        parts = []
        for index, one in enumerate(lines):
            self._offset += len(one) + (1 if ended or index < len(lines) - 1 else 0)
            parts.append(frame("line", {"line": _clean(one)}, f"{self._inode:x}-{self._offset}"))
        return b"".join(parts)


def _tail(file: BinaryIO, count: int) -> tuple[int, list[bytes]]:
    """The newest whole lines of a file and where the first of them begins; a megabyte of them at most."""
    size = file.seek(0, os.SEEK_END)
    begin = max(0, size - min(_MOST_BEHIND, count * _LONGEST_LINE))
    file.seek(begin)
    content = file.read(size - begin)
    lines = content.split(b"\n")
    # What stands behind the last line break is not a line yet.
    rest = lines.pop()
    if begin and len(lines) == 1:
        # A line longer than all that is looked at: its end has to do, or the log would seem to be empty.
        lines = [lines[0][-_LONGEST_LINE:]]
    elif begin and lines:
        lines.pop(0)
    lines = lines[-count:]
    return size - len(rest) - sum(len(one) + 1 for one in lines), lines


def _clean(line: bytes) -> str:
    # A progress bar writes over its own line; only its last state counts.
    return redact(line.rstrip(b"\r").rpartition(b"\r")[2][:_LONGEST_LINE].decode("utf-8", "replace"))
