"""What an instance tells the one who divides the memory, with real processes of the fake engine."""

import asyncio

import psutil
import pytest
from fake_instances import SleepingCommand, fake_placement, kinds, stage
from recorded_listener import RecordedListener

from ansambl.domain.errors import LoadFailedError
from ansambl.domain.instance import InstanceState

MEMORY = 96


@pytest.fixture
async def make(tmp_path, monkeypatch):
    monkeypatch.setattr("ansambl.runtime.engine.instance._LOOK_EVERY", 0.05)
    async with stage(tmp_path) as found:
        yield found


async def until(condition, seconds=15.0):
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for is another process
            await asyncio.sleep(0.02)


async def test_start_sleep_wake_death_and_stop_are_told(make):
    instance, listener = make(fake_placement(memory=MEMORY), SleepingCommand()), RecordedListener()
    instance.listen(listener)
    await instance.ensure_ready()
    _, holds, seconds = listener.told[0]
    assert holds["ram"] > MEMORY * 2**20
    assert seconds > 0
    await instance.sleep(1)
    asleep = listener.told[-1]
    assert asleep[:2] == ("asleep", 1)
    assert holds["ram"] - asleep[2]["ram"] > 0.8 * MEMORY * 2**20
    await instance.ensure_ready()
    assert listener.kinds() == ["ready", "asleep", "ready"]
    psutil.Process(instance.status().pid).kill()
    await until(lambda: listener.kinds().count("ready") == 3)
    await instance.stop()
    assert listener.kinds() == ["ready", "asleep", "ready", "ready", "ended"]
    assert listener.told[-1] == ("ended", False)


async def test_a_load_without_memory_is_told_at_once_and_may_be_repeated_at_once(make):
    instance, listener = make(fake_placement("out-of-memory")), RecordedListener()
    instance.listen(listener)
    for tries in (1, 2):
        with pytest.raises(LoadFailedError) as caught:
            await instance.ensure_ready()
        assert caught.value.out_of_memory
        assert listener.told == [("ended", True)] * tries
        assert kinds(make.events).count("started") == tries, "it does not try again by itself"
    with pytest.raises(LoadFailedError) as caught:
        await instance.ensure_ready()
    assert caught.value.retry_after >= 4
    assert kinds(make.events).count("started") == 2
    assert instance.status().state is InstanceState.FAILED


async def test_a_load_that_crashes_is_given_up_after_three_starts(make):
    instance, listener = make(fake_placement("crash-at-start")), RecordedListener()
    instance.listen(listener)
    with pytest.raises(LoadFailedError) as caught:
        await instance.ensure_ready()
    assert not caught.value.out_of_memory
    assert listener.told == [("ended", False)]
    assert kinds(make.events).count("started") == 3
