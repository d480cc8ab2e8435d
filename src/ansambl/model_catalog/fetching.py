"""The bytes of a download: several files at once, each resumed where it was cut off, kept only when its hash is right.

A file arrives in a ``.part`` beside its place and gets its own name when its hash is the one that the hub named.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec

from ansambl.domain.errors import CheckpointError, UnavailableError
from ansambl.domain.text import text
from ansambl.domain.units import Bytes
from ansambl.foundation.paths import PRIVATE_FOLDER, write_atomically
from ansambl.model_catalog.hub import HubRepository
from ansambl.model_catalog.printable import printable
from ansambl.model_catalog.references import HubFile
from ansambl.model_catalog.web import Web

Progress = Callable[[int, int], None]
"""Called with the bytes that are here and the bytes in all."""
FileProgress = Callable[[str, int, int], None]
"""Called with a file's path in its repository, its bytes that are here, and its bytes in all."""
AT_ONCE = 4
"""Connections that are open for bytes at the same time: more bring nothing from one content network."""

_RANGE = 16 << 30
"""One request's share: content networks answer at most 50 GB at once."""
_TRIES, _PAUSES = 6, (0.5, 1.0, 2.0, 4.0, 8.0)
_STATE = ".ansambl-state.json"
_LOOK = 0.2
"""Seconds between looks whether a download that waits for its turn was stopped."""


class Together:
    """What several downloads share: the number of open connections, and whether all of them shall stop.

    `files` is told of every file that moves; it is called from several threads, one at a time for each download.
    """

    def __init__(self, at_once: int = AT_ONCE, files: FileProgress | None = None) -> None:
        self.at_once = at_once
        self.files = files
        self._slots = threading.Semaphore(at_once)
        self._stopped = threading.Event()

    def shared(self, files: FileProgress) -> Together:
        """The same connections and the same stop for a download that tells `files` of its own."""
        one = copy.copy(self)
        one.files = files
        return one

    def stop(self) -> None:
        """Let every download end as soon as it can; what has come stays."""
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        """Whether all shall end."""
        return self._stopped.is_set()

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Hold one of the connections; waits until there is one."""
        while not self._slots.acquire(timeout=_LOOK):
            if self.stopped:
                raise StoppedError
        try:
            yield
        finally:
            self._slots.release()


class StoppedError(UnavailableError):
    """A download was told to stop."""

    def __init__(self) -> None:
        super().__init__(text("the download was stopped; the same command goes on from there"))


def part_of(path: Path) -> Path:
    """Where a file arrives."""
    return path.with_name(f"{path.name}.part")


def bytes_here(incoming: Path, files: Sequence[HubFile]) -> Bytes:
    """How many bytes of `files` an earlier try has left in the folder `incoming`."""
    return Bytes(sum(_here(incoming, one) for one in files))


def _here(incoming: Path, file: HubFile) -> int:
    for path in (incoming / file.path, part_of(incoming / file.path)):
        with contextlib.suppress(OSError):
            return min(path.stat().st_size, file.size)
    return 0


class Fetching:
    """One download at work. The state file names the content that each file and part was begun as.

    Args:
        repository: where the files come from.
        files: what is fetched.
        incoming: the folder that they are put into.
        web: a connection that is open.
        progress: told how far all is; called by one thread at a time, never with less than before.
        pause: waits between tries after a broken connection.
        together: what is shared with other downloads.
    """

    def __init__(
        self, repository: HubRepository, files: Sequence[HubFile], incoming: Path, web: Web, progress: Progress,
        pause: Callable[[float], None], together: Together,
    ) -> None:  # fmt: skip
        self._repository = repository
        self._files = files
        self._folder = incoming
        self._web = web
        self._progress = progress
        self._pause = pause
        self._together = together
        self._size = sum(one.size for one in files)
        self._lock = threading.Lock()
        self._done: dict[str, int] = {}
        self._ended = threading.Event()
        self._failures: list[BaseException] = []
        try:
            self._state = msgspec.json.decode((incoming / _STATE).read_bytes(), type=dict[str, str])
        except (OSError, ValueError, RecursionError):
            self._state = {}

    def run(self) -> None:
        """Fetch every file that is not there yet.

        Raises:
            CheckpointError: a file came damaged, or may not be fetched.
            UnavailableError: the hub went away, or the download was stopped.
            OSError: a file cannot be written.
        """
        if len(self._files) == 1:
            self._file(self._files[0])
            return
        waiting = iter(self._files)

        def work() -> None:
            try:
                while not self._is_over():
                    with self._lock:
                        file = next(waiting, None)
                    if file is None:
                        return
                    self._file(file)
            except BaseException as failure:  # noqa: BLE001 - raised again by the thread that waits for all
                self._failures.append(failure)
                self._ended.set()

        # They end with the program: one that waits for an answer must not hold up who interrupts it.
        workers = [threading.Thread(target=work, daemon=True) for _ in range(min(self._together.at_once,
                                                                                 len(self._files)))]  # fmt: skip
        for one in workers:
            one.start()
        try:
            for one in workers:
                one.join()
        except BaseException:
            self._ended.set()
            raise
        if self._failures:
            raise next((one for one in self._failures if not isinstance(one, StoppedError)), self._failures[0])
        if self._is_over():
            raise StoppedError

    def _is_over(self) -> bool:
        return self._ended.is_set() or self._together.stopped

    def _tell(self, file: HubFile, done: int) -> None:
        with self._lock:
            self._done[file.path] = done
            self._progress(sum(self._done.values()), self._size)
            if self._together.files is not None:
                self._together.files(file.path, done, file.size)

    def _file(self, file: HubFile) -> None:
        path, content = self._folder / file.path, file.sha256 or file.blob or f"{self._repository.revision}"
        with self._lock:
            path.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
            if self._state.get(file.path) != content:
                path.unlink(missing_ok=True)
                part_of(path).unlink(missing_ok=True)
                self._state[file.path] = content
                write_atomically(self._folder / _STATE, msgspec.json.encode(self._state))
        # Only a file whose hash was right carries its own name.
        if not path.is_file() or path.stat().st_size != file.size:
            with self._together.turn():
                self._fetch(file, part_of(path))
            part_of(path).rename(path)
        self._tell(file, file.size)

    def _fetch(self, file: HubFile, part: Path) -> None:
        with part.open("ab") as output:
            output.truncate(min(output.tell(), file.size))
            output.seek(0, os.SEEK_END)
            digest = _digest_so_far(file, part)
            failures = 0
            while output.tell() < file.size:
                before = output.tell()
                try:
                    self._go_on(file, output, digest)
                except StoppedError:
                    raise
                except UnavailableError:
                    failures = 0 if output.tell() > before else failures + 1
                    if failures >= _TRIES - 1:
                        raise
                    self._pause(_PAUSES[failures])
            output.flush()
            os.fsync(output.fileno())
        found = digest.hexdigest()
        if found != (file.sha256 or file.blob or found):
            part.unlink()
            raise CheckpointError(
                text("{file} of {repo} came damaged: its hash is {found}, not {expected}; it was not kept, try again",
                     file=printable(file.path), repo=self._repository.repo, found=found[:12] + "…",
                     expected=(file.sha256 or file.blob or "")[:12] + "…")
            )  # fmt: skip

    def _go_on(self, file: HubFile, output: IO[bytes], digest: hashlib._Hash) -> None:
        """Append what one answer brings.

        Raises:
            UnavailableError: the connection broke, nothing came, or all shall stop.
        """
        start = output.tell()
        address = self._repository.address(file)
        with self._web.stream(address, start, min(file.size - start, _RANGE)) as chunks:
            for chunk in chunks:
                if self._is_over():
                    raise StoppedError
                output.write(chunk)
                digest.update(chunk)
                self._tell(file, output.tell())
        if output.tell() == start:
            raise UnavailableError(text("the hub sends nothing of {file}; try again later", file=printable(file.path)))


def _digest_so_far(file: HubFile, part: Path) -> hashlib._Hash:
    """The hash of what is here already; git's for a small file, whose hash begins with its length."""
    digest = hashlib.sha256() if file.sha256 or not file.blob else hashlib.sha1(usedforsecurity=False)
    if file.blob and not file.sha256:
        digest.update(b"blob %d\0" % file.size)
    with part.open("rb") as begun:
        while piece := begun.read(1 << 20):
            digest.update(piece)
    return digest
