"""Swaps through the coordinator: who runs is drained and saved first, who comes finds room, and nothing is lost."""

from __future__ import annotations

import asyncio
import sqlite3
from types import SimpleNamespace

import pytest
from instance_defaults import InstanceDefaults

from ansambl.domain.errors import (
    CheckpointError,
    LoadFailedError,
    NotSupportedError,
    UnavailableError,
    UnknownNameError,
)
from ansambl.domain.instance import Endpoint, InstanceState, InstanceStatus
from ansambl.domain.scheduling import RequestClass, Standing
from ansambl.domain.text import text
from ansambl.runtime import coordinator as coordinating
from ansambl.runtime.conversations.separation import Separation
from ansambl.runtime.coordinator import Coordinator
from ansambl.runtime.scheduling.records import RAM, InstanceFacts, Residency, Rules, SleepFacts
from ansambl.runtime.upstream import ConnectionLostError

CAPACITY = 100


class Machine:
    """Counts the bytes of the engines that run, and notes what happens."""

    def __init__(self):
        self.held, self.most, self.story = {}, 0, []

    def take(self, model, size):
        self.held[model] = size
        self.most = max(self.most, sum(self.held.values()))

    def note(self, *what):
        self.story.append(what)


class Instance(InstanceDefaults):
    """An instance that takes memory while it runs."""

    def __init__(self, model, machine, needs, places=1, sleeps=False):
        self.model, self.machine, self.needs, self.places, self.sleeps = model, machine, needs, places, sleeps
        self.failure = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.using = 0

    async def ensure_ready(self):
        if self.machine.held.get(self.model) != self.needs:
            self.machine.note("load", self.model)
            await self.gate.wait()
            if self.failure is not None:
                raise self.failure
            self.machine.take(self.model, self.needs)
            self.listener.ready(self.model, {RAM: self.needs}, 0.1)
        return Endpoint(f"http://127.0.0.1:1/{self.model}/v1")

    def begin_use(self):
        self.using += 1

    def end_use(self):
        self.using -= 1

    async def sleep(self, level=None):
        if not self.sleeps:
            raise NotSupportedError(text("it cannot sleep"))
        assert not self.using
        self.machine.note("sleep", self.model)
        self.machine.take(self.model, 1)
        self.listener.asleep(self.model, level, {RAM: 1})

    async def stop(self):
        assert not self.using
        if self.model in self.machine.held:
            self.machine.note("stop", self.model)
            del self.machine.held[self.model]
            self.listener.ended(self.model, out_of_memory=False)

    def crash(self):
        del self.machine.held[self.model]
        self.listener.ended(self.model, out_of_memory=False)

    def conversations(self):
        return None

    def shares_prefixes(self):
        return None

    def suspect(self):
        pass

    def proven(self):
        pass

    def status(self):
        asleep = self.machine.held.get(self.model) == 1
        return InstanceStatus(
            self.model, "fake", InstanceState.ASLEEP if asleep else InstanceState.READY, parallel=self.places
        )

    def log_tail(self, lines=200):
        return []


class Nothing:
    async def close(self):
        pass


class Stage:
    def __init__(
        self, needs, rules=None, pinned=(), sleeps=(), warm=(), attached=(), ask_facts=None, conversations=None
    ):
        self.machine = Machine()
        self.instances = {one: Instance(one, self.machine, size, sleeps=one in sleeps) for one, size in needs.items()}
        self.pinned, self.troubles, self.warm, self.attached, self.facts_gate = pinned, {}, warm, attached, None
        for one in self.attached:
            self.instances[one].status = lambda: InstanceStatus("a", "fake", InstanceState.READY, attached=True)
        self.coordinator = Coordinator(
            self.instances.values(),
            Nothing(),
            facts=ask_facts or self.facts,
            totals={RAM: CAPACITY},
            rules=rules or Rules(),
            conversations=conversations,
        )

    async def facts(self, model):
        if self.facts_gate is not None:
            await self.facts_gate.wait()
        if model in self.troubles:
            raise self.troubles[model]
        one = self.instances[model]
        if model in self.attached:
            return InstanceFacts(model, places=1, ours=False)
        sleeps = (SleepFacts(1, {RAM: 1}, 0.001),) if one.sleeps else ()
        return InstanceFacts(
            model, {RAM: one.needs}, one.places, load_seconds=0.01, stop_seconds=0.01, pinned=model in self.pinned,
            sleeps=sleeps, warm=model in self.warm,
        )  # fmt: skip

    async def ask(self, model, seconds=0.0, **standing):
        async with self.coordinator.lease(model, standing=Standing(**standing)) as lease:
            await asyncio.sleep(seconds)
            return lease

    def residency(self, model):
        return self.coordinator.views()[model].residency


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
    monkeypatch.setattr(coordinating, "_LOOK_EVERY", 0.001)
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
