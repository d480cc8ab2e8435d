"""Engines that hang, answer garbage or break off, as real processes; what becomes of them and of those who asked."""

import asyncio
import contextlib
import json
import os
import signal

import pytest
from fake_instances import fake_placement, kinds, stage

from ansambl.domain.engine import EngineOptions
from ansambl.domain.errors import AnsamblError, EngineError, UnavailableError
from ansambl.domain.plan import Placement
from ansambl.engines.registry import get_engine
from ansambl.model_catalog.embedded import find
from ansambl.runtime.carrying import Carrier, Lease
from ansambl.runtime.upstream import ConnectionLostError, Upstream

SILENCE = 1.0


@pytest.fixture
async def make(tmp_path, monkeypatch):
    monkeypatch.setattr("ansambl.runtime.engine.instance._LOOK_EVERY", 0.05)
    async with stage(tmp_path) as found:
        yield found


class Asker:
    """Asks one instance as the gateway does."""

    def __init__(self, instance):
        self.instance, self.upstream = instance, Upstream()
        self.carrier = Carrier(
            lambda _model: instance, self.upstream, lambda _lease: None, lambda _lease: instance.ensure_ready()
        )  # fmt: skip

    async def ask(self, words="hello", *, stream=True, tokens=None):
        """What the engine said; raises what the gateway would tell its client."""
        lease = Lease("m", await self.instance.ensure_ready(), 0.0)
        fields = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": words}]}
        body = json.dumps(fields | ({"max_tokens": tokens, "ignore_eos": True} if tokens else {})).encode()
        self.instance.begin_use()
        try:
            async with self.carrier.open(lease, "/chat/completions", body) as answer:
                said = await answer.body()
                if stream and b"[DONE]" not in said:
                    reason = "no end"
                    raise ConnectionLostError(reason, answered=True)
                return said
        finally:
            self.instance.end_use()


@pytest.fixture
async def asker():
    made = []

    def build(instance):
        made.append(Asker(instance))
        return made[-1]

    yield build
    for one in made:
        await one.upstream.close()


def reasons(make):
    return [one.message.render() for one in make.events.recent() if one.kind == "exited"]


@pytest.mark.parametrize("script", ["hang", "hang-after-head", "hang-pinging"])
async def test_an_engine_that_is_well_and_never_answers_is_started_again(make, asker, script):
    instance = make(fake_placement(script), silence=SILENCE)
    first = await instance.ensure_ready()
    asking = asyncio.create_task(asker(instance).ask())
    async with asyncio.timeout(30):
        while "exited" not in kinds(make.events):  # noqa: ASYNC110 - what is waited for is another process
            await asyncio.sleep(0.02)
        assert "did not go on with its work" in reasons(make)[0]
        assert await instance.ensure_ready() != first
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)


async def test_an_answer_that_stops_in_the_middle_ends_with_an_error(make, asker):
    instance = make(fake_placement("hang-mid-stream:3,tokens:9"), silence=SILENCE)
    async with asyncio.timeout(30):
        with pytest.raises(ConnectionLostError):
            await asker(instance).ask()
        # The process ends a moment before its owner says so.
        await instance.ensure_ready()
    assert "did not go on" in reasons(make)[0]


async def test_a_stopped_engine_is_found_while_a_request_waits_for_it(make, asker):
    instance = make(fake_placement(), silence=SILENCE)
    await instance.ensure_ready()
    os.kill(instance.status().pid, signal.SIGSTOP)
    async with asyncio.timeout(40):
        assert b"hello" in await asker(instance).ask()
    assert kinds(make.events).count("started") == 2


@pytest.mark.parametrize("stream", [True, False])
async def test_a_slow_answer_is_no_hang(make, asker, stream):
    # Three times the patience; without a stream nothing arrives meanwhile, only the engine's own counters grow.
    instance = make(fake_placement(tokens_per_second=2.5), silence=SILENCE)
    answer = await asker(instance).ask("one two three four five six seven", stream=stream)
    assert b"seven" in answer
    assert kinds(make.events) == ["started", "ready"]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("script", ["garbage:1", "not-http:1", "close-after-head:1"])
async def test_what_reached_nobody_is_asked_for_once_more(make, asker, script, stream):
    instance = make(fake_placement(script), silence=60.0)
    assert b"hello" in await asker(instance).ask(stream=stream)
    assert kinds(make.events) == ["started", "ready"]


@pytest.mark.parametrize("script", ["garbage", "not-http"])
async def test_an_engine_that_answers_garbage_is_started_again_and_at_last_refused(make, asker, script):
    instance = make(fake_placement(script), silence=60.0)
    engine = asker(instance)
    codes = []
    async with asyncio.timeout(60):
        for _ in range(12):
            try:
                await engine.ask()
            except UnavailableError as refusal:
                codes.append(f"refused, {refusal.retry_after >= 1}")
                break
            except EngineError as failure:
                codes.append(failure.code)
    assert codes[-1] == "refused, True"
    assert set(codes[:-1]) <= {"engine_garbage", "engine_failed"}
    assert "answered 3 times in a row with what is no answer" in reasons(make)[0]
    started = kinds(make.events).count("started")
    assert started == 5
    with pytest.raises(UnavailableError):
        await engine.ask()
    assert kinds(make.events).count("started") == started, "refused at once, without another start"


async def test_an_engine_that_dies_at_each_request_is_not_started_for_ever(make, asker):
    instance = make(fake_placement("crash-mid-stream:1"), silence=60.0)
    engine = asker(instance)
    async with asyncio.timeout(60):
        for _ in range(20):
            with contextlib.suppress(ConnectionLostError):
                try:
                    await engine.ask()
                except UnavailableError:
                    break
    assert kinds(make.events)[-1] == "failed"
    assert kinds(make.events).count("started") == 5
    with pytest.raises(AnsamblError):
        await engine.ask()


# With the real engine.


@pytest.fixture
def real_placement(embedded_model_folder):
    return Placement(
        model="m", engine="auto", checkpoint=find(embedded_model_folder), context=2048, parallel=1, threads=2,
        options=EngineOptions(arguments=("--no-warmup",)),
    )  # fmt: skip


@pytest.mark.engine
async def test_a_long_prefill_of_the_real_engine_is_no_hang(make, asker, real_placement):
    instance = make(real_placement, get_engine("auto"), silence=1.0)
    await instance.ensure_ready()
    words = " ".join(f"Line {number} of a long text." for number in range(180))
    assert b"choices" in await asker(instance).ask(words, stream=False, tokens=24)
    assert kinds(make.events) == ["started", "ready"]


@pytest.mark.engine
async def test_the_real_engine_that_is_stopped_in_the_middle_of_an_answer_is_replaced(make, asker, real_placement):
    instance = make(real_placement, get_engine("auto"), silence=1.0)
    await instance.ensure_ready()
    pid = instance.status().pid
    asking = asyncio.create_task(asker(instance).ask("Count to one hundred.", stream=True, tokens=400))
    async with asyncio.timeout(90):
        while instance.flight.arrived < 5 and not asking.done():  # noqa: ASYNC110 - bytes of another process
            await asyncio.sleep(0.01)
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(ConnectionLostError):
            await asking
        assert b"choices" in await asker(instance).ask("Hello.", stream=False, tokens=4)
    assert instance.status().pid != pid
