"""What installing an engine would mean, told before it begins, and doing it: for commands and for a running Ansambl."""

from __future__ import annotations

from dataclasses import dataclass

from ansambl.app.data_folder import prepare_folder
from ansambl.app.engine_book import EngineBook
from ansambl.domain.hardware import Machine
from ansambl.domain.text import Text
from ansambl.engines.install import installer
from ansambl.engines.install.installer import Announcement
from ansambl.engines.install.notes import NOTES
from ansambl.engines.install.records import Build, Judged, Passed, Progress, Way
from ansambl.engines.installations import InstallManifest
from ansambl.foundation.paths import DataPaths


@dataclass(frozen=True, slots=True)
class InstallOffer:
    """What installing an engine would be.

    `passed` are better builds that this machine cannot use, told where it has a GPU: elsewhere all of them need one.
    `judged` are all builds for this kind of machine, with what keeps it from using them. `machine` is what it was
    chosen for.
    """

    announced: Announcement
    passed: tuple[Passed, ...]
    judged: tuple[Judged, ...]
    machine: Machine

    @property
    def build(self) -> Build:
        """What would be installed."""
        return self.announced.build

    @property
    def is_compiled(self) -> bool:
        """Whether it would be compiled here."""
        return self.build.way is Way.SOURCE

    @property
    def notes(self) -> tuple[Text, ...]:
        """What the user should read first."""
        return tuple(NOTES[name] for name in self.build.notes)


def make_offer(
    book: EngineBook, paths: DataPaths, engine: str, *, build: str | None = None, compiled: bool = False
) -> InstallOffer:
    """Say what installing `engine` would mean. Blocks; changes nothing and fetches nothing.

    Args:
        book: the engines of this machine.
        paths: where engines are installed.
        engine: its name, as people write it.
        build: what it is made for (``"cuda"``, ``"cpu"``…); the best one that this machine can use when left out.
        compiled: compile it here.

    Raises:
        UsageError: there is no such engine to install.
        NotSupportedError: none of its builds runs here; says why and what would change it.
    """
    chosen = book.choose(engine, wanted=build, compiled=compiled)
    passed = chosen.passed if book.machine.gpus else ()
    announced = installer.announce(chosen.build, paths.engines)
    return InstallOffer(announced, passed, book.judged(chosen.build.engine), book.machine)


def check_offer(offer: InstallOffer, *, offline: bool) -> None:
    """See that it may be fetched, and that the disk has room for it.

    Raises:
        UnavailableError: nothing may be fetched.
        InstallError: there is no room.
    """
    installer.check_allowed(offer.build, offline=offline)
    installer.check_room(offer.announced)


def carry_out(offer: InstallOffer, paths: DataPaths, progress: Progress, *, offline: bool) -> InstallManifest:
    """Install it. Blocks for minutes, with `way` source for longer; called again it goes on where it was broken off.

    Raises:
        AnsamblError: as `ansambl.engines.install.installer.install`.
    """
    prepare_folder(paths)
    return installer.install(offer.build, paths.engines, offer.machine, progress, offline=offline)
