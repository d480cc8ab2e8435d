"""Sleep, wake and idle engines, with real processes that hold real memory: the fake engine with vLLM's calls."""

import asyncio
from pathlib import Path

import psutil
import pytest
from fake_instances import SleepingCommand, fake_placement, kinds, say, stage

import ansambl.app
from ansambl.domain.errors import AnsamblError, NotSupportedError, UnavailableError
from ansambl.domain.instance import InstanceState
from ansambl.engines.registry import get_engine
from ansambl.foundation.sqlite import Database, Migration
from ansambl.runtime.coordinator import Coordinator
from ansambl.runtime.engine import resting
from ansambl.runtime.launcher import LocalLauncher
from ansambl.runtime.recovery import recover
from ansambl.runtime.store import RuntimeStore
from ansambl.runtime.upstream import Upstream

MIGRATION = Path(ansambl.app.__file__).parent / "migrations" / "0001_runtime.sql"
MEMORY = 96
"""MiB that the fake holds: several times what its Python takes."""


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr("ansambl.runtime.engine.instance._LOOK_EVERY", 0.05)
    monkeypatch.setattr("ansambl.runtime.engine.sleeping._LOOKS", 4)


@pytest.fixture
async def make(tmp_path):
    async with stage(tmp_path) as found:
        yield found


def resident(instance):
    return psutil.Process(instance.status().pid).memory_info().rss


@pytest.mark.parametrize("level", [1, 2])
async def test_an_engine_gives_its_memory_back_and_comes_back(make, quick, level):
    instance = make(fake_placement(memory=MEMORY), SleepingCommand())
    endpoint = await instance.ensure_ready()
    before = resident(instance)
    said = await say(endpoint, "hello")
    await instance.sleep(level)
    status = instance.status()
    assert status.state is InstanceState.ASLEEP
    assert before - resident(instance) > 0.8 * MEMORY * 2**20
    assert await say(await instance.ensure_ready(), "hello") == said
    assert instance.status().state is InstanceState.READY
    assert instance.status().pid == status.pid
    assert kinds(make.events) == ["started", "ready", "asleep", "awake"]


async def test_an_engine_that_only_says_that_it_sleeps_is_found_out_and_answers_again(make, quick):
    instance = make(fake_placement("sleep-keeps", memory=MEMORY), SleepingCommand())
    await instance.ensure_ready()
    with pytest.raises(AnsamblError, match=r"freed .* of .*MiB"):
        await instance.sleep()
    assert instance.status().state is InstanceState.READY
    assert "hello" in await say(await instance.ensure_ready(), "hello")
    assert kinds(make.events) == ["started", "ready", "not_asleep"]


@pytest.mark.parametrize(("script", "words"), [("wake-rubbish", "something else"), ("wake-fails", "out of memory")])
async def test_an_engine_that_does_not_come_back_as_it_was_is_started_again(make, quick, script, words):
    instance = make(fake_placement(script, memory=MEMORY), SleepingCommand())
    await instance.ensure_ready()
    pid = instance.status().pid
    await instance.sleep()
    assert "hello" in await say(await instance.ensure_ready(), "hello")
    assert instance.status().pid != pid
    assert [one.message.render() for one in make.events.recent() if one.kind == "exited" and words in str(one.message)]


async def test_an_engine_without_sleep_says_so_and_goes_on(make):
    instance = make(fake_placement())
    await instance.ensure_ready()
    with pytest.raises(NotSupportedError, match=r"models\.m\.ttl"):
        await instance.sleep()
    with pytest.raises(NotSupportedError, match="no sleep level 7"):
        await make_ready(make(fake_placement(memory=1), SleepingCommand(), model="other")).sleep(7)
    assert "hello" in await say(await instance.ensure_ready(), "hello")


def make_ready(instance):
    class Ready:
        async def sleep(self, level):
            await instance.ensure_ready()
            await instance.sleep(level)

    return Ready()


async def test_what_does_not_run_does_not_sleep(make):
    with pytest.raises(UnavailableError, match="does not run"):
        await make(fake_placement(memory=1), SleepingCommand()).sleep()


async def test_sleep_waits_for_those_who_are_answered_and_the_next_one_wakes_it(make, quick):
    instance = make(fake_placement(memory=MEMORY), SleepingCommand())
    coordinator = Coordinator([instance], Upstream())
    order = []
    try:
        async with coordinator.lease("m") as lease:
            sleeping = asyncio.create_task(instance.sleep())
            sleeping.add_done_callback(lambda _: order.append("asleep"))
            await until(lambda: not instance._door.is_open)
            next_one = asyncio.create_task(instance.ensure_ready())
            assert not sleeping.done()
            assert "first" in await say(lease.endpoint, "first")
            order.append("first answered")
        assert "second" in await say(await next_one, "second")
        await sleeping
    finally:
        await coordinator.stop()
    assert order == ["first answered", "asleep"]
    assert kinds(make.events)[:4] == ["started", "ready", "asleep", "awake"]


async def test_an_engine_in_use_for_too_long_does_not_sleep(make, quick, monkeypatch):
    monkeypatch.setattr(resting, "DRAIN_PATIENCE", 0.2)
    instance = make(fake_placement(memory=MEMORY), SleepingCommand())
    await instance.ensure_ready()
    instance.begin_use()
    with pytest.raises(UnavailableError, match="still being answered"):
        await instance.sleep()
    assert "hello" in await say(await instance.ensure_ready(), "hello")
    instance.end_use()
    await instance.sleep()
    assert instance.status().state is InstanceState.ASLEEP


async def test_a_sleeping_engine_that_dies_or_is_stopped_is_started_again(make, quick):
    instance = make(fake_placement(memory=MEMORY), SleepingCommand())
    await instance.ensure_ready()
    await instance.sleep()
    psutil.Process(instance.status().pid).kill()
    assert "hello" in await say(await instance.ensure_ready(), "hello")
    await instance.sleep()
    await instance.stop()
    assert instance.status().state is InstanceState.STOPPED
    assert "hello" in await say(await instance.ensure_ready(), "hello")


async def until(condition, seconds=15.0):
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for is another process
            await asyncio.sleep(0.02)


async def test_an_engine_that_slept_when_ansambl_ended_is_woken_when_it_is_taken_over(make, quick, tmp_path):
    placement = fake_placement(memory=MEMORY)
    database = Database(tmp_path / "test.db", (Migration(1, "runtime", MIGRATION.read_text()),))
    store = RuntimeStore(database)
    first = make(placement, SleepingCommand(), store=store)
    await first.ensure_ready()
    await first.sleep(2)
    pid, digest = first.status().pid, get_engine("command").launch_spec(placement, port=0, secret="").digest
    adopted = await recover(store, {"m": digest}, launcher=LocalLauncher(), events=make.events)
    second = make(placement, SleepingCommand(), adopted=adopted["m"])
    async with asyncio.timeout(15):
        assert "hello" in await say(await second.ensure_ready(), "hello")
    assert second.status().pid == pid
    assert kinds(make.events)[-2:] == ["adopted", "awake"]
    await second.stop()
    await first.stop()
    database.close()
