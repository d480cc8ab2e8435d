"""Long work on knowledge in a running Ansambl: reading and embedding, one of each at a time, watched and stopped.

Reading and embedding have a thread each, because an embedding may take hours, and what is added meanwhile shall be
found by its words at once.
"""

from __future__ import annotations

import secrets
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from enum import StrEnum

from ansambl.domain.errors import AnsamblError, NotFoundError, UnavailableError
from ansambl.domain.text import Text, text
from ansambl.foundation.clock import Clock, RealClock
from ansambl.foundation.logging import get_logger
from ansambl.knowledge.contract import Knowledge, Progress, Refused, Report, Stopped, Watch

log = get_logger(__name__)

KEPT = 100
"""Jobs that have ended and are still known."""
WAITING = 50
"""Jobs that wait; the next one is sent away."""
PATIENCE = 10.0
"""Seconds that `close` gives jobs to come to a place where they can stop."""
_REFUSED_KEPT = 1000
_FRAMES = 5

Work = Callable[[Watch, Stopped], Report]


class JobState(StrEnum):
    """How a job stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of long work as it stands at one moment. Times are seconds since the epoch.

    `refused` is how many things were refused, of which the report names the first ones.
    """

    id: str
    kind: str
    collection: str
    place: str
    created: float
    state: JobState = JobState.WAITING
    started: float | None = None
    ended: float | None = None
    progress: Progress | None = None
    report: Report | None = None
    refused: int = 0
    error: Text | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.state in {JobState.DONE, JobState.STOPPED, JobState.FAILED}


@dataclass(slots=True)
class _Entry:
    job: Job
    stop: threading.Event = field(default_factory=threading.Event)
    future: Future[None] | None = None


class JobDesk:
    """Does long work in threads of its own. Calls return at once and come from any thread.

    `watcher` is told of every change of a job, in the thread in which it happens; it must not raise nor block.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.watcher: Callable[[Job], None] | None = None
        self._clock = clock if clock is not None else RealClock()
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="knowledge-reading")
        self._embedding = ThreadPoolExecutor(1, thread_name_prefix="knowledge-embedding")
        self._closed = False

    def start(
        self, kind: str, work: Work, *, collection: str = "", place: str = "", after: Callable[[], None] | None = None
    ) -> Job:
        """Do `work` when what was started before it is done; `after` is called when it is over, whatever came of it.

        Raises:
            UnavailableError: too much waits already, or Ansambl stops.
        """
        return self._start(self._reading, kind, work, collection, place, after)

    def embed(self, knowledge: Knowledge) -> Job:
        """Give vectors to what has none. Where that waits already, or goes on, it is that job."""
        with self._lock:
            for entry in self._entries.values():
                # What goes on may have counted its passages already, but it asks for more until there is none.
                if entry.job.kind == "embed" and not entry.job.over and not entry.stop.is_set():
                    return entry.job

        def work(watch: Watch, stopped: Stopped) -> Report:
            return knowledge.embed(watch=watch, stopped=stopped)

        return self._start(self._embedding, "embed", work, "", "", None)

    def _start(
        self, executor: ThreadPoolExecutor, kind: str, work: Work, collection: str, place: str,
        after: Callable[[], None] | None,
    ) -> Job:  # fmt: skip
        with self._lock:
            if self._closed:
                raise UnavailableError(text("Ansambl is stopping; ask again when it runs."), code="stopping")
            if sum(not one.job.over for one in self._entries.values()) >= WAITING:
                raise UnavailableError(
                    text("{count} jobs of knowledge wait already; ask again when some are done.", count=WAITING),
                    code="busy", retry_after=30,
                )  # fmt: skip
            self._drop_old()
            job = Job(f"job-{secrets.token_hex(4)}", kind, collection, place, self._clock.now())
            entry = self._entries[job.id] = _Entry(job)
            entry.future = executor.submit(self._run, entry, work, after)
        self._tell(job)
        return job

    def _drop_old(self) -> None:
        over = [name for name, one in self._entries.items() if one.job.over]
        for name in over[: max(0, len(over) - KEPT + 1)]:
            del self._entries[name]

    def _run(self, entry: _Entry, work: Work, after: Callable[[], None] | None) -> None:
        try:
            self._work(entry, work)
        finally:
            if after is not None:
                try:
                    after()
                except Exception as error:  # noqa: BLE001 - what comes after must not keep the next job from running
                    log.warning("knowledge_job_clearing_failed", job=entry.job.id, kind=type(error).__name__)

    def _work(self, entry: _Entry, work: Work) -> None:
        if entry.stop.is_set():
            self._change(entry, state=JobState.STOPPED, ended=self._clock.now(), report=Report())
            return
        self._change(entry, state=JobState.RUNNING, started=self._clock.now())
        try:
            report = work(lambda one: self._change(entry, progress=one), entry.stop.is_set)
        except AnsamblError as error:
            self._change(entry, state=JobState.FAILED, ended=self._clock.now(), error=error.message)
        except Exception as error:  # noqa: BLE001 - a job that fails must not end the thread of all jobs
            # Without the error's words, which may be words of documents: those have no place in a log.
            where = [f"{one.filename}:{one.lineno}" for one in traceback.extract_tb(error.__traceback__)[-_FRAMES:]]
            log.warning(
                "knowledge_job_crashed", job=entry.job.id, work=entry.job.kind, error=type(error).__name__, at=where
            )
            self._change(
                entry, state=JobState.FAILED, ended=self._clock.now(),
                error=text("unexpected {kind}; Ansambl's log says more: ansambl logs", kind=type(error).__name__),
            )  # fmt: skip
        else:
            state = JobState.STOPPED if entry.stop.is_set() else JobState.DONE
            kept: tuple[Refused, ...] = tuple(report.refused[:_REFUSED_KEPT])
            self._change(
                entry, state=state, ended=self._clock.now(), report=replace(report, refused=kept),
                refused=len(report.refused),
            )  # fmt: skip

    def _change(self, entry: _Entry, **fields: object) -> None:
        with self._lock:
            entry.job = job = replace(entry.job, **fields)  # type: ignore[arg-type]
        self._tell(job)

    def _tell(self, job: Job) -> None:
        watcher = self.watcher
        if watcher is not None:
            watcher(job)

    def jobs(self) -> list[Job]:
        """All that are known, the newest first."""
        with self._lock:
            return [one.job for one in reversed(self._entries.values())]

    def job(self, wanted: str) -> Job:
        """One of them.

        Raises:
            NotFoundError: there is none of this id.
        """
        return self._entry(wanted).job

    def _entry(self, wanted: str) -> _Entry:
        with self._lock:
            found = self._entries.get(wanted)
        if found is None:
            raise NotFoundError(text("There is no job '{name}' of knowledge since the start.", name=wanted[:80]))
        return found

    def stop(self, wanted: str) -> Job:
        """Ask a job to end; what it has done by then stays. One that is over stays as it is.

        Raises:
            NotFoundError: there is none of this id.
        """
        entry = self._entry(wanted)
        entry.stop.set()
        return entry.job

    def close(self) -> None:
        """Stop all that runs or waits, begin nothing any more, and wait a moment for it. Blocks."""
        with self._lock:
            self._closed = True
            entries = list(self._entries.values())
        for entry in entries:
            entry.stop.set()
        self._reading.shutdown(wait=False)
        self._embedding.shutdown(wait=False)
        wait([one.future for one in entries if one.future is not None], PATIENCE)
