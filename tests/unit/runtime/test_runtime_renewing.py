"""When a running engine is started again for its LoRA adapters, by a clock that passes only when it is told to."""

import asyncio
import itertools
from types import SimpleNamespace

import pytest

from ansambl.domain.instance import Endpoint
from ansambl.foundation.clock import VirtualClock
from ansambl.runtime.engine.door import Door
from ansambl.runtime.engine.renewing import Renewal
from ansambl.runtime.engine.uses import Uses
from ansambl.runtime.engine.watch import EngineWatch
from ansambl.runtime.kept_states import KeptStates

ENDPOINT = Endpoint("http://127.0.0.1:1/v1")


class Stage:
    def __init__(self):
        self.clock = VirtualClock()
        self.door, self.uses = Door(), Uses()
        self.needed, self.told = True, []
        run = SimpleNamespace(endpoint=ENDPOINT, placement=SimpleNamespace(context=1024))
        self.watch = EngineWatch(
            SimpleNamespace(), run, asyncio.get_running_loop().create_future(), stopping=asyncio.Event(),
            clock=self.clock,
        )  # fmt: skip
        loras = SimpleNamespace(needs_restart=lambda: self.needed)
        self.renewal = Renewal(
            "it", self.door, self.uses, loras, KeptStates(None), self.clock, lambda kind, _: self.told.append(kind)
        )
        self.door.shut()
        self.door.open(ENDPOINT)

    def look(self):
        return asyncio.create_task(self.renewal.take(self.watch, None))


@pytest.fixture
async def stage():
    return Stage()


async def test_an_idle_engine_is_started_again_at_once_and_only_when_that_is_needed(stage):
    stage.needed = False
    assert not await stage.look()
    stage.needed = True
    assert await stage.look()
    assert not stage.door.is_open
    assert stage.told == ["renewed"]


async def test_it_waits_for_a_quiet_moment_and_then_has_new_requests_wait(stage):
    stage.uses.begin()
    assert not await stage.look()
    await stage.clock.advance(29)
    assert not await stage.look()
    assert stage.door.is_open
    await stage.clock.advance(1)
    looking = stage.look()
    await stage.clock.advance(5)
    assert not stage.door.is_open
    stage.uses.end()
    assert await looking


async def test_a_long_answer_holds_the_others_up_less_and_less_often(stage):
    stage.uses.begin()
    shut = []
    for second in range(600):
        looking = stage.look()
        await stage.clock.advance(0)
        while not looking.done():
            shut.append(stage.clock.monotonic())
            await stage.clock.advance(1)
        assert not await looking
        assert stage.door.is_open, second
        await stage.clock.advance(1)
    began = [one for one in shut if one - 1 not in shut]
    assert [int(after - before) for before, after in itertools.pairwise(began)] == [120, 180, 300]


@pytest.mark.parametrize("how", ["stop", "end"])
async def test_an_engine_that_ends_meanwhile_is_not_started_again_for_it(stage, how):
    stage.uses.begin()
    assert not await stage.look()
    await stage.clock.advance(30)
    looking = stage.look()
    await stage.clock.advance(1)
    if how == "stop":
        stage.watch.stopping.set()
    else:
        stage.watch.ended.set_result(1)
    assert not await asyncio.wait_for(looking, 5)
    assert stage.told == []
