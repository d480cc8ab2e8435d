"""Long work on knowledge in a running Ansambl: reading and embedding, one of each at a time, watched and stopped.

Reading and embedding have a thread each, because an embedding may take hours, and what is added meanwhile shall be
found by its words at once.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from ansambl.app.jobs import KEPT, OVER, WAITING, Change, DeskOfJobs, JobBook, JobState
from ansambl.domain.text import Text, text
from ansambl.foundation.clock import Clock
from ansambl.knowledge.contract import Knowledge, Progress, Refused, Report, Stopped, Watch

__all__ = ["Job", "JobDesk", "JobState", "Work"]

_REFUSED_KEPT = 1000

Work = Callable[[Watch, Stopped], Report]


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
        return self.state in OVER


class JobDesk(DeskOfJobs[Job]):
    """Does long work on knowledge in threads of its own. Calls return at once."""

    def __init__(self, clock: Clock | None = None, *, kept: int = KEPT, waiting: int = WAITING) -> None:
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="knowledge-reading")
        self._embedding = ThreadPoolExecutor(1, thread_name_prefix="knowledge-embedding")
        super().__init__(
            JobBook("knowledge", crowded=_crowded, unknown=_unknown, clock=clock, kept=kept, waiting=waiting,
                    unbegun={"report": Report()}),
            self._reading, self._embedding,
        )  # fmt: skip

    def start(
        self, kind: str, work: Work, *, collection: str = "", place: str = "", after: Callable[[], None] | None = None
    ) -> Job:
        """Do `work` when what was started before it is done; `after` is called when it is over, whatever came of it.

        Raises:
            UnavailableError: too much waits already, or Ansambl stops.
        """
        return self._book.begin(
            self._reading, lambda made, now: Job(made, kind, collection, place, now), _reported(work), after=after
        )

    def embed(self, knowledge: Knowledge) -> Job:
        """Give vectors to what has none. Where that waits already, or goes on, it is that job."""

        def work(watch: Watch, stopped: Stopped) -> Report:
            return knowledge.embed(watch=watch, stopped=stopped)

        return self._book.begin(
            self._embedding, lambda made, now: Job(made, "embed", "", "", now), _reported(work),
            # What goes on may have counted its passages already, but it asks for more until there is none.
            same=lambda one: one.kind == "embed",
        )  # fmt: skip


def _reported(work: Work) -> Callable[[Change, Stopped], dict[str, object]]:
    """The same with the fields of a record; a report holds the first things that were refused, and all are counted."""

    def done(change: Change, stopped: Stopped) -> dict[str, object]:
        report = work(lambda one: change(progress=one), stopped)
        kept: tuple[Refused, ...] = tuple(report.refused[:_REFUSED_KEPT])
        return {"report": replace(report, refused=kept), "refused": len(report.refused)}

    return done


def _crowded(count: int) -> Text:
    return text("{count} jobs of knowledge wait already; ask again when some are done.", count=count)


def _unknown(name: str) -> Text:
    return text("There is no job '{name}' of knowledge since the start.", name=name)
