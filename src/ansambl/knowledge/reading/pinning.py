"""A file that is held open while it is read: what was checked is what is read, whoever renames things meanwhile."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ansambl.domain.text import text
from ansambl.knowledge.reading.content import UnreadableError
from ansambl.knowledge.reading.roots import check_inside

_DESCRIPTORS = Path("/proc/self/fd")


@dataclass(frozen=True, slots=True)
class Pinned:
    """`path` opens the very file (on Linux whatever became of its name). `size` is in bytes, `time` when it changed."""

    path: Path
    descriptor: int
    size: int
    time: float
    state: tuple[int, ...]

    def changed(self) -> bool:
        """Whether it was written since it was opened."""
        return _state(os.fstat(self.descriptor)) != self.state


def _state(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


@contextlib.contextmanager
def pinned(path: Path, roots: Sequence[str] = ()) -> Iterator[Pinned]:
    """Open a regular file, below one of `roots` where there are any.

    Raises:
        UnreadableError: it is a device, a socket, a pipe or a folder, or it is outside.
        OSError: it cannot be opened.
    """
    # Without O_NONBLOCK, opening a named pipe waits for somebody who writes into it.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise UnreadableError(text("it is no regular file"))
        own = _DESCRIPTORS / str(descriptor)
        real = str(own.readlink()) if _DESCRIPTORS.is_dir() else os.path.realpath(path)
        if roots:
            check_inside(real, roots)
        yield Pinned(
            own if _DESCRIPTORS.is_dir() else Path(real), descriptor, found.st_size, found.st_mtime, _state(found)
        )
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def opened(path: Path, roots: Sequence[str] = ()) -> Iterator[IO[bytes]]:
    """As `pinned`, as a stream to be read."""
    with pinned(path, roots) as file, file.path.open("rb") as stream:
        yield stream
