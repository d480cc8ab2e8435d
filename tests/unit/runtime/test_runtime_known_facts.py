"""What the scheduler is told of instances: asked once, asked again when it may have changed, never half known."""

from __future__ import annotations

import asyncio

import pytest

from ansambl.domain.errors import CheckpointError, UnavailableError
from ansambl.domain.text import text
from ansambl.runtime.known_facts import KnownFacts
from ansambl.runtime.scheduling.records import RAM, InstanceFacts, SleepFacts


class Source:
    """Facts that change."""

    def __init__(self):
        self.needs, self.asked, self.told, self.trouble = 10, 0, [], None
        self.gate = asyncio.Event()
        self.gate.set()
        self.facts = KnownFacts(self.say, lambda facts, runs: self.told.append((facts.needs[RAM], runs)))

    async def say(self, model):
        self.asked += 1
        found = InstanceFacts(model, {RAM: self.needs}, sleeps=(SleepFacts(2, {}, 1.0),))
        await self.gate.wait()
        if self.trouble is not None:
            raise self.trouble
        return found


async def test_all_who_need_them_share_one_look():
    source = Source()
    source.gate.clear()
    waiting = [asyncio.create_task(source.facts.have("m")) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    source.gate.set()
    await asyncio.gather(*waiting[1:])
    assert (source.asked, source.told) == (1, [(10, False)])
    assert source.facts.levels("m") == (2,)
    assert source.facts.levels("other") == ()


async def test_what_was_said_before_a_change_is_not_told():
    source = Source()
    source.gate.clear()
    waiting = asyncio.create_task(source.facts.have("m"))
    await asyncio.sleep(0.001)
    source.needs = 20
    source.facts.forget("m")
    source.gate.set()
    await waiting
    assert source.told == [(20, False)]


async def test_a_failure_is_told_to_all_and_asked_again_by_the_next():
    source = Source()
    source.trouble = CheckpointError(text("no file"))
    found = await asyncio.gather(*(source.facts.have("m") for _ in range(2)), return_exceptions=True)
    assert found == [source.trouble] * 2
    assert source.asked == 1
    source.trouble = None
    await source.facts.have("m", runs=True)
    assert source.told == [(10, True)]


async def test_a_load_begins_only_with_the_memory_that_is_needed_now():
    source = Source()
    await source.facts.have("m")
    await source.facts.confirm("m", {RAM: 15})
    source.facts.forget("m")
    await source.facts.confirm("m", {RAM: 15})
    assert source.asked == 2
    # More, and less than an out-of-memory made of it.
    source.needs = 15
    source.facts.forget("m")
    await source.facts.confirm("m", {RAM: 15})
    source.facts.forget("m")
    source.needs = 20
    with pytest.raises(UnavailableError):
        await source.facts.confirm("m", {RAM: 15})
    # It was told, so the next load has it.
    assert source.told[-1] == (20, False)
    await source.facts.confirm("m", {RAM: 15})


async def test_old_ones_hold_while_they_are_asked_for_again():
    source = Source()
    await source.facts.have("m")
    source.gate.clear()
    renewing = asyncio.create_task(source.facts.renew("m"))
    await asyncio.sleep(0.001)
    assert source.facts.are_fresh("m")
    source.trouble = CheckpointError(text("no file"))
    source.gate.set()
    await renewing
    assert not source.facts.are_fresh("m")
