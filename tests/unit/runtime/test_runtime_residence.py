"""Swaps through the coordinator: who runs is drained and saved first, who comes finds room, and nothing is lost."""

from __future__ import annotations

import asyncio

import pytest
from residence_stage import CAPACITY, Instance, Machine, Nothing, Stage

from ansambl.domain.errors import (
    CheckpointError,
    NotSupportedError,
    UnavailableError,
)
from ansambl.domain.scheduling import RequestClass
from ansambl.domain.text import text
from ansambl.runtime import other_programs
from ansambl.runtime.coordinator import Coordinator
from ansambl.runtime.scheduling.records import RAM, InstanceFacts, Residency, Rules


@pytest.fixture
async def two():
    stage = Stage({"a": 60, "b": 70})
    yield stage
    await stage.coordinator.stop()


async def test_one_makes_room_for_the_other(two):
    await two.ask("a")
    lease = await two.ask("b")
    assert two.machine.story == [("load", "a"), ("stop", "a"), ("load", "b")]
    assert two.machine.most <= CAPACITY
    assert lease.swaps == 1
    assert two.coordinator.counters.swaps == {"b": 1}
    assert two.residency("a") is Residency.OUT


async def test_nobody_is_stopped_while_it_answers(two):
    answering = asyncio.create_task(two.ask("a", 0.05))
    await asyncio.sleep(0.01)
    other = asyncio.create_task(two.ask("b"))
    await asyncio.sleep(0.01)
    assert two.machine.held == {"a": 60}
    await answering
    await other
    assert two.machine.held == {"b": 70}


async def test_what_fits_beside_stays(two):
    two.instances["b"].needs = 40
    await two.ask("a")
    await two.ask("b")
    await two.ask("a")
    assert two.machine.story == [("load", "a"), ("load", "b")]


async def test_callers_share_one_load(two):
    two.instances["a"].gate.clear()
    asking = [asyncio.create_task(two.ask("a")) for _ in range(4)]
    await asyncio.sleep(0.01)
    two.instances["a"].gate.set()
    await asyncio.gather(*asking)
    assert two.machine.story == [("load", "a")]


async def test_a_load_that_fails_leaves_no_reservation_and_the_next_request_tries_again(two):
    two.instances["a"].failure = UnavailableError(text("the disk is on fire"), retry_after=0)
    with pytest.raises(UnavailableError, match="on fire"):
        await two.ask("a")
    (device,) = two.coordinator.devices()
    assert device.reserved == 0
    two.instances["a"].failure = None
    await two.ask("a")
    assert two.residency("a") is Residency.IN


async def test_a_model_whose_file_is_missing_says_so_until_it_is_there(two):
    two.troubles["a"] = CheckpointError(text("no file"))
    with pytest.raises(CheckpointError, match="no file"):
        await two.ask("a")
    del two.troubles["a"]
    await two.ask("a")


async def test_what_can_never_fit_is_refused_with_figures():
    stage = Stage({"a": 60, "huge": 1000}, pinned=("a",))
    with pytest.raises(UnavailableError) as refused:
        await stage.ask("huge")
    assert (refused.value.code, refused.value.retry_after) == ("does_not_fit", None)
    await stage.coordinator.stop()


async def test_an_engine_that_is_given_up_frees_its_memory(two):
    await two.ask("a")
    two.instances["a"].crash()
    assert two.coordinator.devices()[0].reserved == 0
    assert two.residency("a") is Residency.OUT
    await two.ask("a")
    assert two.machine.story.count(("load", "a")) == 2


async def test_sleep_makes_room_where_it_is_enough():
    stage = Stage({"a": 60, "b": 70}, sleeps=("a",))
    await stage.ask("a")
    await stage.ask("b")
    assert stage.machine.story[1:] == [("sleep", "a"), ("load", "b")]
    assert stage.residency("a") is Residency.ASLEEP
    assert stage.machine.most <= CAPACITY
    await stage.ask("a")
    counters = stage.coordinator.counters
    assert [(one, spread.count) for one, spread in counters.wake_seconds.items()] == [("a", 1)]
    assert {one: spread.count for one, spread in counters.load_seconds.items()} == {"a": 1, "b": 1}
    await stage.coordinator.stop()


async def test_the_owner_lets_one_rest_and_wakes_it(two):
    await two.coordinator.wake("a")
    assert two.residency("a") is Residency.IN
    await two.coordinator.rest("a", None)
    assert two.machine.held == {}
    assert two.residency("a") is Residency.OUT
    # A second time there is nothing to do.
    await two.coordinator.rest("a", None)


async def test_what_cannot_sleep_says_so_and_stays(two):
    await two.ask("a")
    with pytest.raises(NotSupportedError):
        await two.coordinator.sleep("a", None)
    assert two.residency("a") is Residency.IN
    with pytest.raises(NotSupportedError):
        await two.coordinator.sleep("a", 1)
    assert two.residency("a") is Residency.IN
    await two.ask("a")


async def test_a_task_takes_whoever_is_there_and_swaps_nobody(two):
    await two.ask("a")
    lease = await two.ask("b", request_class=RequestClass.TASK)
    assert lease.model == "a"
    assert two.machine.story == [("load", "a")]


async def test_a_task_loads_nobody():
    stage = Stage({"a": 60}, rules=Rules(task_delay=0.01))
    with pytest.raises(UnavailableError) as refused:
        await stage.ask("a", request_class=RequestClass.TASK)
    assert refused.value.code == "no_model_for_task"
    assert stage.machine.story == []
    await stage.coordinator.stop()


async def test_another_instance_takes_the_place_of_one_that_answers(two):
    old, new = two.instances["a"], Instance("a", two.machine, 50)
    answering = asyncio.create_task(two.ask("a", 0.05))
    await asyncio.sleep(0.01)
    two.instances["a"] = new
    replacing = asyncio.create_task(two.coordinator.replace("a", new))
    await asyncio.sleep(0.01)
    waiting = asyncio.create_task(two.ask("a"))
    await asyncio.gather(answering, replacing, waiting)
    assert two.coordinator.instance("a") is new
    assert old.using == 0
    assert two.machine.held == {"a": 50}


async def test_one_that_is_taken_out_ends_its_answers_and_refuses_who_waits(two):
    answering = asyncio.create_task(two.ask("a", 0.05))
    await asyncio.sleep(0.01)
    waiting = asyncio.create_task(two.ask("a"))
    await asyncio.sleep(0.01)
    removing = asyncio.create_task(two.coordinator.replace("a", None))
    with pytest.raises(UnavailableError) as refused:
        await waiting
    assert refused.value.code == "gone"
    await asyncio.gather(answering, removing)
    assert two.machine.held == {}
    assert "a" not in two.coordinator.views()


async def test_other_programs_are_seen(monkeypatch):
    monkeypatch.setattr(other_programs, "_LOOK_EVERY", 0.001)
    held, looked = {RAM: 0}, asyncio.Event()

    async def foreign():
        looked.set()
        return dict(held)

    machine = Machine()

    async def facts(model):
        return InstanceFacts(model, {RAM: 60})

    coordinator = Coordinator(
        [Instance("a", machine, 60)], Nothing(), facts=facts, totals={RAM: CAPACITY}, foreign=foreign
    )
    assert await ask_once(coordinator) is None
    await coordinator.rest("a", None)
    held[RAM] = 50
    for _ in range(2):
        # The look that was under way may have seen less.
        looked.clear()
        await asyncio.wait_for(looked.wait(), 10)
    await asyncio.sleep(0)
    waiting = asyncio.create_task(ask_once(coordinator))
    await asyncio.sleep(0.02)
    # 50 of 100 are held by others, so 60 are not given away.
    assert machine.held == {}
    waiting.cancel()
    await coordinator.stop()


async def ask_once(coordinator):
    """Why it was refused; None when it was not."""
    try:
        async with coordinator.lease("a"):
            return None
    except UnavailableError as error:
        return error
