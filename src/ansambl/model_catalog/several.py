"""Several checkpoints fetched at once, within one bound of connections; one that fails does not stop the others."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ansambl.domain.errors import AnsamblError
from ansambl.model_catalog.download import Announcement, Connected, fetch
from ansambl.model_catalog.fetching import FileProgress, Progress, Together
from ansambl.model_catalog.web import Web

_CHECKPOINTS = 3
"""Checkpoints that are fetched at the same time."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """How one download ended: `path` is what an engine is given, None when it failed with `failure`."""

    announcement: Announcement
    path: Path | None
    failure: AnsamblError | None


def fetch_all(
    announced: Sequence[Announcement], progress: Progress, *, files: FileProgress | None = None, offline: bool = False,
    connect: Connected = Web,
) -> tuple[Fetched, ...]:  # fmt: skip
    """Fetch what was announced. Blocks; on an interrupt all stop, and what has come stays.

    Args:
        announced: of `download.announce`, each for another folder.
        progress: told of the bytes of all together; called by one thread at a time.
        files: told of every file that moves, by ``repository/path``; called by one thread at a time.
        offline: refuse instead of using the network.
        connect: opens connections.
    """
    work = _Work(announced, progress, files)
    threads = [
        threading.Thread(target=work.run, args=(offline, connect), daemon=True)
        for _ in range(min(_CHECKPOINTS, len(announced)))
    ]
    for one in threads:
        one.start()
    try:
        for one in threads:
            one.join()
    except BaseException:
        work.stop()
        raise
    return work.results()


class _Work:
    """The downloads that wait, and how the others ended."""

    def __init__(self, announced: Sequence[Announcement], progress: Progress, files: FileProgress | None) -> None:
        self._announced = announced
        self._progress = progress
        self._size = sum(one.size for one in announced)
        self._done = [0] * len(announced)
        self._ends: dict[int, Fetched | BaseException] = {}
        self._lock = threading.Lock()
        self._waiting = iter(range(len(announced)))
        # All of them count against the same connections.
        self._slots = Together()
        self._told = files

    def stop(self) -> None:
        """Let all end as soon as they can."""
        self._slots.stop()

    def run(self, offline: bool, connect: Connected) -> None:
        """Fetch one after the other until none waits; several threads do it at once."""
        while not self._slots.stopped:
            with self._lock:
                index = next(self._waiting, None)
            if index is None:
                return
            self._ends[index] = self._fetch(index, offline=offline, connect=connect)

    def _fetch(self, index: int, *, offline: bool, connect: Connected) -> Fetched | BaseException:
        one = self._announced[index]

        def told(here: int, _: int) -> None:
            with self._lock:
                self._done[index] = here
                self._progress(sum(self._done), self._size)

        def told_of_file(path: str, here: int, whole: int) -> None:
            if self._told is not None:
                with self._lock:
                    self._told(f"{one.repository.repo}/{path}", here, whole)

        try:
            path = fetch(one, told, offline=offline, connect=connect, together=self._slots.shared(told_of_file))
        except AnsamblError as failure:
            return Fetched(one, None, failure)
        except BaseException as failure:  # noqa: BLE001 - raised again by `results`
            return failure
        return Fetched(one, path, None)

    def results(self) -> tuple[Fetched, ...]:
        """How each ended, in the order of the announcements."""
        found = [self._ends[index] for index in sorted(self._ends)]
        for one in found:
            if isinstance(one, BaseException):
                raise one
        return tuple(one for one in found if isinstance(one, Fetched))
