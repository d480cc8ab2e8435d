"""Fetch a checkpoint from a hub: announced first, resumed where it was cut off, and never taken for whole before it is.

Files arrive in a hidden folder, each in a ``.part`` file until its hash is the one that the hub named; the folder is
renamed when all are there. The hub's own client is not used for the bytes: since its version 2 it throws away what an
interrupted download had (`file_download._download_to_tmp_and_move`), which for files of 60 GB is the wrong way round.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ansambl.domain.errors import CheckpointError, UnavailableError
from ansambl.domain.text import text
from ansambl.domain.units import Bytes, Seconds, format_bytes
from ansambl.foundation.paths import PRIVATE_FOLDER
from ansambl.model_catalog.fetching import Fetching, Progress, Together, bytes_here
from ansambl.model_catalog.hub import HubRepository, read_repository
from ansambl.model_catalog.library import INCOMING, MANIFEST, Manifest, read_manifest, write_manifest
from ansambl.model_catalog.references import (
    SAFETENSORS,
    GgufGroup,
    HubFile,
    HubReference,
    choose_gguf,
    gguf_groups,
    projector_of,
    require_reference,
    safetensors_files,
    snapshot_files,
)
from ansambl.model_catalog.web import Web

LINK_SPEEDS = (50e6 / 8, 200e6 / 8, 1e9 / 8)
"""Bytes a second of links that people have: 50, 200 and 1000 Mbit/s."""

_RESERVE = 512 << 20
"""What must stay free on the disk."""
_FULL = {errno.ENOSPC, errno.EDQUOT}
_GGUF = "gguf"


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


@dataclass(frozen=True, slots=True)
class Suiting:
    """Which format is wanted of a repository that has several: those of `formats`, the best first.

    With `engine` nothing else is taken: it is the engine that the files are for.
    """

    formats: tuple[str, ...] = ()
    engine: str | None = None


def announce(
    reference: str, models_folder: Path, *, suiting: Suiting | None = None, offline: bool = False,
    connect: Connected = Web,
) -> Announcement:  # fmt: skip
    """Say what fetching `reference` would mean; asks the hub for the list of files, and fetches none of them.

    Args:
        reference: a hub reference; a quantization or a file in it decides which format is meant.
        models_folder: where checkpoints lie.
        suiting: which format is wanted where the reference leaves it open; safetensors before GGUF when left out.
        offline: refuse instead of using the network.
        connect: opens connections.

    Raises:
        UsageError: it is no hub reference.
        CheckpointError: the hub has no such checkpoint, or none that the engine takes.
        UnavailableError: nothing may be requested, or the hub cannot be reached.
    """
    wanted = require_reference(reference)
    with connect(offline=offline) as web:
        repository = read_repository(web, wanted.repo)
    chosen = _suited(wanted, repository, suiting or Suiting())
    return _announcement(chosen, repository, models_folder)


def _suited(wanted: HubReference, repository: HubRepository, suiting: Suiting) -> HubReference:
    """The same reference, saying also which GGUF file where the repository has both formats and that one is wanted.

    Raises:
        CheckpointError: the engine takes none of what there is.
    """
    has_gguf, has_folder = bool(gguf_groups(repository.files)), bool(safetensors_files(repository.files))
    is_gguf = choose_gguf(wanted, repository.files) is not None
    if wanted.quantization is None and wanted.file is None and has_gguf and has_folder:
        first = next((one for one in suiting.formats if one), SAFETENSORS)
        if first == _GGUF:
            group = choose_gguf(wanted, [one for one in repository.files if one.path.lower().endswith(".gguf")])
            return HubReference(wanted.repo, file=group.files[0].path) if group else wanted
    if suiting.engine is not None and (_GGUF if is_gguf else SAFETENSORS) not in _kinds(suiting.formats):
        raise CheckpointError(
            text("{engine} runs {formats}, and {reference} is in another format; choose another repository or engine",
                 engine=suiting.engine, formats=", ".join(suiting.formats), reference=str(wanted))
        )  # fmt: skip
    return wanted


def _kinds(formats: Sequence[str]) -> set[str]:
    """EXL3 and MLX checkpoints are folders of safetensors, too: which it is, only their descriptions tell."""
    return {_GGUF if one == _GGUF else SAFETENSORS for one in formats}


def _announcement(wanted: HubReference, repository: HubRepository, models_folder: Path) -> Announcement:
    group = choose_gguf(wanted, repository.files)
    if group is not None:
        projector = projector_of(repository.files)
        files = (*group.files, *((projector,) if projector else ()))
        form, quantization, first = _GGUF, group.quantization, group.files[0].path
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
        name, repository, form, quantization, files, first, folder, free_space(models_folder),
        bytes_here(incoming, files),
        installed=same and manifest is not None and manifest.revision == repository.revision,
    )  # fmt: skip


def _place(repo: str, group: GgufGroup, files: tuple[HubFile, ...]) -> tuple[str, str]:
    """The name of the folder for a GGUF checkpoint, and its reference: by its quantization where that says which."""
    if group.quantization is not None:
        meant = choose_gguf(HubReference(repo, group.quantization), files)
        if meant is not None and meant.stem == group.stem:
            return group.quantization, f"{repo}:{group.quantization}"
    return group.stem.replace("/", "--").lstrip("."), f"{repo}/{group.files[0].path}"


def check_room(announcement: Announcement, *others: Announcement) -> None:
    """Refuse a download for which the disk has no room, or several that it has no room for together.

    Raises:
        CheckpointError: it has none; with the numbers.
    """
    together = [one for one in (announcement, *others) if not one.installed]
    needed = sum(one.size - one.here for one in together)
    lacking = needed + _RESERVE - announcement.free
    if len(together) > 1 and lacking > 0:
        raise CheckpointError(
            text("the {count} checkpoints need {size} more in {folder}, where {free} are free ({reserve} stay free); "
                 "free {lacking} there, or fetch fewer", count=len(together), size=format_bytes(Bytes(needed)),
                 folder=str(announcement.folder.parents[2]), free=format_bytes(announcement.free),
                 reserve=format_bytes(_RESERVE), lacking=format_bytes(Bytes(lacking)))
        )  # fmt: skip
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
    pause: Callable[[float], None] = time.sleep, together: Together | None = None,
) -> Path:  # fmt: skip
    """Fetch what was announced and return what an engine is given. Blocks; called again, it goes on where it stopped.

    Several files come at once.

    Args:
        announcement: of `announce`.
        progress: told how far it is.
        offline: refuse instead of using the network.
        connect: opens connections.
        pause: waits between tries after a broken connection.
        together: the limits that this download shares with others, and how it is stopped; its own when left out.

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
                Fetching(
                    announcement.repository, announcement.files, incoming, web, progress, pause, together or Together()
                ).run()
            _put_in_place(announcement, incoming)
    except OSError as failure:
        if failure.errno in _FULL:
            raise _full(announcement, incoming) from failure
        raise CheckpointError(
            text("{reference} cannot be written to {folder} ({reason}); give permission or choose another data folder "
                 "with ANSAMBL_DATA", reference=announcement.reference, folder=str(folder.parent),
                 reason=failure.strerror or str(failure))
        ) from failure  # fmt: skip
    return announcement.path


def _incoming(models_folder: Path, folder: Path) -> Path:
    return models_folder / INCOMING / "--".join(folder.relative_to(models_folder).parts)


def free_space(folder: Path) -> Bytes:
    """The free bytes of the disk that `folder` is, or would be, on."""
    for one in (folder, *folder.parents):
        with contextlib.suppress(OSError):
            return Bytes(shutil.disk_usage(one).free)
    return Bytes(0)


def _full(announcement: Announcement, incoming: Path) -> CheckpointError:
    """The disk became full. What came before stays: it is of use once there is room, and a hidden part is no model."""
    here = bytes_here(incoming, announcement.files)
    needed = Bytes(max(announcement.size - here, 0) + _RESERVE)
    return CheckpointError(
        text("the disk of {folder} became full while {reference} was fetched; {here} of {size} are here and stay: make "
             "{needed} free there, then the same command goes on", folder=str(announcement.folder.parent),
             reference=announcement.reference, here=format_bytes(here), size=format_bytes(announcement.size),
             needed=format_bytes(needed))
    )  # fmt: skip


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
