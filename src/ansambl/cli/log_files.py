"""Reading the log files of the data folder: they can be read whether Ansambl runs or not."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ansambl.domain.errors import UnknownNameError
from ansambl.domain.text import text
from ansambl.foundation.paths import DataPaths
from ansambl.gateway.observing.request_log import REQUESTS_FILE
from ansambl.runtime.log_buffer import engine_log, logged_models

_POLL = 0.3


def find_log(paths: DataPaths, instance: str | None) -> Path:
    """The log of an instance's engine, or Ansambl's own.

    Raises:
        UnknownNameError: there is no such log; names those that exist.
    """
    file = paths.logs / "ansambl.log" if instance is None else engine_log(paths.logs, instance)
    if file.is_file():
        return file
    known = logged_models(paths.logs)
    if instance is None or not known:
        raise UnknownNameError(
            text("there is no log in {folder} yet; start Ansambl with: ansambl up", folder=paths.logs)
        )
    raise UnknownNameError(
        text(
            "no engine of '{name}' has written a log; there are logs of: {known}", name=instance, known=", ".join(known)
        )
    )


def find_request_log(paths: DataPaths) -> Path:
    """The file of finished requests.

    Raises:
        UnknownNameError: there is none.
    """
    file = paths.logs / REQUESTS_FILE
    if file.is_file() or _older(file).is_file():
        return file
    raise UnknownNameError(
        text("no request was logged in {folder} yet; log_requests under [gateway] must not be false", folder=paths.logs)
    )


def newest_requests(file: Path, count: int) -> list[str]:
    """The newest lines about requests, oldest first, also from before the newest file was begun."""
    found = newest_lines(file, count) if file.is_file() else []
    if len(found) < count and _older(file).is_file():
        found = [*newest_lines(_older(file), count - len(found)), *found]
    return found


def _older(file: Path) -> Path:
    return file.with_name(f"{file.name}.1")


def newest_lines(file: Path, count: int) -> list[str]:
    """The newest lines, oldest first."""
    with file.open(encoding="utf-8", errors="replace") as lines:
        return [line.rstrip("\n") for line in deque(lines, maxlen=count)]


def follow_file(file: Path) -> Iterator[str]:
    """Lines as they are added, for ever; a file that was replaced or emptied is read from its start."""
    position, inode, rest = 0, 0, ""
    with suppress(FileNotFoundError):
        position, inode = file.stat().st_size, file.stat().st_ino
    while True:
        try:
            stat = file.stat()
            if stat.st_ino != inode or stat.st_size < position:
                position, inode, rest = 0, stat.st_ino, ""
            if stat.st_size > position:
                with file.open("rb") as source:
                    source.seek(position)
                    added = source.read()
                position += len(added)
                *whole, rest = (rest + added.decode("utf-8", "replace")).split("\n")
                yield from whole
                continue
        except FileNotFoundError:
            # Between the two steps of a rotation there is no file.
            pass
        time.sleep(_POLL)
