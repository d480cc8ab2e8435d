"""A file of lines that is written beside the event loop: handed over in a microsecond, written in batches, rotated."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from ansambl.foundation.logging import get_logger
from ansambl.foundation.paths import PRIVATE_FILE

log = get_logger(__name__)

T = TypeVar("T")

WRITE_EVERY = 0.25
"""Seconds that lines are gathered before they are written; a `kill -9` loses no more than these."""
_BATCH = 500
"""Lines that are put into words in one go, so that the event loop's thread gets its turn in between."""


class LineFile(Generic[T]):
    """Writes items as lines of `file`, which its owner alone may read (mode 0600), in a thread of its own.

    The thread starts with the first item and ends with `close`. At most `most` items wait; what comes on top of them is
    counted in `dropped` and not written. The same holds for what the disk does not take, and for what cannot be
    encoded.

    Args:
        file: where the lines go; older ones go to ``file.1``, ``file.2`` …
        encode: an item as one line, without its end; called in the thread.
        limit: bytes of the file from which the next batch begins a new one.
        kept: how many older files stay.
        most: how many items may wait.
    """

    def __init__(
        self, file: Path, encode: Callable[[T], bytes], *, limit: int = 10_000_000, kept: int = 3, most: int = 20_000
    ) -> None:
        self.file = file
        self.dropped = 0
        self.failure: OSError | None = None
        self._encode = encode
        self._limit, self._kept, self._most = limit, kept, most
        self._waiting: deque[T] = deque()
        self._wake = threading.Event()
        self._idle = True
        self._closing = False
        self._thread: threading.Thread | None = None

    def put(self, item: T) -> None:
        """Have an item written. Returns at once."""
        if len(self._waiting) >= self._most or self._closing:
            self.dropped += 1
            return
        self._waiting.append(item)
        if self._idle:
            self._idle = False
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"lines-{self.file.name}", daemon=True)
                self._thread.start()
            self._wake.set()

    def close(self, patience: float = 5.0) -> None:
        """Write what waits, and end; nothing is taken any more. Blocks for at most `patience` seconds."""
        self._closing = True
        if self._thread is not None:
            self._wake.set()
            self._thread.join(patience)

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            if not self._closing:
                # To gather a batch; `close` ends the wait.
                self._wake.wait(WRITE_EVERY)
                self._wake.clear()
            self._write_all()
            if self._closing:
                return
            self._idle = True
            if self._waiting or self._closing:
                # Between the last look and the flag; `put` saw that we were busy.
                self._idle = False
                self._wake.set()

    def _write_all(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            lines = self._encoded(batch)
            try:
                self._append(lines)
                self.failure = None
            except OSError as failure:
                self.failure = failure
                self.dropped += len(batch)
            # A yield of the interpreter's lock.
            time.sleep(0)

    def _encoded(self, batch: list[T]) -> bytes:
        lines = []
        for one in batch:
            try:
                lines.append(self._encode(one) + b"\n")
            except Exception:
                # Or the thread ends with the first such item, and nothing is ever written again.
                self.dropped += 1
                log.exception("line_not_encoded", file=self.file.name)
        return b"".join(lines)

    def _append(self, lines: bytes) -> None:
        descriptor = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, PRIVATE_FILE)
        try:
            os.fchmod(descriptor, PRIVATE_FILE)
            view = memoryview(lines)
            while view:
                view = view[os.write(descriptor, view) :]
            size = os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
        if size >= self._limit:
            self._rotate()

    def _rotate(self) -> None:
        for number in range(self._kept - 1, 0, -1):
            older = self.file.with_name(f"{self.file.name}.{number}")
            if older.exists():
                older.replace(self.file.with_name(f"{self.file.name}.{number + 1}"))
        if self._kept > 0:
            self.file.replace(self.file.with_name(f"{self.file.name}.1"))
        else:
            self.file.unlink()
