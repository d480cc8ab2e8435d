"""Instances that end, fail, are replaced or cannot be written down while others wait: nobody waits for ever."""

from __future__ import annotations

import asyncio
import sqlite3
from types import SimpleNamespace

import pytest
from residence_stage import CAPACITY, Instance, Stage

from ansambl.domain.errors import (
    CheckpointError,
    LoadFailedError,
    NotSupportedError,
    UnavailableError,
    UnknownNameError,
)
from ansambl.domain.instance import Endpoint
from ansambl.domain.text import text
from ansambl.runtime.conversations.separation import Separation
from ansambl.runtime.scheduling.records import RAM, Residency, Rules
from ansambl.runtime.upstream import ConnectionLostError


@pytest.fixture
async def two():
    stage = Stage({"a": 60, "b": 70})
    yield stage
    await stage.coordinator.stop()


class States:
    """Instead of kept conversations: a disk that cannot be written."""

    async def save(self, *_args, **_options):
        raise OSError(28, "No space left on device")

    async def bring_back(self, *_args):
        return 0


async def settle(times=20):
    for _ in range(times):
        await asyncio.sleep(0)


async def test_models_that_are_kept_warm_do_not_come_back_when_everything_stops():
    stage = Stage({"a": 60, "b": 70}, warm=("a", "b"))
    await stage.ask("a")
    await stage.ask("b")
    await stage.coordinator.stop()
    await settle()
    assert stage.machine.held == {}
    assert stage.machine.story[-1][0] == "stop"


async def test_who_waits_when_everything_stops_is_told_and_nothing_is_loaded_for_it(two):
    answering = asyncio.create_task(two.ask("a", 10))
    waiting = asyncio.create_task(two.ask("b"))
    await settle()
    two.instances["a"].using = 0
    await two.coordinator.stop()
    with pytest.raises(UnavailableError) as refused:
        await waiting
    assert refused.value.code == "stopping"
    answering.cancel()
    await settle()
    with pytest.raises(UnavailableError):
        await two.ask("a")
    assert two.machine.held == {}
    assert ("load", "b") not in two.machine.story


async def test_the_owner_does_not_wait_for_one_that_ended_while_it_was_drained(two):
    answering = asyncio.create_task(two.ask("a", 10))
    await settle()
    resting = asyncio.create_task(two.coordinator.rest("a", None))
    removing = asyncio.create_task(two.coordinator.replace("a", None))
    await settle()
    assert not resting.done()
    one = two.instances["a"]
    one.crash()
    # Its request lost its engine, and does not know it yet.
    one.using = 0
    async with asyncio.timeout(5):
        await asyncio.gather(resting, removing)
    one.using = 1
    answering.cancel()
    await settle()
    with pytest.raises(UnknownNameError):
        await two.ask("a")


async def test_who_looks_first_and_goes_takes_nobody_along(two):
    gate, asked = asyncio.Event(), []
    facts = two.facts

    async def slow(model):
        asked.append(model)
        await gate.wait()
        return await facts(model)

    stage = Stage({"a": 60}, ask_facts=slow)
    first, second = asyncio.create_task(stage.ask("a")), asyncio.create_task(stage.ask("a"))
    await settle()
    first.cancel()
    await settle()
    gate.set()
    assert (await second).model == "a"
    assert asked == ["a"]
    await stage.coordinator.stop()


async def test_requests_go_on_while_the_facts_are_asked_for_again(two):
    await two.ask("a")
    gate = two.facts_gate = asyncio.Event()
    renewing = asyncio.create_task(two.coordinator.renew("a"))
    await settle()
    async with asyncio.timeout(5):
        await two.ask("a")
    two.troubles["a"] = CheckpointError(text("no file"))
    gate.set()
    # A reload must not end in the middle because of one model.
    await renewing
    with pytest.raises(CheckpointError):
        await two.ask("a")


async def test_one_whose_load_failed_can_be_taken_out_and_never_comes_back():
    stage = Stage({"a": 60}, warm=("a",))
    stage.instances["a"].failure = UnavailableError(text("the disk is on fire"), retry_after=1)
    with pytest.raises(UnavailableError):
        await stage.ask("a")
    await stage.coordinator.replace("a", None)
    loads = stage.machine.story.count(("load", "a"))
    stage.coordinator.use(Rules(), {RAM: CAPACITY}, {})
    await settle()
    assert stage.machine.story.count(("load", "a")) == loads
    assert stage.coordinator.views() == {}
    await stage.coordinator.stop()


async def test_conversations_that_cannot_be_written_keep_no_engine_alive(two):
    stage = Stage({"a": 60, "b": 70}, conversations=States())
    one = stage.instances["a"]
    one.endpoint = lambda: Endpoint("http://127.0.0.1:1/a/v1")
    one.conversations = lambda: SimpleNamespace(mixes_slots=False, can_copy=True)
    one.state_identity = lambda: "same"
    async with asyncio.timeout(5):
        await stage.ask("a")
        stage.coordinator._book("a").holds(0, b"prompt", one.endpoint())
        await stage.ask("b")
        assert stage.machine.held == {"b": 70}
        await stage.ask("a")
        stage.coordinator._book("a").holds(0, b"prompt", one.endpoint())
    await stage.coordinator.stop()
    assert stage.machine.held == {}


async def test_a_load_that_fails_in_an_unforeseen_way_is_told(two):
    two.instances["a"].failure = ZeroDivisionError("oh")
    async with asyncio.timeout(5):
        with pytest.raises(UnavailableError, match="ZeroDivisionError"):
            await two.ask("a")
    assert two.residency("a") is Residency.OUT
    assert two.coordinator.devices()[0].reserved == 0


async def test_one_that_cannot_fall_asleep_goes_on_and_one_that_died_meanwhile_is_gone():
    stage = Stage({"a": 60}, sleeps=("a",))
    one = stage.instances["a"]

    async def sleep(_level):
        if deaths:
            deaths.pop()
            one.crash()
        raise UnavailableError(text("not now"))

    one.sleep, deaths = sleep, []
    for residency, reserved in ((Residency.IN, 60), (Residency.OUT, 0)):
        await stage.ask("a")
        with pytest.raises(UnavailableError):
            await stage.coordinator.sleep("a", None)
        assert stage.residency("a") is residency
        assert stage.coordinator.devices()[0].reserved == reserved
        deaths.append("a")
    deaths.clear()
    await stage.ask("a")
    await stage.coordinator.stop()


async def test_of_two_that_replace_one_at_once_the_later_one_stays(two):
    answering = asyncio.create_task(two.ask("a", 0.05))
    await settle()
    first, second = Instance("a", two.machine, 50), Instance("a", two.machine, 40)
    two.instances["a"] = second
    replacing = [asyncio.create_task(two.coordinator.replace("a", one)) for one in (first, second)]
    await settle()
    waiting = [asyncio.create_task(two.ask("a", 0.01)) for _ in range(3)]
    async with asyncio.timeout(5):
        await asyncio.gather(answering, *replacing, *waiting)
    assert two.coordinator.instance("a") is second
    await two.ask("a")
    assert two.machine.held == {"a": 40}


async def test_what_somebody_else_runs_is_replaced_and_removed_as_its_answers_end():
    stage = Stage({"a": 60}, attached=("a",))
    with pytest.raises(NotSupportedError):
        await stage.coordinator.rest("a", None)
    answering = asyncio.create_task(stage.ask("a", 0.02))
    await settle()
    other = Instance("a", stage.machine, 60)
    async with asyncio.timeout(5):
        await stage.coordinator.replace("a", other)
        assert answering.done()
        stage.instances["a"] = other
        await stage.ask("a")
        # Then a model of ours takes its place, which needs memory and has to be loaded.
        stage.attached = ()
        ours = stage.instances["a"] = Instance("a", stage.machine, 50)
        await stage.coordinator.replace("a", ours)
        assert stage.residency("a") is Residency.OUT
        await stage.ask("a")
        assert stage.coordinator.devices()[0].reserved == 50
        stage.attached = ("a",)
        other = stage.instances["a"] = Instance("a", stage.machine, 60)
        await stage.coordinator.replace("a", other)
        await stage.ask("a")
        assert stage.coordinator.devices()[0].reserved == 0
        await stage.coordinator.replace("a", None)
    assert stage.coordinator.views() == {}
    await stage.coordinator.stop()


async def test_an_engine_that_was_given_up_is_not_started_by_requests_it_lost(two):
    async with two.coordinator.lease("a") as lease:
        two.instances["a"].crash()
        with pytest.raises(UnavailableError):
            await two.coordinator._ready_again(lease)
    assert two.machine.story.count(("load", "a")) == 1


async def test_an_engine_of_before_is_counted_and_watched_or_ended(two):
    two.machine.held["a"] = 60
    await two.coordinator.adopt(["a"])
    await settle()
    assert two.residency("a") is Residency.IN
    two.machine.held["b"] = 70
    two.troubles["b"] = CheckpointError(text("no file"))
    await two.coordinator.adopt(["b"])
    assert two.machine.held == {"a": 60}


class Dying:
    """Empties slots of the engine, which dies at the first time."""

    can_copy, mixes_slots = False, False

    def __init__(self, instance):
        self.instance, self.calls = instance, 0

    def erase(self, slot):
        return slot

    async def send(self, lease, _slot):
        self.calls += 1
        if self.calls == 1:
            raise ConnectionLostError("reset", answered=False)
        assert lease.endpoint == await self.instance.ensure_ready()


@pytest.mark.parametrize("given_up", [False, True])
async def test_an_engine_that_dies_before_the_request_is_sent_costs_it_nothing(two, given_up):
    one = two.instances["a"]
    dying = Dying(one)
    one.conversations = lambda: dying
    two.coordinator._separation = Separation(dying.send, lambda _model: False)
    await two.ask("a", key="mine")
    if given_up:
        send = dying.send

        async def crash(lease, call):
            one.crash()
            await send(lease, call)

        two.coordinator._separation._call = crash
        with pytest.raises(UnavailableError):
            await two.ask("a", key="yours")
    else:
        await two.ask("a", key="yours")
        assert dying.calls == 2


async def test_a_database_that_cannot_be_written_keeps_nobody_from_an_answer():
    class Full(States):
        async def bring_back(self, *_args):
            raise sqlite3.OperationalError("database or disk is full")

    stage = Stage({"a": 60}, conversations=Full())
    stage.instances["a"].conversations = lambda: Dying(stage.instances["a"])
    assert (await stage.ask("a")).restored == 0
    await stage.coordinator.stop()


async def test_a_load_without_enough_memory_is_tried_once_more_with_more_room_and_then_refused():
    stage = Stage({"a": 40, "b": 50})
    await stage.ask("a")
    b = stage.instances["b"]
    b.failure = LoadFailedError(text("out of memory"), out_of_memory=True, retry_after=7)
    with pytest.raises(LoadFailedError) as refused:
        await stage.ask("b")
    assert refused.value.retry_after == 7
    # The forecast said that both fit; the second try had the whole machine.
    assert stage.machine.story == [("load", "a"), ("load", "b"), ("stop", "a"), ("load", "b")]
    for _ in range(3):
        with pytest.raises(LoadFailedError):
            await stage.ask("b")
    assert stage.machine.story.count(("load", "b")) == 2
    assert stage.coordinator.devices()[0].reserved == 0
    await stage.coordinator.stop()


async def test_what_takes_the_place_of_another_is_not_loaded_into_the_memory_of_that(two):
    answering = asyncio.create_task(two.ask("a", 0.02))
    await settle()
    new = two.instances["a"] = Instance("a", two.machine, 90)
    two.troubles["a"] = CheckpointError(text("no file"))
    replacing = asyncio.create_task(two.coordinator.replace("a", new))
    await settle()
    waiting = asyncio.create_task(two.ask("a"))
    await asyncio.gather(answering, replacing)
    with pytest.raises(CheckpointError):
        await waiting
    assert two.machine.held == {}
    assert two.coordinator.devices()[0].reserved == 0


async def test_the_places_of_one_that_was_taken_out_are_not_given_back_to_its_successor(two):
    old = two.instances["a"]
    lost = asyncio.create_task(two.ask("a", 0.05))
    await settle()
    old.crash()
    old.using = 0
    await two.coordinator.replace("a", None)
    new = two.instances["a"] = Instance("a", two.machine, 60)
    await two.coordinator.replace("a", new)
    answering = asyncio.create_task(two.ask("a", 10))
    await settle()
    await lost
    assert two.coordinator.views()["a"].running == 1
    answering.cancel()
    await settle()
    assert two.coordinator.views()["a"].running == 0
