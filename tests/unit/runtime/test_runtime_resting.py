"""When an engine rests, by a clock that passes only when it is told to; what a sleep must free, and who tells it."""

import asyncio
from types import SimpleNamespace

import pytest

from ansambl.domain.catalog import ModelKind
from ansambl.domain.errors import UnavailableError
from ansambl.domain.instance import Endpoint, InstanceState
from ansambl.domain.text import text
from ansambl.domain.units import Bytes
from ansambl.foundation.clock import VirtualClock
from ansambl.runtime.engine.door import Door
from ansambl.runtime.engine.holding import Holding
from ansambl.runtime.engine.load_facts import LoadFacts
from ansambl.runtime.engine.resting import Rest
from ansambl.runtime.engine.sleeping import Asleep, Held, NotAsleepError, Sleeper, Where, question, wanted_bytes
from ansambl.runtime.engine.uses import Uses
from ansambl.runtime.engine.watch import EngineWatch

GIB = 2**30
ENDPOINT = Endpoint("http://127.0.0.1:1/v1")


class FakeSleeper:
    """Sleeps as it is told; `said` is what happened."""

    def __init__(self, trouble=None):
        self.trouble, self.said = trouble, []

    def level(self, run, level):
        return level or 1

    async def sleep(self, run, level, load, loras):
        self.said.append(f"sleep {level}")
        if self.trouble is not None:
            raise self.trouble
        return Asleep(level, Bytes(GIB), "x")

    async def call_awake(self, run, level):
        self.said.append("called awake")

    async def wake(self, run, asleep, loras):
        self.said.append("wake")


class Listener:
    """What an instance tells."""

    def __init__(self, told):
        self.told = told

    def ready(self, model, holds, seconds):
        self.told.append(("ready", model, holds, seconds))

    def grew(self, model, holds):
        self.told.append(("grew", model, holds))

    def asleep(self, model, level, holds):
        self.told.append(("asleep", model, level, holds))

    def ended(self, model, *, out_of_memory):
        self.told.append(("ended", model, out_of_memory))


class Stage:
    def __init__(self, sleeper=None):
        self.clock = VirtualClock()
        self.door, self.uses = Door(), Uses()
        self.sleeper = sleeper or FakeSleeper()
        self.states, self.events, self.told = [], [], []
        self.holding = Holding("m", None, self.clock)
        self.holding.listener = Listener(self.told)
        self.watch = EngineWatch(
            SimpleNamespace(), run(resident=Bytes(7), endpoint=ENDPOINT, secret="s"),
            asyncio.get_running_loop().create_future(), stopping=asyncio.Event(), clock=self.clock,
        )  # fmt: skip
        self.rest = Rest(
            "the engine", self.door, self.uses, self.sleeper, SimpleNamespace(calls=None, doubt=lambda: None),
            self.clock, self.holding, lambda state, _: self.states.append(state),
            lambda kind, _: self.events.append(kind),
        )  # fmt: skip
        self.door.shut()
        self.door.open(ENDPOINT)

    async def look(self):
        return await self.rest.take(self.watch, LoadFacts())


async def test_it_sleeps_when_it_is_asked_to_and_tells_what_it_holds():
    stage = Stage()
    asked = asyncio.create_task(stage.rest.ask(None))
    await stage.clock.advance(0)
    looking = asyncio.create_task(stage.look())
    await asked
    assert (stage.sleeper.said, stage.states) == (["sleep 1"], [InstanceState.ASLEEP])
    assert stage.told == [("asleep", "m", 1, {"ram": 7})]
    assert await stage.door.wait() == ENDPOINT
    assert await looking is None
    assert stage.sleeper.said == ["sleep 1", "wake"]
    assert stage.states[-1] is InstanceState.READY
    assert stage.events == ["asleep", "awake"]
    assert stage.told[1:] == [("ready", "m", {"ram": 7}, 0.0)]


async def test_nothing_rests_by_itself():
    stage = Stage()
    await stage.clock.advance(10**9)
    assert await stage.look() is None
    assert stage.sleeper.said == []


async def test_one_that_freed_too_little_goes_on_when_it_was_asked_to_sleep():
    stage = Stage(sleeper=FakeSleeper(NotAsleepError(text("it freed too little"))))
    asked = asyncio.create_task(stage.rest.ask(1))
    await stage.clock.advance(0)
    await stage.look()
    with pytest.raises(NotAsleepError):
        await asked
    assert stage.door.is_open
    assert not stage.watch.stopping.is_set()


async def test_those_who_wait_for_a_sleep_are_told_when_the_engine_ends():
    stage = Stage()
    asked = asyncio.create_task(stage.rest.ask(None))
    await stage.clock.advance(0)
    stage.rest.dismiss(text("it was stopped"))
    with pytest.raises(UnavailableError, match="it was stopped"):
        await asked


async def test_all_who_wish_for_sleep_have_it_when_it_sleeps():
    stage = Stage()
    asked = [asyncio.create_task(stage.rest.ask(level)) for level in (None, 1, None)]
    await stage.clock.advance(0)
    looking = asyncio.create_task(stage.look())
    await stage.clock.advance(0)
    assert await asyncio.gather(*asked) == [None] * 3
    assert await stage.door.wait() == ENDPOINT
    assert await looking is None
    assert stage.sleeper.said == ["sleep 1", "wake"]


@pytest.mark.parametrize("step", ["sleep", "wake", "called awake"])
async def test_a_stop_waits_for_no_call_to_the_engine(step):
    class Slow(FakeSleeper):
        async def hang(self, name):
            self.said.append(name)
            await asyncio.Event().wait()

        async def sleep(self, run, level, load, loras):
            if step == "sleep":
                await self.hang("sleep")
            if step == "called awake":
                raise NotAsleepError(text("it freed too little"))
            return await super().sleep(run, level, load, loras)

        async def wake(self, run, asleep, loras):
            await self.hang("wake")

        async def call_awake(self, run, level):
            await self.hang("called awake")

    stage = Stage(sleeper=Slow())
    asked = asyncio.create_task(stage.rest.ask(None))
    await stage.clock.advance(0)
    looking = asyncio.create_task(stage.look())
    await stage.clock.advance(0)
    waiting = asyncio.create_task(stage.door.wait())
    await stage.clock.advance(0)
    assert stage.sleeper.said[-1] == step
    stage.watch.stopping.set()
    assert await asyncio.wait_for(looking, 5) is None
    assert not stage.door.is_open
    waiting.cancel()
    asked.cancel()


@pytest.mark.parametrize(
    ("held", "told", "wanted"),
    [
        (80, {"weights": 40, "kv_cache": 30, "compute": 5}, 35),
        (80, {}, 40),
        (80, {"weights": 70, "kv_cache": 70}, 40),
        (80, {"compute": 5}, 40),
    ],
)
def test_a_sleep_must_free_half_of_weights_and_cache(held, told, wanted):
    sizes = {name: Bytes(size * GIB) for name, size in told.items()}
    assert wanted_bytes(Held(Bytes(held * GIB), Where.RAM), sizes) == wanted * GIB


def run(gpus=(), resident=None, **others):
    process = SimpleNamespace(memory=lambda: resident, identity=SimpleNamespace(pid=7))
    return SimpleNamespace(placement=SimpleNamespace(gpus=gpus, vendor="nvidia"), process=process, **others)


@pytest.mark.parametrize(
    ("gpus", "process", "devices", "resident", "held"),
    [
        ((0,), 50, 60, 9, Held(Bytes(50), Where.PROCESS_ON_GPUS)),
        ((0,), None, 60, 9, Held(Bytes(60), Where.GPUS)),
        # Level 1 moves weights into RAM: that tells nothing of what was given back.
        ((0,), None, None, 9, None),
        ((), None, 60, 9, Held(Bytes(9), Where.RAM)),
        ((), 0, 60, 9, Held(Bytes(9), Where.RAM)),
        ((), None, None, None, None),
    ],
)
async def test_memory_is_looked_for_where_the_engine_has_it(gpus, process, devices, resident, held):
    adapter = SimpleNamespace(traits=SimpleNamespace(title="x"))
    sleeper = Sleeper(adapter, lambda _: process, VirtualClock(), lambda *_: devices)
    assert await sleeper.held(run(gpus, resident)) == held


def test_every_kind_of_model_is_asked_what_it_answers():
    assert question(None)[0] == question(ModelKind.INSTRUCT)[0] == "/chat/completions"
    assert question(ModelKind.BASE)[0] == "/completions"
    assert question(ModelKind.EMBEDDING)[0] == "/embeddings"
    assert question(ModelKind.RERANKER) is None
