"""Installing an engine, and removing it: announced first, gone on with where it was broken off, declared whole last."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ansambl.domain.errors import UnavailableError
from ansambl.domain.hardware import Machine
from ansambl.domain.text import text
from ansambl.domain.units import Bytes
from ansambl.engines.install.archives import ArchiveInstaller
from ansambl.engines.install.data import LOCKS
from ansambl.engines.install.failures import InstallError, disk_full, explain_os
from ansambl.engines.install.folders import (
    busy,
    bytes_below,
    free_bytes,
    is_being_installed,
    make_private,
    only_installer,
    remove_slowly,
    remove_tree,
)
from ansambl.engines.install.programs import find_pythons, processes_in
from ansambl.engines.install.records import Build, Progress, Way
from ansambl.engines.install.source import SourceInstaller
from ansambl.engines.install.wheels import WheelInstaller
from ansambl.engines.installations import (
    MANIFEST,
    InstallManifest,
    engine_folder,
    read_install_manifest,
    write_install_manifest,
)

_RESERVE = 256 << 20
"""What must stay free on the disk."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """What an installation would be.

    `here` are the bytes that an earlier try has left; `installed` is what stands there now, None for nothing.
    """

    build: Build
    folder: Path
    free: Bytes
    here: Bytes
    installed: InstallManifest | None

    @property
    def is_done(self) -> bool:
        """Whether this very build is installed already."""
        found = self.installed
        return found is not None and found.program == f"{self.build.folder}/{self.build.program}"

    @property
    def lacking(self) -> Bytes:
        """How many bytes the disk is short of; 0 when there is room."""
        return Bytes(max(0, self.build.needed - self.here + _RESERVE - self.free))


def announce(build: Build, engines_folder: Path) -> Announcement:
    """Say what installing `build` would mean. Changes nothing."""
    folder = engine_folder(engines_folder, build.engine)
    return Announcement(
        build, folder, free_bytes(engines_folder), bytes_below(folder / build.folder), read_install_manifest(folder)
    )


def check_room(announcement: Announcement) -> None:
    """See that the disk has room.

    Raises:
        InstallError: it has not.
    """
    if announcement.lacking:
        raise disk_full(announcement.build, announcement.folder)


def check_allowed(build: Build, *, offline: bool) -> None:
    """See that something may be fetched.

    Raises:
        UnavailableError: nothing may.
    """
    if offline:
        raise UnavailableError(
            text("{engine} is not installed, and --offline forbids to fetch it; leave --offline out",
                 engine=build.title)
        )  # fmt: skip


class _Installer(Protocol):
    def run(self, progress: Progress) -> str: ...


def install(
    build: Build, engines_folder: Path, machine: Machine, progress: Progress, *, offline: bool = False,
    pythons: Mapping[str, str] | None = None, locks: Path = LOCKS,
) -> InstallManifest:  # fmt: skip
    """Install `build`. Blocks; called again, it goes on where it stopped.

    What was installed before stays usable until the new build is whole, and is removed then.

    Args:
        build: what to install.
        engines_folder: where engines lie.
        machine: the hardware, for what is compiled.
        progress: told how far it is.
        offline: refuse instead of using the network.
        pythons: the Pythons that can make environments, by version; looked for when left out.
        locks: the folder of the requirements with hashes.

    Raises:
        AnsamblError: no room, no network, something that is not what was pinned, or an engine that does not run.
    """
    check_allowed(build, offline=offline)
    found = find_pythons() if pythons is None else pythons
    try:
        with only_installer(engines_folder, build.engine) as folder:
            make_private(folder / build.folder)
            check_room(announce(build, engines_folder))
            _installer(build, folder / build.folder, machine, found, locks).run(progress)
            return _declare(build, folder)
    except OSError as failure:
        raise explain_os(build, failure, engines_folder) from failure


def _installer(build: Build, folder: Path, machine: Machine, pythons: Mapping[str, str], locks: Path) -> _Installer:
    if build.way is Way.ARCHIVE:
        return ArchiveInstaller(build, folder)
    usable = [path for version, path in pythons.items() if not build.pythons or version in build.pythons]
    if not usable:
        raise InstallError(
            text("{engine} needs a Python that can make environments ({versions}); install one with its venv module "
                 "(Debian and Ubuntu: sudo apt install python3-venv)", engine=build.title,
                 versions=", ".join(build.pythons) or "3.11")
        )  # fmt: skip
    if build.way is Way.SOURCE:
        return SourceInstaller(build, folder, usable[0], machine, locks)
    return WheelInstaller(build, folder, usable[0], locks)


def _declare(build: Build, folder: Path) -> InstallManifest:
    """Write the manifest, the last step; then what is not in it is nobody's."""
    manifest = InstallManifest(
        engine=build.engine, version=build.version, build=build.build, program=f"{build.folder}/{build.program}",
        licence=build.licence, source=build.sources[0], time=time.time(), size=bytes_below(folder / build.folder),
    )  # fmt: skip
    write_install_manifest(folder, manifest)
    for one in folder.iterdir():
        # An instance that still runs on the earlier build needs its files; the next installation removes them.
        if one.is_dir() and one.name != build.folder and not processes_in(one):
            remove_tree(one)
    return manifest


@dataclass(frozen=True, slots=True)
class Standing:
    """What lies in an engine's folder, whole or only begun: `size` bytes."""

    folder: Path
    size: Bytes


def standing(engine: str, engines_folder: Path) -> Standing:
    """What would be removed of an engine.

    Raises:
        InstallError: nothing of it is there.
        UnavailableError: another process installs it at this moment, or something runs on it.
    """
    folder = check_removable(engine, engines_folder)
    return Standing(folder, bytes_below(folder))


def check_removable(engine: str, engines_folder: Path) -> Path:
    """See that an engine can be removed now; returns its folder.

    Raises:
        InstallError: nothing of it is there.
        UnavailableError: another process installs it at this moment, or something runs on it.
    """
    # Before what runs there is looked at: it may be what an installer started.
    if engine_folder(engines_folder, engine).is_dir() and is_being_installed(engines_folder, engine):
        raise busy(engine)
    return _unused(engine, engines_folder)


def _unused(engine: str, engines_folder: Path) -> Path:
    folder = engine_folder(engines_folder, engine)
    if not folder.is_dir():
        raise InstallError(
            text("Ansambl has not installed {engine}; what it installed: ansambl engines list", engine=engine)
        )
    running = processes_in(folder)
    if running:
        raise UnavailableError(
            text("{engine} is in use by process {pid}; stop what runs on it first (ansambl down)", engine=engine,
                 pid=", ".join(map(str, running)))
        )  # fmt: skip
    return folder


def _go_on() -> None:
    """Nobody ends it."""


def remove(engine: str, engines_folder: Path, look: Callable[[], None] = _go_on) -> Bytes:
    """Remove an engine, also one that was only begun; returns the bytes that were freed.

    The manifest goes first, so that what is half removed is never used. `look` is called now and then, and may raise to
    end it; what is left is removed by the next call.

    Raises:
        UnavailableError: another process installs it at this moment, or something runs on it.
        InstallError: there is none, or it cannot be removed.
    """
    check_removable(engine, engines_folder)
    try:
        with only_installer(engines_folder, engine) as folder:
            # Once more, now that nobody else changes it.
            size = bytes_below(_unused(engine, engines_folder))
            (folder / MANIFEST).unlink(missing_ok=True)
            remove_slowly(folder, look)
    except OSError as failure:
        raise InstallError(
            text("{path} could not be removed ({reason}); give yourself permission and run it again",
                 path=str(failure.filename or engines_folder), reason=failure.strerror or str(failure))
        ) from failure  # fmt: skip
    return size
