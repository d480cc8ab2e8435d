"""Fetch a checkpoint from a hub: announced first, resumed where it was cut off, and never taken for whole before it is.

Files arrive in a hidden folder, each in a ``.part`` file until its hash is the one that the hub named; the folder is
renamed when all are there. The hub's own client is not used for the bytes: since its version 2 it throws away what an
interrupted download had (`file_download._download_to_tmp_and_move`), which for files of 60 GB is the wrong way round.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Protocol

import msgspec

from ansambl.domain.errors import CheckpointError, UnavailableError
from ansambl.domain.text import text
from ansambl.domain.units import Bytes, Seconds, format_bytes
from ansambl.foundation.paths import PRIVATE_FOLDER, write_atomically
from ansambl.model_catalog.hub import HubRepository, read_repository
from ansambl.model_catalog.library import INCOMING, MANIFEST, Manifest, read_manifest, write_manifest
from ansambl.model_catalog.printable import printable
from ansambl.model_catalog.references import (
    SAFETENSORS,
    GgufGroup,
    HubFile,
    HubReference,
    choose_gguf,
    projector_of,
    require_reference,
    safetensors_files,
    snapshot_files,
)
from ansambl.model_catalog.web import Web

Progress = Callable[[int, int], None]
"""Called with the bytes that are here and the bytes in all."""
LINK_SPEEDS = (50e6 / 8, 200e6 / 8, 1e9 / 8)
"""Bytes a second of links that people have: 50, 200 and 1000 Mbit/s."""

_RANGE = 16 << 30
"""One request's share: content networks answer at most 50 GB at once."""
_RESERVE = 512 << 20
"""What must stay free on the disk."""
_TRIES, _PAUSES = 6, (0.5, 1.0, 2.0, 4.0, 8.0)
_STATE = ".ansambl-state.json"


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a download would be.

    `reference` names exactly it; `size` is its bytes, `here` those that an earlier try has left, `free` the disk's.
    `quantization` is None where nothing names one. `folder` is where the checkpoint will lie, `first` what of it is
    given to an engine (empty: the folder). `installed` means that this very commit is there and whole.
    """

    reference: str
    repository: HubRepository
    format: str
    quantization: str | None
    files: tuple[HubFile, ...]
    first: str
    folder: Path
    free: Bytes
    here: Bytes
    installed: bool

    @property
    def size(self) -> Bytes:
        """Bytes of all files."""
        return Bytes(sum(one.size for one in self.files))

    @property
    def licence(self) -> str | None:
        """The licence's name; None when the repository does not say."""
        return self.repository.licence

    @property
    def gated(self) -> bool:
        """Whether the licence must be accepted on the model's page first."""
        return self.repository.gated

    @property
    def lacking(self) -> Bytes:
        """How many bytes the disk is short of; 0 when there is room."""
        if self.installed:
            return Bytes(0)
        return Bytes(max(0, self.size - self.here + _RESERVE - self.free))

    @property
    def path(self) -> Path:
        """What an engine is given."""
        return self.folder / self.first if self.first else self.folder

    def seconds(self, bytes_per_second: float) -> Seconds:
        """How long the rest takes at this speed."""
        return Seconds(0.0 if self.installed else (self.size - self.here) / bytes_per_second)


class Connected(Protocol):
    """Opens connections; the real one is `Web`."""

    def __call__(self, *, offline: bool = False) -> Web:
        """A connection to use in a ``with`` block."""


def announce(reference: str, models_folder: Path, *, offline: bool = False, connect: Connected = Web) -> Announcement:
    """Say what fetching `reference` would mean; asks the hub for the list of files, and fetches none of them.

    Raises:
        UsageError: it is no hub reference.
        CheckpointError: the hub has no such checkpoint.
        UnavailableError: nothing may be requested, or the hub cannot be reached.
    """
    wanted = require_reference(reference)
    with connect(offline=offline) as web:
        repository = read_repository(web, wanted.repo)
    return _announcement(wanted, repository, models_folder)


def _announcement(wanted: HubReference, repository: HubRepository, models_folder: Path) -> Announcement:
    group = choose_gguf(wanted, repository.files)
    if group is not None:
        projector = projector_of(repository.files)
        files = (*group.files, *((projector,) if projector else ()))
        form, quantization, first = "gguf", group.quantization, group.files[0].path
        place, name = _place(wanted.repo, group, repository.files)
    else:
        files = snapshot_files(repository.files, safetensors_files(repository.files))
        form, quantization, first = SAFETENSORS, None, ""
        place, name = SAFETENSORS, wanted.repo
        if not any(one.path.endswith(".safetensors") for one in files):
            raise CheckpointError(
                text("the repository {repo} holds neither GGUF nor safetensors files; choose another", repo=wanted.repo)
            )
    folder = models_folder.joinpath(*wanted.repo.split("/"), place)
    incoming = _incoming(models_folder, folder)
    manifest = read_manifest(folder)
    same = manifest is not None and manifest.files == {one.path: one.size for one in files}
    return Announcement(
        name, repository, form, quantization, files, first, folder, _free(models_folder),
        Bytes(sum(_here(incoming, one) for one in files)),
        installed=same and manifest is not None and manifest.revision == repository.revision,
    )  # fmt: skip


def _place(repo: str, group: GgufGroup, files: tuple[HubFile, ...]) -> tuple[str, str]:
    """The name of the folder for a GGUF checkpoint, and its reference: by its quantization where that says which."""
    if group.quantization is not None:
        meant = choose_gguf(HubReference(repo, group.quantization), files)
        if meant is not None and meant.stem == group.stem:
            return group.quantization, f"{repo}:{group.quantization}"
    return group.stem.replace("/", "--").lstrip("."), f"{repo}/{group.files[0].path}"


def check_room(announcement: Announcement) -> None:
    """Refuse a download for which the disk has no room.

    Raises:
        CheckpointError: it has none; with the numbers.
    """
    if announcement.lacking:
        raise CheckpointError(
            text("{reference} needs {size} more in {folder}, where {free} are free ({reserve} stay free); free "
                 "{lacking} there, or choose another data folder with ANSAMBL_DATA", reference=announcement.reference,
                 size=format_bytes(announcement.size - announcement.here), folder=str(announcement.folder.parent),
                 free=format_bytes(announcement.free), reserve=format_bytes(_RESERVE),
                 lacking=format_bytes(announcement.lacking))
        )  # fmt: skip


def fetch(
    announcement: Announcement, progress: Progress, *, offline: bool = False, connect: Connected = Web,
    pause: Callable[[float], None] = time.sleep,
) -> Path:  # fmt: skip
    """Fetch what was announced and return what an engine is given. Blocks; called again, it goes on where it stopped.

    Args:
        announcement: of `announce`.
        progress: told how far it is.
        offline: refuse instead of using the network.
        connect: opens connections.
        pause: waits between tries after a broken connection.

    Raises:
        CheckpointError: no room, no permission, the licence was not accepted, or what came is not what was announced.
        UnavailableError: nothing may be requested, or the hub cannot be reached. What has come stays and is used next
            time.
    """
    if announcement.installed:
        progress(announcement.size, announcement.size)
        return announcement.path
    check_room(announcement)
    folder = announcement.folder
    incoming = _incoming(folder.parents[2], folder)
    try:
        incoming.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        with _locked(incoming, announcement.reference), connect(offline=offline) as web:
            if read_manifest(incoming) != _manifest(announcement):
                (incoming / MANIFEST).unlink(missing_ok=True)
                _Fetching(announcement, incoming, web, progress, pause).run()
            _put_in_place(announcement, incoming)
    except OSError as failure:
        if failure.errno == errno.ENOSPC:
            check_room(replace(announcement, free=_free(folder.parents[2])))
        raise CheckpointError(
            text("{reference} cannot be written to {folder} ({reason}); give permission or choose another data folder "
                 "with ANSAMBL_DATA", reference=announcement.reference, folder=str(folder.parent),
                 reason=failure.strerror or str(failure))
        ) from failure  # fmt: skip
    return announcement.path


def _incoming(models_folder: Path, folder: Path) -> Path:
    return models_folder / INCOMING / "--".join(folder.relative_to(models_folder).parts)


def _free(folder: Path) -> Bytes:
    """The free bytes of the disk that `folder` is, or would be, on."""
    for one in (folder, *folder.parents):
        with contextlib.suppress(OSError):
            return Bytes(shutil.disk_usage(one).free)
    return Bytes(0)


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _here(incoming: Path, file: HubFile) -> int:
    for path in (incoming / file.path, _part(incoming / file.path)):
        with contextlib.suppress(OSError):
            return min(path.stat().st_size, file.size)
    return 0


@contextlib.contextmanager
def _locked(incoming: Path, reference: str) -> Iterator[None]:
    """Held by the one process that fetches this checkpoint. The kernel frees it when the process ends, however."""
    with (incoming.parent / f"{incoming.name}.lock").open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as failure:
            raise UnavailableError(
                text("another Ansambl is fetching {reference} at this moment; wait for it", reference=reference)
            ) from failure
        yield


def _manifest(announcement: Announcement) -> Manifest:
    repository = announcement.repository
    return Manifest(
        announcement.reference, repository.repo, repository.revision, announcement.format, announcement.quantization,
        repository.licence, announcement.first, {one.path: one.size for one in announcement.files},
    )  # fmt: skip


def _put_in_place(announcement: Announcement, incoming: Path) -> None:
    """Turn the folder with all files into the checkpoint, in one step."""
    # The manifest first: should the machine stop from here on, the next try finds it and only renames.
    write_manifest(incoming, _manifest(announcement))
    kept = {MANIFEST, *(one.path for one in announcement.files)}
    for path in sorted(incoming.rglob("*"), reverse=True):
        if path.is_file() and path.relative_to(incoming).as_posix() not in kept:
            path.unlink()
    folder = announcement.folder
    folder.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    old = incoming.with_name(f"{incoming.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    incoming.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


class _Fetching:
    """One download at work. The state file names the content that each file and part was begun as."""

    def __init__(
        self, announcement: Announcement, incoming: Path, web: Web, progress: Progress, pause: Callable[[float], None]
    ) -> None:
        self._announced = announcement
        self._folder = incoming
        self._web = web
        self._progress = progress
        self._pause = pause
        self._done = 0
        try:
            self._state = msgspec.json.decode((incoming / _STATE).read_bytes(), type=dict[str, str])
        except (OSError, ValueError, RecursionError):
            self._state = {}

    def run(self) -> None:
        """Fetch every file that is not there yet."""
        for file in self._announced.files:
            self._file(file)

    def _file(self, file: HubFile) -> None:
        path, content = self._folder / file.path, file.sha256 or file.blob or f"{self._announced.repository.revision}"
        path.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        if self._state.get(file.path) != content:
            path.unlink(missing_ok=True)
            _part(path).unlink(missing_ok=True)
            self._state[file.path] = content
            write_atomically(self._folder / _STATE, msgspec.json.encode(self._state))
        # Only a file whose hash was right carries its own name.
        if not path.is_file() or path.stat().st_size != file.size:
            self._fetch(file, _part(path))
            _part(path).rename(path)
        self._done += file.size
        self._progress(self._done, self._announced.size)

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
                     file=printable(file.path), repo=self._announced.repository.repo, found=found[:12] + "…",
                     expected=(file.sha256 or file.blob or "")[:12] + "…")
            )  # fmt: skip

    def _go_on(self, file: HubFile, output: IO[bytes], digest: hashlib._Hash) -> None:
        """Append what one answer brings.

        Raises:
            UnavailableError: the connection broke, or nothing came.
        """
        start = output.tell()
        address = self._announced.repository.address(file)
        with self._web.stream(address, start, min(file.size - start, _RANGE)) as chunks:
            for chunk in chunks:
                output.write(chunk)
                digest.update(chunk)
                self._progress(self._done + output.tell(), self._announced.size)
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
