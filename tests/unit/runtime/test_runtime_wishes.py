"""What the owner wants of instances by hand: loads, unloads and pins, on a real coordinator and scheduler."""

from __future__ import annotations

import asyncio

import pytest
from residence_stage import Stage

from ansambl.domain.errors import AnsamblError, LoadFailedError, UnavailableError
from ansambl.domain.scheduling import RequestClass
from ansambl.domain.text import text
from ansambl.runtime.scheduling.records import Load, Residency, Rest
from ansambl.runtime.wishes import OwnerWishes, Wish


@pytest.fixture
async def stage():
    found = Stage({"a": 60, "b": 60, "c": 30})
    yield found
    await found.coordinator.stop()


async def until(condition):
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0)
    pytest.fail("it did not happen")


async def asked(stage, model, **standing):
    return await asyncio.wait_for(stage.ask(model, **standing), 5)


async def test_a_pinned_model_stays_however_much_others_are_asked_for_and_goes_again_once_it_is_unpinned(stage):
    wishes = stage.coordinator.wishes
    await wishes.fulfilled("a", Wish.PIN)
    assert stage.residency("a") is Residency.IN
    assert stage.coordinator.views()["a"].pinned
    await asked(stage, "c")
    for _ in range(3):
        with pytest.raises(UnavailableError) as refused:
            await asked(stage, "b")
        assert refused.value.code == "does_not_fit"
    assert ("stop", "a") not in stage.machine.story
    stage.coordinator.pin("a", pinned=None)
    await asked(stage, "b")
    assert ("stop", "a") in stage.machine.story
    assert not stage.coordinator.views()["a"].pinned


async def test_what_the_configuration_pins_can_be_unpinned_until_the_next_start():
    stage = Stage({"a": 60, "b": 60}, pinned=("a",))
    try:
        await stage.coordinator.wake("a")
        with pytest.raises(UnavailableError):
            await asked(stage, "b")
        stage.coordinator.pin("a", pinned=False)
        await asked(stage, "b")
        assert stage.coordinator.pins() == {"a": False}
        stage.coordinator.pin("a", pinned=None)
        assert stage.coordinator.views()["a"].pinned
    finally:
        await stage.coordinator.stop()


async def test_a_pin_survives_that_the_facts_are_told_again(stage):
    await stage.coordinator.wishes.fulfilled("a", Wish.PIN)
    await stage.coordinator.renew("a")
    assert stage.coordinator.views()["a"].pinned


async def test_a_pinned_model_whose_engine_ends_comes_back_by_itself(stage):
    await stage.coordinator.wishes.fulfilled("a", Wish.PIN)
    stage.instances["a"].crash()
    await until(lambda: stage.machine.held.get("a") == 60)


async def test_a_pin_is_taken_back_where_the_model_cannot_be_loaded(stage):
    stage.instances["a"].failure = LoadFailedError(text("no"), out_of_memory=False)
    with pytest.raises(AnsamblError):
        await stage.coordinator.wishes.fulfilled("a", Wish.PIN)
    assert stage.coordinator.pins() == {}
    assert not stage.coordinator.views()["a"].pinned


async def test_unloading_waits_for_answers_and_lifts_the_pin_of_this_run(stage):
    await stage.coordinator.wishes.fulfilled("a", Wish.PIN)
    async with stage.coordinator.lease("a"):
        unloading = asyncio.create_task(stage.coordinator.wishes.fulfilled("a", Wish.UNLOAD))
        await until(lambda: stage.residency("a") is Residency.DRAINING)
        assert "a" in stage.machine.held
    await asyncio.wait_for(unloading, 5)
    assert "a" not in stage.machine.held
    assert stage.coordinator.pins() == {}


async def test_who_asks_for_the_same_again_waits_for_the_same_load(stage):
    gate = stage.instances["a"].gate
    gate.clear()
    waiting = [asyncio.create_task(stage.coordinator.wishes.fulfilled("a", Wish.LOAD)) for _ in range(3)]
    await until(lambda: ("load", "a") in stage.machine.story)
    waiting[0].cancel()
    gate.set()
    done = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(done[0], asyncio.CancelledError)
    assert done[1:] == [None, None]
    assert stage.machine.story == [("load", "a")]


async def test_a_load_that_an_unload_overtakes_says_so(stage):
    stage.instances["a"].gate.clear()
    loading = asyncio.create_task(stage.coordinator.wishes.fulfilled("a", Wish.LOAD))
    await until(lambda: ("load", "a") in stage.machine.story)
    unloading = stage.coordinator.wishes.begin("a", Wish.UNLOAD)
    with pytest.raises(AnsamblError) as overtaken:
        await loading
    assert (overtaken.value.status, overtaken.value.code) == (409, "overtaken")
    stage.instances["a"].gate.set()
    await asyncio.wait_for(unloading, 5)
    assert "a" not in stage.machine.held


async def test_a_failure_that_nobody_waits_for_becomes_an_event():
    told = []

    async def fails(model):
        raise UnavailableError(text("too small"))

    wishes = OwnerWishes(
        wake=fails, rest=fails, pin=lambda *_: None, tell=lambda *words: told.append(words)
    )  # fmt: skip
    task = wishes.begin("a", Wish.LOAD)
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert [(model, kind, str(words)) for model, kind, words in told] == [("a", "wish_failed", "too small")]
    await wishes.stop()


async def test_an_observer_sees_loads_and_rests_with_their_reason(stage):
    seen = []

    class Observer:
        changes = 0

        def changed(self):
            self.changes += 1

        def performing(self, effect):
            seen.append(effect)

    observer = Observer()
    stage.coordinator.observe(observer)
    await asked(stage, "a")
    await asked(stage, "b", request_class=RequestClass.INTERACTIVE)
    assert seen == [Load("a"), Rest("a", None, "b"), Load("b")]
    assert observer.changes > 3
    stage.coordinator.observe(None)
    before = observer.changes
    await asked(stage, "b")
    assert observer.changes == before
