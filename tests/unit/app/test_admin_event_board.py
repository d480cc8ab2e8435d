"""What happens as a stream of events: what is told, how a lost stream goes on, and what nobody pays for."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from residence_stage import Stage

from ansambl.app.admin.event_board import EventBoard, _differ
from ansambl.app.knowledge.jobs import Job, JobState
from ansambl.app.pulls.desk import PullJob
from ansambl.domain.text import text
from ansambl.foundation.locales import translator
from ansambl.gateway.observing.metrics import Metrics
from ansambl.knowledge.contract import Progress, Report
from ansambl.runtime.events import EventLog


def read(part):
    """The events of some bytes of a stream: id, kind, data."""
    found = []
    for block in part.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
        if fields:
            found.append((fields.get("id"), fields["event"], json.loads(fields["data"])))
    return found


class Reader:
    """One stream that is read as far as it goes."""

    def __init__(self, board, after=None, language="en"):
        self.stream = board.listen(after, translator(language))
        self.events = []

    async def until(self, kind, count=1):
        async with asyncio.timeout(5):
            while sum(one[1] == kind for one in self.events) < count:
                self.events += read(await anext(self.stream))
        return [one for one in self.events if one[1] == kind][-1]

    async def close(self):
        await self.stream.aclose()


@pytest.fixture
async def stage():
    found = Stage({"a": 60, "b": 60})
    coordinator = found.coordinator
    metrics = Metrics(coordinator.statuses, coordinator)
    found.product = SimpleNamespace(
        coordinator=coordinator, events=EventLog(), gateway=SimpleNamespace(
            metrics=metrics, answering=SimpleNamespace(running=0)
        ), footprints=SimpleNamespace(parts=lambda _: {}),
    )  # fmt: skip
    found.recent = metrics.recent
    found.board = EventBoard(found.product, lambda _: {"instances": []}, kept=30, moment=0.001, linger=0.05)
    yield found
    await coordinator.stop()


async def test_a_stream_begins_with_a_snapshot_and_tells_of_loads_and_swaps(stage):
    reader = Reader(stage.board)
    assert (await reader.until("snapshot"))[2] == {"missed": False, "instances": []}
    await stage.ask("a")
    await stage.ask("b")
    await reader.until("load", 2)
    kinds = [(kind, data) for _, kind, data in reader.events if kind in {"load", "rest"}]
    assert kinds == [
        ("load", {"model": "a"}),
        ("rest", {"model": "a", "level": None, "wanted": "b"}),
        ("load", {"model": "b"}),
    ]
    changed = (await reader.until("instance"))[2]
    assert {"model", "residency", "waiting", "reserved", "pinned", "running"} <= set(changed)
    assert (await reader.until("devices"))[2]["devices"][0]["device"] == "ram"
    await reader.close()


async def test_a_lost_stream_goes_on_behind_the_event_that_was_read_last(stage):
    first = Reader(stage.board)
    await first.until("snapshot")
    await stage.ask("a")
    seen = (await first.until("load"))[0]
    await first.close()
    await stage.ask("b")
    second = Reader(stage.board, after=seen)
    await second.until("load")
    kinds = [kind for _, kind, _ in second.events]
    assert "snapshot" not in kinds
    assert [data["model"] for _, kind, data in second.events if kind == "load"] == ["b"]
    numbers = [int(one[0].partition("-")[2]) for one in second.events]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert numbers[0] == int(seen.partition("-")[2]) + 1
    await second.close()


@pytest.mark.parametrize("after", ["", "x", "-", "1-1", "ffffffff-0", "9" * 100, "ø-1"])
async def test_an_id_that_means_nothing_begins_with_a_snapshot_that_says_so(stage, after):
    reader = Reader(stage.board, after=after)
    assert (await reader.until("snapshot"))[2]["missed"] is True
    await reader.close()


async def test_a_reader_that_is_overtaken_finds_a_snapshot_and_no_queue_grew_for_it(stage):
    slow, quick = Reader(stage.board), Reader(stage.board)
    await slow.until("snapshot")
    await quick.until("snapshot")
    for number in range(100):
        stage.product.events.add("a", "started", text("run {number}", number=number))
        await quick.until("event", number + 1)
    # A hundred happened, and thirty are kept.
    found = read(await anext(slow.stream))
    assert [(kind, data["missed"]) for _, kind, data in found] == [("snapshot", True)]
    stage.product.events.add("a", "started", text("run again"))
    assert (await slow.until("event"))[2]["message"] == "run again"
    await slow.close()
    await quick.close()


async def test_sentences_are_in_the_language_of_whoever_reads(stage):
    english, russian = Reader(stage.board), Reader(stage.board, language="ru")
    await english.until("snapshot")
    await russian.until("snapshot")
    told = text("its settings changed; the next request starts its engine with them")
    stage.product.events.add("a", "replaced", told)
    messages = [(await one.until("event"))[2]["message"] for one in (english, russian)]
    assert messages == [told.render(translator("en")), told.render(translator("ru"))]
    assert messages[0] != messages[1]
    await english.close()
    await russian.close()


async def test_events_may_be_told_from_any_thread(stage):
    reader = Reader(stage.board)
    await reader.until("snapshot")
    await asyncio.to_thread(stage.product.events.add, "a", "warning", text("from a thread"))
    assert (await reader.until("event"))[2]["message"] == "from a thread"
    await reader.close()


async def test_requests_are_told_when_they_begin_and_end_without_contents(stage):
    reader = Reader(stage.board)
    await reader.until("snapshot")
    record = stage.recent.begin("/v1/chat/completions", "local", "req_1")
    begun = (await reader.until("requests"))[2]
    assert [one["id"] for one in begun["begun"]] == ["req_1"]
    record.status, record.name, record.model, record.output_tokens = 200, "coder", "a", 5
    stage.recent.end(record)
    for _ in range(150):
        quick = stage.recent.begin("/v1/chat/completions", "local")
        quick.status = 200
        stage.recent.end(quick)
    ended = (await reader.until("requests", 2))[2]
    # As many as one event names; the others are counted.
    assert (len(ended["ended"]), len(ended["begun"]), ended["left_out"]) == (100, 0, 51)
    await reader.close()


async def test_nothing_is_watched_while_nobody_reads_and_soon_after_the_last_one_left(stage):
    assert stage.recent.watcher is None
    assert stage.product.events.watcher is None
    reader = Reader(stage.board)
    await reader.until("snapshot")
    lost = reader.events[-1][0]
    assert stage.recent.watcher is not None
    await reader.close()
    assert stage.board.readers == 0
    async with asyncio.timeout(5):
        while stage.recent.watcher is not None:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)
    assert stage.product.events.watcher is None
    # What happened since then is not known any more.
    back = Reader(stage.board, after=lost)
    assert (await back.until("snapshot"))[2]["missed"] is True
    await back.close()


async def test_a_silent_stream_shows_that_it_is_alive(stage):
    board = EventBoard(stage.product, lambda _: {}, keep_alive=0.01)
    stream = board.listen(None, str)
    await anext(stream)
    assert await asyncio.wait_for(anext(stream), 5) == b": keep-alive\n\n"
    await stream.aclose()


async def test_the_end_is_told(stage):
    reader = Reader(stage.board)
    await reader.until("snapshot")
    stage.board.close()
    assert (await reader.until("stopping"))[2] == {}
    assert stage.recent.watcher is None
    await reader.close()


async def test_long_work_on_knowledge_is_told_when_it_changes_and_now_and_then_in_between(stage):
    reader = Reader(stage.board)
    await reader.until("snapshot")
    job = Job("job-1", "add", "garden", "/notes", 1.0)
    await asyncio.to_thread(stage.board.job, job)
    running = replace(job, state=JobState.RUNNING, started=2.0)
    for done in range(200):
        stage.board.job(replace(running, progress=Progress("reading", done, 200, "documents")))
    over = replace(running, state=JobState.DONE, ended=3.0, report=Report(added=200))
    stage.board.job(over)
    await reader.until("job", 3)
    told = [data for _, kind, data in reader.events if kind == "job"]
    # Two hundred steps within a second are one event: hours of them would push all else out of the ring.
    assert [one["state"] for one in told] == ["waiting", "running", "done"]
    assert told[-1]["report"]["added"] == 200
    await reader.close()


async def test_the_last_step_before_a_long_silence_is_told_although_it_came_too_soon(stage):
    reader = Reader(stage.board)
    await reader.until("snapshot")
    running = replace(Job("job-1", "add", "garden", "/notes", 1.0), state=JobState.RUNNING, started=2.0)
    for done in (1, 2, 3):
        stage.board.job(replace(running, progress=Progress("reading", done, 200, "documents")))
    await reader.until("job", 2)
    told = [data["progress"]["done"] for _, kind, data in reader.events if kind == "job"]
    assert told == [1, 3]
    await reader.close()


async def test_requests_come_with_the_sums_so_that_nobody_counts_twice(stage):
    reader = Reader(stage.board)
    await reader.until("snapshot")
    for status in (200, 200, 503, 499):
        record = stage.recent.begin("/v1/chat/completions", "local")
        record.status = status
        stage.recent.end(record)
        stage.product.gateway.metrics.count_request("coder", "a", status=status, seconds=0.1)
    told = (await reader.until("requests"))[2]
    # A client that left was neither answered nor failed.
    assert (told["answered"], told["failed"]) == (2, 1)
    await reader.close()


@pytest.mark.parametrize(
    ("change", "is_told"), [({"foreign": 104}, False), ({"foreign": 106}, True), ({"reserved": 1}, True)]
)
def test_a_trifle_that_other_programs_take_is_not_told(change, is_told):
    device = {"device": "ram", "capacity": 1000, "reserved": 0, "foreign": 100}
    assert _differ([{**device, **change}], [device]) is is_told
    assert _differ([device, device], [device])


async def test_pulls_are_told_as_long_work_is(stage):
    reader = Reader(stage.board)
    await reader.until("snapshot")
    job = PullJob("job-2", "own/small:Q4_K_M", "hub", 1000, 0, 1.0)
    running = replace(job, state=JobState.RUNNING, started=2.0)
    await asyncio.to_thread(stage.board.pull, job)
    for done in range(100):
        stage.board.pull(replace(running, done=done, rate=100.0))
    stage.board.pull(replace(running, state=JobState.FAILED, ended=3.0, error=text("no room on {disk}", disk="sda")))
    await reader.until("pull", 3)
    told = [data for _, kind, data in reader.events if kind == "pull"]
    assert [(one["state"], one["done"], one["left"]) for one in told] == [
        ("waiting", 0, None), ("running", 0, 10.0), ("failed", 0, None),
    ]  # fmt: skip
    assert told[-1]["error"] == "no room on sda"
    await reader.close()
