"""Long work of any kind: one record for what is the same, and what was stopped is no answer to a new wish."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from ansambl.app.jobs import JobBook, JobState
from ansambl.domain.text import Text, text
from ansambl.foundation.clock import VirtualClock

LIMIT = 20.0


@dataclass(frozen=True, slots=True)
class Painting:
    id: str
    kind: str
    wall: str
    created: float
    state: JobState = JobState.WAITING
    started: float | None = None
    ended: float | None = None
    error: Text | None = None
    coats: int = 0


@pytest.fixture
def executor():
    with ThreadPoolExecutor(2) as found:
        yield found


@pytest.fixture
def book():
    found = JobBook[Painting](
        "painting", crowded=lambda count: text("{count} walls wait", count=count),
        unknown=lambda name: text("no wall '{name}'", name=name), clock=VirtualClock(7.0), unbegun={"coats": -1},
    )  # fmt: skip
    yield found
    found.stop_all()


def paint(book, executor, wall, work, **more):
    return book.begin(
        executor, lambda made, now: Painting(made, "paint", wall, now), work, same=lambda one: one.wall == wall, **more
    )


def test_the_same_work_is_one_job_until_it_is_told_to_stop(book, executor):
    go, begun = threading.Event(), threading.Semaphore(0)

    def work(change, stopped):
        change(coats=1)
        begun.release()
        assert go.wait(LIMIT)
        return {"coats": 2}

    first = paint(book, executor, "north", work)
    assert begun.acquire(timeout=LIMIT)
    assert paint(book, executor, "north", work).id == first.id
    assert paint(book, executor, "south", work).id != first.id
    assert book.job(first.id).coats == 1
    book.stop(first.id)
    again = paint(book, executor, "north", work)
    assert again.id != first.id
    book.stop(again.id)
    go.set()
    book.wait(LIMIT)
    assert book.job(first.id).state is JobState.STOPPED
    # It waited behind the two others, and was stopped before its turn came.
    assert (book.job(again.id).state, book.job(again.id).coats, book.job(again.id).started) == (
        JobState.STOPPED, -1, None,
    )  # fmt: skip


def test_every_change_is_told_in_order(book, executor):
    seen = []
    book.watcher = lambda job: seen.append((job.state, job.coats))
    paint(book, executor, "north", lambda change, _: change(coats=1) or {"coats": 3})
    book.wait(LIMIT)
    assert seen[0] == (JobState.WAITING, 0)
    assert seen[1:] == [(JobState.RUNNING, 0), (JobState.RUNNING, 1), (JobState.DONE, 3)]
