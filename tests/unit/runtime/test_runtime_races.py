"""Requests, rests, crashes, failures and reloads at the same time: nobody waits for ever, no memory is given twice."""

from __future__ import annotations

import asyncio
import random

import pytest
from instance_defaults import InstanceDefaults

from ansambl.domain.errors import AnsamblError, CheckpointError, LoadFailedError, UnavailableError
from ansambl.domain.instance import Endpoint, InstanceState, InstanceStatus
from ansambl.domain.scheduling import RequestClass, Standing
from ansambl.domain.text import text
from ansambl.runtime.coordinator import Coordinator
from ansambl.runtime.scheduling.records import RAM, InstanceFacts, Rules, SleepFacts

CAPACITY, ASLEEP = 100, 1
NAMES = ("a", "b", "c")


class Machine:
    """What runs, and what must not have happened."""

    def __init__(self, seed):
        # Not hypothesis' randoms: tasks go on drawing after an example would have ended.
        self.chance = random.Random(seed)  # noqa: S311 - no secret is made of it
        self.held, self.wrong, self.warm = {}, [], []

    def take(self, instance, size):
        self.held[instance] = size
        if sum(self.held.values()) > CAPACITY:
            self.wrong.append(f"more than there is: {self.held}")

    async def pause(self):
        for _ in range(self.chance.randrange(6)):
            await asyncio.sleep(0)
        if self.chance.random() < 0.3:
            await asyncio.sleep(0.003 * self.chance.random())


class Instance(InstanceDefaults):
    """Starts, sleeps, stops, fails and dies as its machine's chance has it."""

    def __init__(self, model, machine):
        chance = machine.chance
        self.model, self.machine = model, machine
        self.needs, self.places = chance.choice([30, 50, 60]), chance.choice([1, 2])
        self.sleeps = chance.random() < 0.5
        self.using = self.lost = 0
        self.start, self.stops = None, 0

    @property
    def runs(self):
        return self.machine.held.get(self) == self.needs

    async def ensure_ready(self):
        stops = self.stops
        while not self.runs:
            if self.stops != stops:
                raise UnavailableError(text("it was stopped"))
            if self.start is None or self.start.done():
                self.start = asyncio.create_task(self.started())
                self.start.add_done_callback(lambda one: one.exception())
            await asyncio.shield(self.start)
        return Endpoint(f"http://127.0.0.1:1/{self.model}/v1")

    async def started(self):
        chance = self.machine.chance
        await self.machine.pause()
        if chance.random() < 0.15:
            self.end()
            raise LoadFailedError(text("no"), out_of_memory=chance.random() < 0.5, retry_after=chance.choice([0, 1]))
        self.machine.take(self, self.needs)
        self.listener.ready(self.model, {RAM: self.needs}, 0.001)

    def end(self):
        if self.machine.held.pop(self, None) is not None:
            self.listener.ended(self.model, out_of_memory=False)

    def crash(self):
        if self.runs:
            self.lost, self.using = self.lost + self.using, 0
            self.end()

    def begin_use(self):
        self.using += 1

    def end_use(self):
        if self.lost:
            self.lost -= 1
        else:
            self.using -= 1

    async def sleep(self, level=None):
        if not self.sleeps:
            await super().sleep(level)
        await self.machine.pause()
        if self.machine.chance.random() < 0.2:
            if self.machine.chance.random() < 0.5:
                self.crash()
            raise UnavailableError(text("not now"))
        while self.using:  # noqa: ASYNC110 - as the engine's own rest, which waits for its uses
            await asyncio.sleep(0.001)
        if not self.runs:
            raise UnavailableError(text("it does not run"))
        self.machine.take(self, ASLEEP)
        self.listener.asleep(self.model, level, {RAM: ASLEEP})

    async def stop(self):
        if self.using:
            self.machine.wrong.append("stopped in use")
        self.stops += 1
        if self.start is not None and not self.start.done():
            await asyncio.wait([self.start])
        if self in self.machine.held:
            await self.machine.pause()
            self.end()

    def conversations(self):
        return None

    def status(self):
        return InstanceStatus(self.model, "fake", InstanceState.READY, parallel=self.places)


class Play:
    def __init__(self, seed):
        self.machine = Machine(seed)
        self.chance = self.machine.chance
        self.warm = [one for one in NAMES if self.chance.random() < 0.3]
        rules = Rules(task_delay=0.001, task_patience=0.05, background_patience=0.05, batch_delay=0.01)
        self.coordinator = Coordinator(
            [Instance(one, self.machine) for one in NAMES], self, facts=self.facts, totals={RAM: CAPACITY}, rules=rules
        )

    async def close(self):
        """As `Upstream.close`."""

    async def facts(self, model):
        for _ in range(self.chance.randrange(4)):
            await asyncio.sleep(0)
        if self.chance.random() < 0.05:
            raise CheckpointError(text("no file"))
        one = self.coordinator.instance(model)
        return InstanceFacts(
            model, {RAM: one.needs}, one.places, load_seconds=0.01, stop_seconds=0.01, answer_seconds=0.005,
            sleeps=(SleepFacts(1, {RAM: ASLEEP}, 0.001),) if one.sleeps else (), warm=model in self.warm,
            ttl=self.chance.choice([None, 0.005, 0.02]),
        )  # fmt: skip

    async def ask(self):
        standing = Standing(self.chance.choice(list(RequestClass)))
        async with self.coordinator.lease(self.chance.choice(NAMES), standing=standing):
            await asyncio.sleep(0.01 * self.chance.random())

    async def meddle(self):
        model, what = self.chance.choice(NAMES), self.chance.randrange(9)
        match what:
            case 0:
                await self.coordinator.rest(model, None)
            case 1:
                await self.coordinator.sleep(model, 1)
            case 2:
                await self.coordinator.wake(model)
            case 3:
                await self.coordinator.renew(model)
            case 4 | 5:
                if what == 5:
                    await self.coordinator.replace(model, None)
                await self.coordinator.replace(model, Instance(model, self.machine))
            case _:
                self.coordinator.instance(model).crash()

    async def run(self):
        tasks = []
        for _ in range(60):
            tasks.append(asyncio.create_task(self.ask() if self.chance.random() < 0.75 else self.meddle()))
            if self.chance.random() < 0.2:
                self.chance.choice(tasks).cancel()
            if self.chance.random() < 0.6:
                await asyncio.sleep(0.004 * self.chance.random())
        _, waiting = await asyncio.wait(tasks, timeout=20)
        assert not waiting
        for one in tasks:
            # Cancelled, answered, or refused in words.
            assert one.cancelled() or one.exception() is None or isinstance(one.exception(), AnsamblError)
        assert not any(one.running or one.waiting for one in self.coordinator.views().values())
        await self.coordinator.stop()
        assert self.machine.held == {}
        assert self.machine.wrong == []


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_happens_at_once(seed):
    await Play(seed).run()
