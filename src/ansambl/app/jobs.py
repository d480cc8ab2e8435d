"""Long work in a running Ansambl, as jobs: begun in threads, watched while they go on, stopped, remembered when over.

What a job is about its own record says; this is what all kinds have in common.
"""

from __future__ import annotations

import secrets
import threading
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar, cast

from ansambl.domain.errors import AnsamblError, NotFoundError, UnavailableError
from ansambl.domain.text import Text, text
from ansambl.foundation.clock import Clock, RealClock
from ansambl.foundation.logging import get_logger

log = get_logger(__name__)

KEPT = 100
"""Jobs that have ended and are still known."""
WAITING = 50
"""Jobs that are not over; the next one is sent away."""
PATIENCE = 10.0
"""Seconds that `close` gives jobs to come to a place where they can stop."""
_FRAMES = 5


class JobState(StrEnum):
    """How a job stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


OVER = frozenset({JobState.DONE, JobState.STOPPED, JobState.FAILED})
"""States after which nothing more comes."""


class AnyJob(Protocol):
    """What the record of every kind of job tells. It is a frozen dataclass that has the fields of `_FIELDS`, too."""

    @property
    def id(self) -> str:
        """Its name, made up at the start."""
        ...

    @property
    def kind(self) -> str:
        """What it does."""
        ...

    @property
    def state(self) -> JobState:
        """How it stands. Beside it there are `started`, `ended` (seconds since the epoch) and `error`."""
        ...


J = TypeVar("J", bound=AnyJob)

Change = Callable[..., None]
"""Sets fields of the job's record while it goes on."""
Stopped = Callable[[], bool]
Work = Callable[[Change, Stopped], Mapping[str, object]]
"""Does a job and returns the fields with which its record ends."""


@dataclass(slots=True)
class _Entry(Generic[J]):
    job: J
    stop: threading.Event = field(default_factory=threading.Event)
    future: Future[None] | None = None


class JobBook(Generic[J]):
    """The jobs of one kind of work. Calls return at once and come from any thread.

    `watcher` is told of every change of a job, in the thread in which it happens; it must not raise nor block.

    Args:
        name: what the log calls this work.
        crowded: says that so many jobs wait already.
        unknown: says that there is no job of such an id.
        clock: gives the times in the records.
        kept: jobs that have ended and are still known.
        waiting: jobs that are not over at the same time.
        unbegun: fields of a record whose work was stopped before it began.
    """

    def __init__(
        self, name: str, *, crowded: Callable[[int], Text], unknown: Callable[[str], Text], clock: Clock | None = None,
        kept: int = KEPT, waiting: int = WAITING, unbegun: Mapping[str, object] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        self.watcher: Callable[[J], None] | None = None
        self._name = name
        self._crowded, self._unknown = crowded, unknown
        self._clock = clock if clock is not None else RealClock()
        self._kept, self._waiting = kept, waiting
        self._unbegun = unbegun
        self._lock = threading.RLock()
        self._entries: dict[str, _Entry[J]] = {}
        self._closed = False

    def begin(
        self, executor: ThreadPoolExecutor, make: Callable[[str, float], J], work: Work, *,
        after: Callable[[], None] | None = None, same: Callable[[J], bool] | None = None,
    ) -> J:  # fmt: skip
        """Have `executor` do `work`. Where a job that is `same` waits or goes on already, it is that one.

        Args:
            executor: does it when its turn comes.
            make: the record, from its id and the time.
            work: what is done.
            after: called when it is over, whatever came of it.
            same: whether a job that is not over, and was not told to stop, does what is wanted.

        Raises:
            UnavailableError: too much waits already, or Ansambl stops.
        """
        with self._lock:
            if self._closed:
                raise UnavailableError(text("Ansambl is stopping; ask again when it runs."), code="stopping")
            going_on = [one for one in self._entries.values() if one.job.state not in OVER]
            if same is not None:
                for one in going_on:
                    if not one.stop.is_set() and same(one.job):
                        return one.job
            if len(going_on) >= self._waiting:
                raise UnavailableError(self._crowded(self._waiting), code="busy", retry_after=30)
            self._drop_old()
            job = make(f"job-{secrets.token_hex(4)}", self._clock.now())
            entry = self._entries[job.id] = _Entry(job)
            # Before it can begin, or it would be told that it goes on first.
            self._tell(job)
            entry.future = executor.submit(self._run, entry, work, after)
        return job

    def _drop_old(self) -> None:
        over = [name for name, one in self._entries.items() if one.job.state in OVER]
        for name in over[: max(0, len(over) - self._kept + 1)]:
            del self._entries[name]

    def _run(self, entry: _Entry[J], work: Work, after: Callable[[], None] | None) -> None:
        try:
            self._work(entry, work)
        finally:
            if after is not None:
                try:
                    after()
                except Exception as error:  # noqa: BLE001 - what comes after must not keep the next job from running
                    log.warning("job_clearing_failed", of=self._name, job=entry.job.id, kind=type(error).__name__)

    def _work(self, entry: _Entry[J], work: Work) -> None:
        if entry.stop.is_set():
            self._change(entry, state=JobState.STOPPED, ended=self._clock.now(), **self._unbegun)
            return
        self._change(entry, state=JobState.RUNNING, started=self._clock.now())
        try:
            ended = work(lambda **fields: self._change(entry, **fields), entry.stop.is_set)
        except AnsamblError as error:
            self._change(entry, state=JobState.FAILED, ended=self._clock.now(), error=error.message)
        except Exception as error:  # noqa: BLE001 - a job that fails must not end the thread of all jobs
            # Without the error's words, which may be words of documents: those have no place in a log.
            where = [f"{one.filename}:{one.lineno}" for one in traceback.extract_tb(error.__traceback__)[-_FRAMES:]]
            log.warning(
                "job_crashed",
                of=self._name,
                job=entry.job.id,
                work=entry.job.kind,
                error=type(error).__name__,
                at=where,
            )
            self._change(
                entry, state=JobState.FAILED, ended=self._clock.now(),
                error=text("unexpected {kind}; Ansambl's log says more: ansambl logs", kind=type(error).__name__),
            )  # fmt: skip
        else:
            state = JobState.STOPPED if entry.stop.is_set() else JobState.DONE
            self._change(entry, **{"state": state, "ended": self._clock.now(), **ended})

    def _change(self, entry: _Entry[J], **fields: object) -> None:
        with self._lock:
            entry.job = job = cast("J", replace(cast("Any", entry.job), **fields))
        self._tell(job)

    def _tell(self, job: J) -> None:
        watcher = self.watcher
        if watcher is not None:
            watcher(job)

    def jobs(self) -> list[J]:
        """All that are known, the newest first."""
        with self._lock:
            return [one.job for one in reversed(self._entries.values())]

    def job(self, wanted: str) -> J:
        """One of them.

        Raises:
            NotFoundError: there is none of this id.
        """
        return self._entry(wanted).job

    def _entry(self, wanted: str) -> _Entry[J]:
        with self._lock:
            found = self._entries.get(wanted)
        if found is None:
            raise NotFoundError(self._unknown(wanted[:80]))
        return found

    def stop(self, wanted: str) -> J:
        """Ask a job to end; what it has done by then stays. One that is over stays as it is.

        Raises:
            NotFoundError: there is none of this id.
        """
        entry = self._entry(wanted)
        entry.stop.set()
        return entry.job

    def stop_all(self) -> None:
        """Ask all to end, and begin nothing any more."""
        with self._lock:
            self._closed = True
            entries = list(self._entries.values())
        for entry in entries:
            entry.stop.set()

    def wait(self, patience: float = PATIENCE) -> None:
        """Wait until nothing goes on any more, at most so many seconds."""
        with self._lock:
            futures = [one.future for one in self._entries.values() if one.future is not None]
        wait(futures, patience)


class DeskOfJobs(Generic[J]):
    """What every desk at which long work is begun lets others do with it. Calls come from any thread.

    Args:
        book: the jobs.
        executors: the threads in which they are done; closed with the desk.
    """

    def __init__(self, book: JobBook[J], *executors: ThreadPoolExecutor) -> None:
        self._book = book
        self._executors = executors

    @property
    def watcher(self) -> Callable[[J], None] | None:
        """Who is told of every change of a job, in the thread in which it happens; it must not raise nor block."""
        return self._book.watcher

    @watcher.setter
    def watcher(self, told: Callable[[J], None] | None) -> None:
        self._book.watcher = told

    def jobs(self) -> list[J]:
        """All that are known, the newest first."""
        return self._book.jobs()

    def job(self, wanted: str) -> J:
        """One of them.

        Raises:
            NotFoundError: there is none of this id.
        """
        return self._book.job(wanted)

    def stop(self, wanted: str) -> J:
        """Ask a job to end; what it has done by then stays. One that is over stays as it is.

        Raises:
            NotFoundError: there is none of this id.
        """
        return self._book.stop(wanted)

    def begin_to_close(self) -> None:
        """Stop all, and begin nothing any more."""
        self._book.stop_all()
        for one in self._executors:
            one.shutdown(wait=False)

    def close(self) -> None:
        """Stop all, and wait a moment for it. Blocks."""
        self.begin_to_close()
        self._book.wait()
