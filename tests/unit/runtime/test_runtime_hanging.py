"""When an engine that owes answers counts as hung, by a clock that passes only when it is told to."""

from types import SimpleNamespace

import pytest

from ansambl.foundation.clock import VirtualClock
from ansambl.foundation.processes import Effort
from ansambl.runtime.engine import hanging
from ansambl.runtime.engine.hanging import SPINNING, HangWatch, Sample, at_work, counters_of
from ansambl.runtime.flight import Flight

SILENCE = 40.0
LLAMA, VLLM = "llamacpp:n_decode_total 1\n", "vllm:iteration_tokens_total_count 1\n"


class Stage:
    """An engine of which the test says what can be seen; it looks every 2 s as the instance does."""

    def __init__(self, monkeypatch, page=LLAMA):
        self.clock, self.flight = VirtualClock(), Flight()
        self.page = page
        self.cpu, self.read = 1.0, 0
        process = SimpleNamespace(effort=lambda: Effort(self.cpu, self.read))
        self.watch = HangWatch(
            "the engine", SimpleNamespace(port=1, secret="s", process=process), self.flight, SILENCE, self.clock
        )
        monkeypatch.setattr(hanging, "fetch", self.fetch)

    async def fetch(self, port, path, *, key, patience):
        return self.page

    async def passes(self, seconds, at_each=lambda: None):
        """Returns after how many seconds it was found to hang; None when it was not."""
        for step in range(int(seconds / 2)):
            await self.clock.advance(2.0)
            at_each()
            if await self.watch.look() is not None:
                return (step + 1) * 2.0
        return None


async def test_an_engine_that_owes_nothing_never_hangs(monkeypatch):
    assert await Stage(monkeypatch).passes(1000) is None


@pytest.mark.parametrize("page", [LLAMA, VLLM, None])
async def test_an_engine_that_stands_still_is_found_in_time(monkeypatch, page):
    stage = Stage(monkeypatch, page)
    stage.flight.awaited = 1
    assert SILENCE <= await stage.passes(1000) <= 1.5 * SILENCE


async def test_bytes_that_arrive_are_work(monkeypatch):
    stage = Stage(monkeypatch)
    stage.flight.awaited = 1
    turns = iter(range(10_000))

    def arrives():
        stage.flight.arrived += next(turns) % 15 == 0

    assert await stage.passes(1000, arrives) is None


async def test_counters_that_grow_are_work(monkeypatch):
    stage = Stage(monkeypatch)
    stage.flight.awaited = 1
    turns = iter(range(10_000))

    def counts():
        stage.page = f"llamacpp:n_decode_total {next(turns) // 5}\n"

    assert await stage.passes(1000, counts) is None


@pytest.mark.parametrize("page", [LLAMA, None])
async def test_an_engine_that_computes_or_reads_is_at_work_though_it_counts_nothing(monkeypatch, page):
    stage = Stage(monkeypatch, page)
    stage.flight.awaited = 1

    def computes():
        stage.cpu += 0.1

    def reads():
        stage.read += 30_000_000

    assert await stage.passes(5000, computes) is None
    assert await stage.passes(5000, reads) is None


async def test_an_engine_that_computes_and_would_count_its_steps_has_more_time(monkeypatch):
    stage = Stage(monkeypatch, VLLM)
    stage.flight.awaited = 1

    def computes():
        stage.cpu += 1.5

    found = await stage.passes(5000, computes)
    assert SPINNING * SILENCE <= found <= 1.5 * SPINNING * SILENCE


async def test_clients_that_come_and_go_do_not_hide_a_hang(monkeypatch):
    stage = Stage(monkeypatch)
    turns = iter(range(10_000))

    def comes_and_goes():
        # It waits for 20 s, half of the patience, and goes; the next one comes 4 s later.
        stage.flight.awaited = next(turns) % 12 < 10

    found = await stage.passes(1000, comes_and_goes)
    assert found is not None
    assert found <= 3 * SILENCE


async def test_an_engine_that_was_quiet_for_those_who_left_is_not_ended_at_once(monkeypatch):
    stage = Stage(monkeypatch)
    stage.flight.awaited = 1
    assert await stage.passes(SILENCE - 4) is None
    stage.flight.awaited = 0
    assert await stage.passes(1000) is None
    stage.flight.awaited = 1
    assert await stage.passes(8) is None
    stage.flight.arrived += 1
    assert await stage.passes(SILENCE - 2) is None


def test_questions_of_ours_are_no_work():
    page = (
        'http_requests_total{handler="/health"} 5\nprocess_cpu_seconds_total 7\npython_gc_objects_collected_total 3\n'
    )
    assert counters_of(page) is None
    assert counters_of(page + "vllm:iteration_tokens_total_count 4\nvllm:num_requests_running 1\n") == {
        "vllm:iteration_tokens_total_count": 4.0
    }


def test_little_processor_time_is_no_work_and_a_process_that_ended_is_some():
    before = Sample(0.0, None, Effort(5.0, 0))
    assert at_work(before, Sample(10.0, None, Effort(5.1, 0))) is False
    assert at_work(before, Sample(10.0, None, Effort(5.5, 0))) is True
    assert at_work(before, Sample(10.0, None, Effort(4.0, 0))) is True
    assert at_work(before, Sample(10.0, None, None)) is False
