"""Engines installed and removed by a running Ansambl: each a job that is watched, and goes on where it was broken off.

One at a time: an installation is gigabytes from the network and the disk, and compiling takes all processors. Who asks
for what is being installed already gets that job. An engine is declared to be there last, so what was stopped, or ended
with Ansambl, is never used, and the next installation goes on from it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.engine_book import EngineBook, installable_name
from ansambl.app.installing.offers import InstallOffer, carry_out, check_offer, make_offer
from ansambl.app.jobs import OVER, Change, DeskOfJobs, JobBook, JobState, Stopped
from ansambl.domain.errors import UsageError
from ansambl.domain.text import Text, text
from ansambl.engines.install import installer
from ansambl.engines.install.folders import busy, is_being_installed
from ansambl.engines.install.records import Stage
from ansambl.engines.installations import read_install_manifest
from ansambl.engines.registry import get_engine
from ansambl.foundation.clock import Clock
from ansambl.foundation.paths import DataPaths

WAITING = 8
"""Installations that are not over at the same time: more than there are engines."""
_INSTALL, _REMOVE = "install", "remove"
_TOLD_EVERY = 0.25
"""Seconds between two records of how far a stage is: pieces come thousands of times a second."""


@dataclass(frozen=True, slots=True)
class InstallJob:
    """One installation or removal as it stands at one moment. Times are seconds since the epoch, sizes bytes.

    `kind` is ``"install"`` or ``"remove"``; of what was only begun `version` and `build` are empty. `stage` is what is
    being done, `done` of `total` of what `counts` says (``"packages"``, ``"bytes"``, ``"steps"``); `total` is 0 where
    nobody knows. `download` is what is fetched in all, as far as that is known. `path` is where the engine
    lies, or lay.
    """

    id: str
    engine: str
    title: str
    version: str
    build: str
    compiled: bool
    download: int | None
    created: float
    kind: str = _INSTALL
    state: JobState = JobState.WAITING
    started: float | None = None
    ended: float | None = None
    stage: Text | None = None
    done: int = 0
    total: int = 0
    counts: str = "steps"
    path: str | None = None
    error: Text | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.state in OVER


class InstallDesk(DeskOfJobs[InstallJob]):
    """Installs and removes engines. What came of one that was stopped stays, and the next one goes on from there.

    Args:
        paths: where engines lie.
        loaded: gives the settings in effect.
        offline: refuse to install anything.
        clock: gives the times in the records.
        book: makes the book of engines from the settings; for tests.
    """

    def __init__(
        self, paths: DataPaths, loaded: Callable[[], LoadedSettings], *, offline: bool = False,
        clock: Clock | None = None, book: Callable[[LoadedSettings, DataPaths], EngineBook] = EngineBook,
    ) -> None:  # fmt: skip
        self._paths = paths
        self._loaded = loaded
        self._offline = offline
        self._make_book = book
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="install")
        # It does not wait behind gigabytes, and frees the room for them.
        self._removing = ThreadPoolExecutor(1, thread_name_prefix="remove-engine")
        super().__init__(
            JobBook("install", crowded=_crowded, unknown=_unknown, clock=clock, waiting=WAITING),
            self._executor, self._removing,
        )  # fmt: skip

    def announce(self, engine: str, *, build: str | None = None, compiled: bool = False) -> InstallOffer:
        """Say what an installation would be. Blocks; changes nothing.

        Raises:
            AnsamblError: as `make_offer`.
        """
        book = self._make_book(self._loaded(), self._paths)
        return make_offer(book, self._paths, engine, build=build, compiled=compiled)

    def check(self, offer: InstallOffer) -> None:
        """See whether it could begin now.

        Raises:
            UsageError: another build of this engine is being installed here, or it is being removed.
            UnavailableError: nothing may be fetched, or another program installs this engine.
            InstallError: there is no room for it.
        """
        check_offer(offer, offline=self._offline)
        engine = offer.build.engine
        going = self._going(engine)
        if going is None and is_being_installed(self._paths.engines, engine):
            raise busy(engine)
        if going is not None and not _is_same(going, offer):
            raise UsageError(_in_its_way(going), code="in_use", param="engine")

    def install(self, engine: str, *, build: str | None = None, compiled: bool = False) -> InstallJob:
        """Begin to install an engine, or say which job does it already. Blocks for a moment.

        What is here already is a job that is done.

        Raises:
            AnsamblError: as `announce` and `check`; or too many wait.
        """
        offer = self.announce(engine, build=build, compiled=compiled)
        if not offer.announced.is_done:
            self.check(offer)

        def make(name: str, now: float) -> InstallJob:
            what = offer.build
            return InstallJob(
                name, what.engine, what.title, what.version, what.build, offer.is_compiled, what.download, now
            )

        def work(change: Change, stopped: Stopped) -> dict[str, object]:
            return self._install(offer, change, stopped)

        if offer.announced.is_done:
            # It does not wait behind gigabytes.
            with ThreadPoolExecutor(1, thread_name_prefix="install-here") as at_once:
                begun = self._book.begin(at_once, make, work)
            return self._book.job(begun.id)
        return self._book.begin(self._executor, make, work, same=lambda one: _is_same(one, offer))

    def _install(self, offer: InstallOffer, change: Change, stopped: Stopped) -> dict[str, object]:
        if offer.announced.is_done:
            return {"path": str(offer.announced.folder), "done": 1, "total": 1}
        pace = _Pace(change, stopped)
        try:
            carry_out(offer, self._paths, pace.take, offline=self._offline)
        except _StoppedError:
            return {}
        # Told to stop at the last moment, it is there all the same.
        return {"path": str(offer.announced.folder), "stage": None, "state": JobState.DONE}

    def remove(self, engine: str) -> InstallJob:
        """Begin to remove an engine that was installed, or only begun. Blocks for a moment.

        Raises:
            UsageError: Ansambl installs no such engine, or is installing it.
            InstallError: nothing of it is there.
            UnavailableError: another program installs it, or something runs on it.
        """
        name = installable_name(engine)
        going = self._going(name)
        if going is not None:
            if going.kind == _REMOVE:
                return going
            raise UsageError(
                text("{engine} is being installed; stop that first", engine=going.title), code="in_use", param="engine"
            )
        folder = installer.check_removable(name, self._paths.engines)
        found = read_install_manifest(folder)

        def make(job: str, now: float) -> InstallJob:
            version, build = (found.version, found.build) if found is not None else ("", "")
            title = get_engine(name).traits.title
            return InstallJob(job, name, title, version, build, False, None, now, kind=_REMOVE, path=str(folder))

        def work(_: Change, stopped: Stopped) -> dict[str, object]:
            def look() -> None:
                if stopped():
                    raise _StoppedError

            try:
                freed = installer.remove(name, self._paths.engines, look)
            except _StoppedError:
                return {}
            return {"done": freed, "total": freed, "counts": "bytes", "state": JobState.DONE}

        return self._book.begin(
            self._removing, make, work, same=lambda one: (one.kind, one.engine) == (_REMOVE, name)
        )  # fmt: skip

    def _going(self, engine: str) -> InstallJob | None:
        return next((one for one in self.jobs() if one.engine == engine and not one.over), None)


class _StoppedError(Exception):
    """Somebody asked the installation to end. It is none of ours, or installers would take it for a failure."""


class _Pace:
    """Tells a job's record how far it is, now and then, and ends the work where that was asked for."""

    def __init__(self, change: Change, stopped: Stopped, now: Callable[[], float] = time.monotonic) -> None:
        self._change = change
        self._stopped = stopped
        self._now = now
        self._told: tuple[Stage | None, float] = None, 0.0
        self._lock = threading.Lock()

    def take(self, stage: Stage) -> None:
        """The work is there.

        Raises:
            _StoppedError: it shall end.
        """
        if self._stopped():
            raise _StoppedError
        now = self._now()
        with self._lock:
            before, when = self._told
            if stage == before or (before is not None and stage.name == before.name and now - when < _TOLD_EVERY):
                return
            self._told = stage, now
        self._change(stage=stage.name, done=stage.done, total=stage.total, counts=stage.counts)


def _is_same(job: InstallJob, offer: InstallOffer) -> bool:
    what = offer.build
    same = job.kind, job.engine, job.version, job.build, job.compiled
    return same == (_INSTALL, what.engine, what.version, what.build, offer.is_compiled)


def _in_its_way(job: InstallJob) -> Text:
    if job.kind == _REMOVE:
        return text("{engine} is being removed; wait for that", engine=job.title)
    return text("{engine} ({build}) is being installed; stop that first", engine=job.title, build=job.build)


def _crowded(count: int) -> Text:
    return text("{count} installations wait already; begin another one when some are done.", count=count)


def _unknown(name: str) -> Text:
    return text("There is no installation '{name}' since the start.", name=name)
