"""Places come back from whoever is cancelled, at whatever moment; refusals reach those who wait, in words."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansambl.domain.errors import UnavailableError
from ansambl.domain.scheduling import RequestClass
from ansambl.domain.text import text
from ansambl.foundation.clock import RealClock
from ansambl.runtime.counters import RuntimeCounters
from ansambl.runtime.dispatching import Dispatcher
from ansambl.runtime.scheduling.ledger import Ledger
from ansambl.runtime.scheduling.records import Ask, InstanceFacts, Refusal, Rules
from ansambl.runtime.scheduling.scheduler import Scheduler


class Performer:
    """Loads at once, or never."""

    def __init__(self, dispatcher):
        self.dispatcher, self.failures, self.asked = dispatcher, {}, []
        self.works = True

    def load(self, model):
        self.asked.append(model)
        if self.works:
            asyncio.get_running_loop().call_soon(
                lambda: self.dispatcher.tell(lambda policy, now: policy.loaded(model, now))
            )

    def rest(self, effect):
        raise AssertionError(effect)


def start(places=1, rules=None):
    dispatcher = Dispatcher(Scheduler(Ledger({}), rules or Rules()), RealClock(), RuntimeCounters())
    dispatcher.performer = Performer(dispatcher)
    dispatcher.tell(lambda policy, now: policy.add(InstanceFacts("m", places=places), now))
    return dispatcher


def load(dispatcher):
    view = dispatcher.policy.view("m")
    return view.running, view.waiting


async def take(dispatcher, prompt=b"", count=1):
    return (await dispatcher.granted(Ask("m", prompt=prompt, count=count))).slots


async def test_a_place_that_comes_free_while_the_next_one_is_being_cancelled_goes_on():
    dispatcher = start()
    await take(dispatcher, b"a")
    leaving, staying = (asyncio.create_task(take(dispatcher, one)) for one in (b"b", b"c"))
    await asyncio.sleep(0)
    # Cancelled, but not run since: as when one client leaves in the same moment in which another answer ends.
    leaving.cancel()
    dispatcher.release("m", 0)
    assert await staying == (0,)
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert load(dispatcher) == (1, 0)
    dispatcher.close()


async def test_a_group_that_is_being_cancelled_keeps_no_places():
    dispatcher = start(2)
    await take(dispatcher, count=2)
    group, single = asyncio.create_task(take(dispatcher, count=2)), asyncio.create_task(take(dispatcher))
    await asyncio.sleep(0)
    group.cancel()
    dispatcher.release("m", 0)
    dispatcher.release("m", 1)
    (slot,) = await single
    dispatcher.release("m", slot)
    assert load(dispatcher) == (0, 0)
    dispatcher.close()


@given(st.integers(1, 3), st.integers(0, 1 << 32))
def test_whoever_is_cancelled_no_place_is_lost(count, seed):
    # Not hypothesis' own randoms: one drawn from inside a task, after the example ended, broke the run now and then.
    chance = random.Random(seed)  # noqa: S311 - no secret is made of it

    async def use(dispatcher):
        slots = await take(dispatcher, b"ab"[: chance.randrange(3)], chance.randrange(1, 4))
        try:
            for _ in range(chance.randrange(3)):
                await asyncio.sleep(0)
        finally:
            for slot in slots:
                dispatcher.release("m", slot)

    async def play():
        dispatcher = start(count)
        tasks = []
        for _ in range(12):
            tasks.append(asyncio.create_task(use(dispatcher)))
            for one in chance.sample(tasks, min(len(tasks), chance.randrange(3))):
                one.cancel()
            if chance.random() < 0.7:
                await asyncio.sleep(0)
        ended = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
        assert all(one is None or isinstance(one, asyncio.CancelledError) for one in ended)
        assert load(dispatcher) == (0, 0)
        assert sorted(await take(dispatcher, count=count)) == list(range(count))
        dispatcher.close()

    asyncio.run(play())


async def test_a_load_that_failed_tells_those_who_wait_why():
    dispatcher = start()
    dispatcher.performer.works = False
    waiting = [asyncio.create_task(take(dispatcher)) for _ in range(2)]
    await asyncio.sleep(0)
    assert dispatcher.performer.asked == ["m"]
    dispatcher.performer.failures["m"] = UnavailableError(text("the file is gone"))
    dispatcher.tell(lambda policy, now: policy.load_failed("m", now, out_of_memory=False))
    for one in waiting:
        with pytest.raises(UnavailableError, match="the file is gone"):
            await one
    assert dispatcher.counters.refused[RequestClass.INTERACTIVE, Refusal.LOAD_FAILED] == 2
    dispatcher.close()


async def test_a_full_queue_says_when_to_come_again():
    dispatcher = start(rules=Rules(queue_limit=1))
    await take(dispatcher)
    waiting = asyncio.create_task(take(dispatcher))
    await asyncio.sleep(0)
    with pytest.raises(UnavailableError) as refused:
        await take(dispatcher)
    assert refused.value.code == "queue_full"
    assert refused.value.retry_after >= 1
    waiting.cancel()
    dispatcher.close()


async def test_a_background_request_expires_by_itself():
    dispatcher = start()
    await take(dispatcher)
    with pytest.raises(UnavailableError) as refused:
        async with asyncio.timeout(10):
            await dispatcher.granted(Ask("m", RequestClass.BACKGROUND, patience=0.01))
    assert refused.value.code == "expired"
    assert load(dispatcher) == (1, 0)
    dispatcher.close()
