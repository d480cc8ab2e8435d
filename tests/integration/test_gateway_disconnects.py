"""A client that leaves frees the engine's slot, or its turn in the queue, at once: measured where the engine stands.

The issue's limit is 100 ms. A machine that does other things at the same time may take longer once, so of a few tries
the best one counts; the figures are printed.
"""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from gateway_stage import ANSWER, STREAM_HEAD, a_gateway, connection, event, post, raw, read_head, request, until

from ansambl.gateway import keep_alive

LIMIT = 0.1
TRIES = 5
PATHS = ["/v1/chat/completions", "/v1/messages", "/v1/responses"]
NAMES = ["big", "coder", "council", "careful", "debate", "auto"]


def asking(path, name, *, stream):
    fields = {"input": "hello"} if path == "/v1/responses" else {"messages": [{"role": "user", "content": "hello"}]}
    return post(json.dumps({"model": name, "max_tokens": 500, "stream": stream, **fields}).encode(), path)


async def best_of(attempt, what):
    """The best time of a few tries, in seconds; no more tries than are needed."""
    times = []
    while len(times) < TRIES and (not times or min(times) > LIMIT):
        times.append(await attempt())
    print(f"{what}: {min(times) * 1000:.1f} ms")  # noqa: T201 - the measured figure
    assert min(times) <= LIMIT, times


def half_an_answer(call):
    """The head of an engine's answer, and its first bytes."""
    streams = b'"stream":true' in call.body
    kind, part = (b"text/event-stream", event("a")) if streams else (b"application/json", ANSWER[:10])
    return STREAM_HEAD.replace(b"text/event-stream", kind) + b"%x\r\n%b\r\n" % (len(part), part)


@pytest.fixture
async def one_place():
    async with a_gateway(parallel=1) as found:
        yield found


@pytest.fixture
async def places():
    async with a_gateway(parallel=4) as found:
        yield found


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_the_engine_s_connection_is_closed(places, path, stream, moment):
    running = places
    begun = asyncio.Event()

    async def script(call, writer):
        if moment == "after":
            writer.write(half_an_answer(call))
            await writer.drain()
        begun.set()
        await call.left.wait()

    running.engine.script = script
    for name in NAMES:

        async def attempt(name=name):
            begun.clear()
            running.engine.calls.clear()
            async with connection(running) as (reader, writer):
                writer.write(asking(path, name, stream=stream))
                await asyncio.wait_for(begun.wait(), 10)
                if moment == "after" and stream:
                    await asyncio.wait_for(reader.readuntil(b"data: "), 10)
                left = time.perf_counter()
                writer.transport.abort()
                await until(lambda: running.gateway.answering.running == 0, "the request is over")
            calls = list(running.engine.calls)
            assert calls
            for one in calls:
                await asyncio.wait_for(one.left.wait(), 10)
            freed = running.coordinator.statuses()[0]
            assert (freed.running, freed.waiting, running.instance.uses) == (0, 0, 0)
            return max(one.left_at for one in calls) - left

        await best_of(attempt, f"{path} {name} stream={stream} {moment} the first byte")
    assert (running.gateway.metrics.answered, running.gateway.metrics.failed) == (0, 0)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("told", [False, True])
async def test_a_turn_in_the_queue_is_given_up(one_place, monkeypatch, path, stream, told):
    """`told`: after comments have begun the stream, which only a stream has."""
    running = one_place
    monkeypatch.setattr(keep_alive, "SILENCE", 0.02 if told else 30.0)
    free = asyncio.Event()

    async def script(call, writer):
        await free.wait()
        return await running.engine.answer_whole(call, writer)

    running.engine.script = script
    first = asyncio.ensure_future(raw(running, post(request())))
    await until(lambda: running.engine.calls, "the first request is with the engine")

    def waiting():
        return running.coordinator.statuses()[0].waiting

    for name in NAMES:

        async def attempt(name=name):
            async with connection(running) as (reader, writer):
                writer.write(asking(path, name, stream=stream))
                await until(lambda: waiting() == 1, "it waits")
                if told and stream:
                    await read_head(reader)
                    while not (await asyncio.wait_for(reader.readline(), 10)).startswith(b": "):
                        pass
                left = time.perf_counter()
                writer.transport.abort()
                await until(lambda: waiting() == 0, "it waits no longer")
                gone = time.perf_counter() - left
                await until(lambda: running.gateway.answering.running == 1, "only the first is there")
            return gone

        await best_of(attempt, f"{path} {name} stream={stream} queued")
    free.set()
    assert (await first)[0] == 200
    assert len(running.engine.calls) == 1, "nobody who left was asked for"
    assert running.coordinator.statuses()[0].running == 0


@pytest.mark.parametrize("path", PATHS)
async def test_who_leaves_while_a_model_is_loaded(places, path):
    running = places
    running.instance.loaded.clear()
    for name in NAMES:

        async def attempt(name=name):
            async with connection(running) as (_, writer):
                writer.write(asking(path, name, stream=False))
                await until(lambda: running.gateway.answering.running == 1, "it is there")
                left = time.perf_counter()
                writer.transport.abort()
                await until(lambda: running.gateway.answering.running == 0, "it is gone")
                return time.perf_counter() - left

        await best_of(attempt, f"{path} {name} loading")
    running.instance.loaded.set()
    assert (await raw(running, asking(path, "big", stream=False)))[0] == 200
    assert len(running.engine.calls) == 1
    freed = running.coordinator.statuses()[0]
    assert (freed.running, freed.waiting, running.instance.uses) == (0, 0, 0)
