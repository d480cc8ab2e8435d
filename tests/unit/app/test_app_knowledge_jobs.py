"""Long work on knowledge: one after the other, watched, stopped, and never a burden to what comes after it."""

from __future__ import annotations

import threading
import time

import pytest

from ansambl.app.knowledge.jobs import JobDesk, JobState
from ansambl.domain.errors import NotFoundError, UnavailableError, UsageError
from ansambl.domain.text import text
from ansambl.foundation.clock import VirtualClock
from ansambl.knowledge.contract import Progress, Refused, Report
from ansambl.testing.fake_knowledge import FakeKnowledge

LIMIT = 20.0


class Gate:
    """Work that begins, waits, and tells what it saw."""

    def __init__(self, report=None):
        self.begun, self.go = threading.Event(), threading.Event()
        self.saw_stop = None
        self.report = report if report is not None else Report()

    def __call__(self, watch, stopped):
        self.begun.set()
        watch(Progress("reading", 1, 2, "documents"))
        end = time.monotonic() + LIMIT
        while not self.go.is_set() and not stopped() and time.monotonic() < end:
            time.sleep(0.002)
        self.saw_stop = stopped()
        return self.report


@pytest.fixture
def desks():
    made = []

    def make(**limits):
        made.append(JobDesk(VirtualClock(100.0), **limits))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def desk(desks):
    return desks()


def ended(desk, job):
    end = time.monotonic() + LIMIT
    while not desk.job(job.id).over:
        assert time.monotonic() < end, desk.job(job.id)
        time.sleep(0.002)
    return desk.job(job.id)


def test_work_is_done_one_after_the_other_and_embedding_beside_it(desk):
    first, second, known = Gate(Report(added=3)), Gate(), FakeKnowledge()
    known.embed = lambda **_: Report(embedded=7)
    one = desk.start("add", first, collection="c", place="/p")
    two = desk.start("add", second)
    assert first.begun.wait(LIMIT)
    assert ended(desk, desk.embed(known)).report.embedded == 7
    assert desk.job(two.id).state is JobState.WAITING
    assert desk.job(one.id).progress.done == 1
    first.go.set()
    assert second.begun.wait(LIMIT)
    second.go.set()
    found = ended(desk, one)
    assert (found.state, found.report.added, found.collection, found.place, found.ended) == (
        JobState.DONE, 3, "c", "/p", 100.0,
    )  # fmt: skip
    ended(desk, two)
    assert [one.kind for one in desk.jobs()] == ["embed", "add", "add"]


def test_what_goes_on_already_is_not_begun_twice(desk):
    gate, known = Gate(), FakeKnowledge()
    known.embed = lambda *, watch, stopped: gate(watch, stopped)
    first = desk.embed(known)
    assert gate.begun.wait(LIMIT)
    assert desk.embed(known).id == first.id
    # One that was told to stop is no answer to a new wish.
    desk.stop(first.id)
    assert desk.embed(known).id != first.id


def test_a_job_that_waits_is_stopped_before_it_begins(desk):
    first, second, cleared = Gate(), Gate(), []
    desk.start("add", first)
    job = desk.start("add", second, after=lambda: cleared.append("second"))
    desk.stop(job.id)
    first.go.set()
    assert ended(desk, job).state is JobState.STOPPED
    assert not second.begun.is_set()
    end = time.monotonic() + LIMIT
    while not cleared and time.monotonic() < end:
        time.sleep(0.002)
    assert cleared == ["second"]


def test_failures_are_sentences_and_the_next_job_runs(desk, caplog):
    def refuses(*_):
        raise UsageError(text("there is no room on {disk}", disk="sda"))

    def breaks(*_):
        raise ValueError("words of a secret document")

    def clears_badly():
        raise OSError("gone")

    one = desk.start("add", refuses)
    two = desk.start("add", breaks, after=clears_badly)
    three = desk.start("add", lambda *_: Report(added=1))
    assert str(ended(desk, one).error) == "there is no room on sda"
    failed = ended(desk, two)
    assert (failed.state, "ValueError" in str(failed.error)) == (JobState.FAILED, True)
    assert "secret document" not in str(failed.error) + caplog.text
    assert ended(desk, three).state is JobState.DONE


def test_refused_things_are_bounded_and_counted(desk):
    many = tuple(Refused(f"/{number}", "no") for number in range(5000))
    found = ended(desk, desk.start("add", lambda *_: Report(refused=many)))
    assert (found.refused, len(found.report.refused)) == (5000, 1000)


def test_old_jobs_are_forgotten_and_too_many_sent_away(desks):
    desk = desks(kept=3, waiting=2)
    for _ in range(5):
        last = ended(desk, desk.start("add", lambda *_: Report()))
    assert len(desk.jobs()) == 3
    assert desk.jobs()[0].id == last.id
    gate = Gate()
    desk.start("add", gate)
    desk.start("add", Gate())
    with pytest.raises(UnavailableError, match="wait already"):
        desk.start("add", Gate())
    with pytest.raises(NotFoundError, match="job-none"):
        desk.job("job-none")


def test_closing_stops_what_runs_and_begins_nothing(desk):
    first, second, seen = Gate(), Gate(), []
    desk.watcher = lambda job: seen.append(job.state)
    desk.start("add", first)
    assert first.begun.wait(LIMIT)
    desk.start("add", second)
    desk.close()
    assert first.saw_stop
    assert not second.begun.is_set()
    assert [one.state for one in desk.jobs()] == [JobState.STOPPED, JobState.STOPPED]
    assert JobState.RUNNING in seen
    with pytest.raises(UnavailableError, match="stopping"):
        desk.start("add", Gate())
