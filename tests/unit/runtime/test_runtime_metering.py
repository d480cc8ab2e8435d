"""How fast an engine is, from its counters: only single streams count, and a request counts when it is done."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import pytest

from ansambl.domain.engine import EngineMetrics
from ansambl.domain.measurement import Speeds
from ansambl.domain.plan import Placement
from ansambl.domain.units import MIB, Bytes
from ansambl.foundation.clock import Clock
from ansambl.runtime.engine.metering import LOOK_EVERY, Meter, fetch, work_between

IDLE = EngineMetrics(
    requests_running=0, requests_waiting=0, prefilled_tokens=0.0, prefill_seconds=0.0, decoded_tokens=0.0,
    decode_seconds=0.0,
)  # fmt: skip
DONE = replace(IDLE, prefilled_tokens=1000.0, prefill_seconds=2.0, decoded_tokens=100.0, decode_seconds=5.0)


def test_speeds_are_tokens_by_the_seconds_that_they_took() -> None:
    found = work_between(IDLE, DONE, 10.0)
    assert found is not None
    assert (found.decode, found.prefill, found.samples) == (20.0, 500.0, 1)


def test_more_work_than_time_went_by_was_several_streams() -> None:
    assert work_between(IDLE, DONE, 6.0) is None


@pytest.mark.parametrize(
    ("change", "decode", "prefill"),
    [({"decoded_tokens": 8.0}, None, 500.0), ({"prefilled_tokens": 100.0}, 20.0, None)],
)
def test_a_few_tokens_tell_no_speed(change: dict[str, float], decode: float | None, prefill: float | None) -> None:
    found = work_between(IDLE, replace(DONE, **change), 10.0)
    assert found is not None
    assert (found.decode, found.prefill) == (decode, prefill)


def test_counters_that_are_missing_or_fell_back_tell_nothing() -> None:
    assert work_between(EngineMetrics(), DONE, 10.0) is None
    assert work_between(DONE, IDLE, 10.0) is None
    assert work_between(IDLE, EngineMetrics(), 10.0) is None


@dataclass
class Told:
    """An engine whose pages are given, a clock that is moved by hand, and what the meter tells."""

    pages: list[EngineMetrics | None]
    time: float = 0.0
    alive: bool = True

    def __post_init__(self) -> None:
        self.told: list[Speeds] = []
        self.asked = 0

    def monotonic(self) -> float:
        return self.time

    def read_metrics(self, page: str) -> EngineMetrics:
        found = self.pages[int(page)]
        assert found is not None
        return found


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(*pages: EngineMetrics | None) -> tuple[Told, Meter]:
        engine = Told(list(pages))

        async def answer(*_where: object, **_how: object) -> str | None:
            number = engine.asked
            engine.asked += 1
            return None if engine.pages[number] is None else str(number)

        monkeypatch.setattr("ansambl.runtime.engine.metering.fetch", answer)

        class Process:
            def alive(self) -> bool:
                return engine.alive

        class Run:
            process, port, secret, placement = Process(), 1, "s", Placement("m", "x", None, 1, 1)

        clock: Any = engine
        run: Any = Run()
        adapter: Any = engine
        typed: Clock = clock
        return engine, Meter(adapter, run, lambda _placement, speeds: engine.told.append(speeds), typed)

    return make


def looks(engine: Told, meter: Meter, count: int, resident: int = 100 * MIB) -> None:
    for _ in range(count):
        asyncio.run(meter.look(Bytes(resident)))
        engine.time += LOOK_EVERY


def test_it_asks_now_and_then_and_not_at_every_round(watched: Any) -> None:
    engine, meter = watched(IDLE, DONE)
    for _ in range(5):
        asyncio.run(meter.look(None))
        engine.time += LOOK_EVERY / 10
    assert engine.asked == 1
    asyncio.run(meter.look(None, last=True))
    assert engine.asked == 2


def test_what_was_done_between_two_looks_is_told(watched: Any) -> None:
    engine, meter = watched(IDLE, DONE)
    looks(engine, meter, 2)
    assert [(one.decode, one.prefill) for one in engine.told] == [(None, None), (20.0, 500.0)]


def test_a_long_request_counts_whole_when_it_is_done(watched: Any) -> None:
    """llama.cpp counts a request's work when it ends: 40 s of it appear in the last 10."""
    running = replace(IDLE, requests_running=1)
    ended = replace(IDLE, decoded_tokens=400.0, decode_seconds=38.0)
    engine, meter = watched(IDLE, running, running, running, ended)
    looks(engine, meter, 5)
    assert engine.told[-1].decode == pytest.approx(400 / 38)


def test_requests_beside_each_other_do_not_count(watched: Any) -> None:
    engine, meter = watched(IDLE, replace(IDLE, requests_running=2), DONE, replace(DONE, decoded_tokens=200.0,
                                                                                   decode_seconds=9.0))  # fmt: skip
    looks(engine, meter, 4)
    assert [one.decode for one in engine.told if one.samples] == [25.0]


def test_the_most_ram_is_told_when_it_grew(watched: Any) -> None:
    engine, meter = watched(IDLE, IDLE, IDLE)
    looks(engine, meter, 1)
    looks(engine, meter, 1)
    looks(engine, meter, 1, resident=150 * MIB)
    assert [one.peak for one in engine.told] == [100 * MIB, 150 * MIB]


def test_an_engine_without_counters_is_left_alone_after_a_while(watched: Any) -> None:
    engine, meter = watched(*[None] * 9)
    looks(engine, meter, 8)
    looks(engine, meter, 1, resident=150 * MIB)
    assert engine.asked == 3
    assert [one.peak for one in engine.told] == [100 * MIB, 150 * MIB], "what it holds is looked at all the same"


def test_a_dead_engine_is_not_asked(watched: Any) -> None:
    engine, meter = watched(IDLE)
    engine.alive = False
    looks(engine, meter, 1)
    assert engine.asked == 0


@pytest.mark.parametrize(
    ("answer", "page"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\na 1\nb 2\n", "a 1\nb 2\n"),
        (b"HTTP/1.1 404 Not Found\r\n\r\nno", None),
        (b"rubbish\r\n\r\n", None),
        (b"", None),
    ],
)
def test_pages_are_fetched(answer: bytes, page: str | None) -> None:
    async def ask() -> tuple[str | None, bytes]:
        heard = b""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal heard
            heard = await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            return await fetch(server.sockets[0].getsockname()[1], "/metrics", key="k"), heard

    found, heard = asyncio.run(ask())
    assert found == page
    assert b"GET /metrics " in heard
    assert b"Bearer k" in heard


def test_nobody_there_is_no_page() -> None:
    async def ask() -> str | None:
        server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        return await fetch(port, "/metrics")

    assert asyncio.run(ask()) is None
