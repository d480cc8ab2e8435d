"""The newest lines of a log file that an engine appends to; the file is kept below a limit."""

from __future__ import annotations

import os
import re
from collections import deque
from pathlib import Path

from ansambl.foundation.redaction import redact

_PREFIX, _ENDING = "engine-", ".log"
MAX_LINES, MAX_LINE, MAX_FILE = 1000, 2000, 8_000_000
_MAX_STEP = 1_000_000


def engine_log(folder: Path, model: str) -> Path:
    """The log file of the engine that runs `model`, in the folder of logs."""
    return folder / f"{_PREFIX}{re.sub(r'[^0-9A-Za-z._-]', '_', model)}{_ENDING}"


def logged_models(folder: Path) -> list[str]:
    """The models whose engines have a log in `folder`, as their files' names spell them."""
    return sorted(one.stem.removeprefix(_PREFIX) for one in folder.glob(f"{_PREFIX}*{_ENDING}"))


class LogBuffer:
    """Follows the file at `path` without a task of its own: `refresh` reads what is new.

    The engine holds the file open for appending, so emptying it in place is safe: its next line goes to the start.
    """

    def __init__(self, path: Path, *, max_lines: int = MAX_LINES, max_file: int = MAX_FILE) -> None:
        self.path = path
        self._max_file = max_file
        self._lines: deque[str] = deque(maxlen=max_lines)
        self._of_this_run: deque[str] = deque(maxlen=max_lines)
        self._offset = 0
        self._rest = b""

    def begin_run(self) -> None:
        """A new process starts now: what `run_tail` tells begins here."""
        self.refresh()
        self._of_this_run.clear()
        self._rest = b""

    def refresh(self) -> list[str]:
        """Read what was written since the last time and return its whole lines."""
        try:
            with self.path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size < self._offset:
                    self._offset, self._rest = 0, b""
                if size - self._offset > _MAX_STEP:
                    # Only the newest lines are kept anyway.
                    self._offset, self._rest = size - _MAX_STEP, b""
                file.seek(self._offset)
                content = file.read(_MAX_STEP)
        except OSError:
            return []
        self._offset += len(content)
        if self._offset > self._max_file:
            os.truncate(self.path, 0)
            self._offset = 0
        *whole, rest = (self._rest + content).split(b"\n")
        self._rest = rest[-MAX_LINE:]
        lines = [_clean(one) for one in whole]
        self._lines.extend(lines)
        self._of_this_run.extend(lines)
        return lines

    def tail(self, count: int) -> list[str]:
        """The newest lines, oldest first."""
        self.refresh()
        return list(self._lines)[-count:] if count > 0 else []

    def run_tail(self) -> list[str]:
        """The newest lines of the run that began last, its unfinished last line included."""
        self.refresh()
        return [*self._of_this_run, *([_clean(self._rest)] if self._rest else [])]


def _clean(line: bytes) -> str:
    # A progress bar writes over its own line; only its last state counts.
    return redact(line.rstrip(b"\r").rpartition(b"\r")[2][:MAX_LINE].decode("utf-8", "replace"))
