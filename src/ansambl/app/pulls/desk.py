"""Models fetched by a running Ansambl: each a job that is watched, stopped, and goes on where an earlier one ended.

Who asks for what is being fetched already gets that job. What has come of a download that was stopped, or of a run that
ended, stays on the disk; the next pull of the same goes on from there.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from ansambl.app.data_folder import prepare_folder
from ansambl.app.jobs import OVER, Change, DeskOfJobs, JobBook, JobState, Stopped
from ansambl.app.pulls.offers import Offer, make_offer
from ansambl.domain.errors import CheckpointError, UnavailableError, UsageError
from ansambl.domain.names import folded
from ansambl.domain.text import Text, text
from ansambl.domain.units import Bytes, format_bytes
from ansambl.foundation.clock import Clock
from ansambl.foundation.paths import DataPaths
from ansambl.model_catalog import embedded
from ansambl.model_catalog.acceptance import accept
from ansambl.model_catalog.download import check_room, fetch
from ansambl.model_catalog.fetching import StoppedError, Together

AT_ONCE = 2
"""Checkpoints that are fetched at the same time; each brings several files at once."""
WAITING = 20
"""Pulls that are not over at the same time."""
_TOLD_EVERY = 0.25
"""Seconds between two looks at how far a download is: pieces come thousands of times a second."""
_AT_ONCE_LIMIT = 10.0
_RATE_OVER = 8.0
"""Seconds over which the speed is measured: connections break and come back, and a forecast shall not jump."""


@dataclass(frozen=True, slots=True)
class PullJob:
    """One pull as it stands at one moment. Times are seconds since the epoch, sizes bytes, `rate` bytes a second.

    `reference` is what a configuration writes for the model. `path` is what an engine is given, once it is there.
    """

    id: str
    reference: str
    source: str
    size: int
    done: int
    created: float
    kind: str = "pull"
    state: JobState = JobState.WAITING
    started: float | None = None
    ended: float | None = None
    rate: float | None = None
    path: str | None = None
    error: Text | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.state in OVER

    @property
    def left(self) -> float | None:
        """Seconds that the rest takes at this speed; None where that is not known."""
        if self.over or not self.rate:
            return None
        return (self.size - self.done) / self.rate


@dataclass(slots=True)
class _Going:
    """What belongs to a pull that is not over: its offer, how it is stopped, and who waits for its end."""

    offer: Offer
    together: Together
    finished: Future[PullJob]


class PullDesk(DeskOfJobs[PullJob]):
    """Fetches models.

    Args:
        paths: where models are kept.
        offline: refuse to fetch anything.
        clock: gives the times in the records.
    """

    def __init__(self, paths: DataPaths, *, offline: bool = False, clock: Clock | None = None) -> None:
        self._paths = paths
        self._offline = offline
        self._executor = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="pull")
        # What is here already does not wait behind gigabytes.
        self._at_once = ThreadPoolExecutor(1, thread_name_prefix="pull-here")
        super().__init__(
            JobBook("pull", crowded=_crowded, unknown=_unknown, clock=clock, waiting=WAITING),
            self._executor, self._at_once,
        )  # fmt: skip
        self._lock = threading.Lock()
        self._going: dict[str, _Going] = {}

    @property
    def offline(self) -> bool:
        """Whether nothing may be fetched."""
        return self._offline

    def announce(self, wanted: str, engine: str | None = None) -> Offer:
        """Say what a pull would be. Blocks; fetches nothing.

        Raises:
            AnsamblError: as `make_offer`.
        """
        return make_offer(wanted, self._paths, engine=engine, offline=self._offline)

    def pull(self, wanted: str, *, engine: str | None = None, accepted: Collection[str] = ()) -> PullJob:
        """Begin to fetch a model, or say which job does it already. Blocks until the hub has said what it is.

        What is here already is a job that is done.

        Args:
            wanted: a hub reference, a name of the catalog, or ``embedded``.
            engine: the engine that is to run it.
            accepted: the names of licences that the user accepts, where one wants to be accepted.

        Raises:
            UsageError: it is no such name, or its licence was not accepted.
            CheckpointError: the hub has no such checkpoint, or there is no room for it.
            UnavailableError: nothing may be requested, the hub cannot be reached, or too many pulls wait.
        """
        offer = self.announce(wanted, engine)
        if offer.installed:
            with self._lock:
                begun, finished = self._begin(offer, self._at_once)
            return finished.result(_AT_ONCE_LIMIT) if finished else begun
        self._check(offer, accepted)
        with self._lock:
            return self._begin(offer, self._executor)[0]

    def _check(self, offer: Offer, accepted: Collection[str]) -> None:
        if offer.source != "hub" and self._offline:
            raise UnavailableError(
                text("the embedded model is not on this machine, and --offline forbids to fetch it; leave --offline "
                     "out"), code="offline", retry_after=None,
            )  # fmt: skip
        self._check_room(offer)
        licence = offer.licence_to_accept
        if licence is None:
            return
        if folded(licence) not in {folded(one) for one in accepted}:
            raise UsageError(
                text("{repo} asks to accept its licence ({licence}); read it at {page}, then accept it by its name, "
                     "{name}", repo=offer.repo or "", licence=offer.licence_title or licence, page=offer.page or "",
                     name=licence),
                code="licence_not_accepted", param="accept_licence",
            )  # fmt: skip
        accept(self._paths.root, offer.repo or "", licence)

    def _check_room(self, offer: Offer) -> None:
        """What is on its way needs room, too, as far as it has not come yet."""
        with self._lock:
            going = [(self._book.job(name), one.offer.announcement) for name, one in self._going.items()]
        others = [
            replace(found, here=Bytes(job.done))
            for job, found in going
            if found is not None and job.reference != offer.reference
        ]
        if offer.announcement is not None:
            check_room(offer.announcement, *others)
        elif offer.lacking:
            raise CheckpointError(
                text("there is not enough room in {folder} for the embedded model; free {size} there or choose "
                     "another data folder with ANSAMBL_DATA", folder=str(self._paths.models),
                     size=format_bytes(embedded.needed_room()))
            )  # fmt: skip

    def _begin(self, offer: Offer, executor: ThreadPoolExecutor) -> tuple[PullJob, Future[PullJob] | None]:
        """A job, and its end where it was begun here."""
        going = _Going(offer, Together(), Future())
        names: list[str] = []

        def make(name: str, now: float) -> PullJob:
            names.append(name)
            self._going[name] = going
            here = offer.size if offer.installed else offer.here
            return PullJob(name, offer.reference, offer.source, offer.size, here, now)

        def work(change: Change, stopped: Stopped) -> dict[str, object]:
            return self._fetch(going, change, stopped)

        def over() -> None:
            with self._lock:
                self._going.pop(names[0], None)
            going.finished.set_result(self._book.job(names[0]))

        def same(one: PullJob) -> bool:
            return folded(one.reference) == folded(offer.reference)

        job = self._book.begin(executor, make, work, after=over, same=same)
        return job, going.finished if names else None

    def _fetch(self, going: _Going, change: Change, stopped: Stopped) -> dict[str, object]:
        offer = going.offer
        if offer.installed:
            return {"done": offer.size, "path": offer.path}
        prepare_folder(self._paths)
        pace = _Pace(change, offer.size)

        def told(done: int, _: int) -> None:
            if stopped():
                raise StoppedError
            pace.take(done)

        try:
            if offer.announcement is None:
                path = embedded.pull(self._paths.models, told).path
            else:
                path = str(fetch(offer.announcement, pace.take, offline=self._offline, together=going.together))
        except StoppedError:
            return {"done": pace.done, "rate": None}
        return {"done": offer.size, "path": path, "rate": None, "state": JobState.DONE}

    async def finished(self, wanted: str) -> PullJob:
        """Wait until a job is over, whatever came of it.

        Raises:
            NotFoundError: there is none of this id.
        """
        with self._lock:
            going = self._going.get(wanted)
        if going is None:
            return self._book.job(wanted)
        return await asyncio.shield(asyncio.wrap_future(going.finished))

    def stop(self, wanted: str) -> PullJob:
        """Ask a job to end; what has come stays, and the next pull of the same goes on from there.

        Raises:
            NotFoundError: there is none of this id.
        """
        job = super().stop(wanted)
        with self._lock:
            going = self._going.get(wanted)
        if going is not None:
            going.together.stop()
        return job

    def is_fetching(self, reference: str) -> bool:
        """Whether a pull of this reference is not over."""
        return any(not one.over and folded(one.reference) == folded(reference) for one in self.jobs())

    def begin_to_close(self) -> None:
        """Stop all, and begin nothing any more."""
        super().begin_to_close()
        with self._lock:
            going = list(self._going.values())
        for one in going:
            one.together.stop()


class _Pace:
    """How far a download is and how fast, told now and then."""

    def __init__(self, change: Change, size: int, now: Callable[[], float] = time.monotonic) -> None:
        self.done = 0
        self._change = change
        self._size = size
        self._now = now
        self._seen: deque[tuple[float, int]] = deque()
        self._lock = threading.Lock()

    def take(self, done: int, _: int = 0) -> None:
        """So many bytes are here."""
        now = self._now()
        with self._lock:
            self.done = done
            if self._seen and now - self._seen[-1][0] < _TOLD_EVERY:
                return
            self._seen.append((now, done))
            while now - self._seen[0][0] > _RATE_OVER:
                self._seen.popleft()
            then, before = self._seen[0]
            # What was found on the disk at the start came at no speed.
            rate = (done - before) / (now - then) if now - then >= 1.0 and done > before else None
        self._change(done=min(done, self._size), rate=rate)


def _crowded(count: int) -> Text:
    return text("{count} pulls wait already; begin another one when some are done.", count=count)


def _unknown(name: str) -> Text:
    return text("There is no pull '{name}' since the start.", name=name)
