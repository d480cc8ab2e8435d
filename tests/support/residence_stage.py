"""A machine with instances that take memory while they run, behind a real coordinator."""

from __future__ import annotations

import asyncio

from instance_defaults import InstanceDefaults

from ansambl.domain.errors import (
    NotSupportedError,
)
from ansambl.domain.instance import Endpoint, InstanceState, InstanceStatus
from ansambl.domain.scheduling import Standing
from ansambl.domain.text import text
from ansambl.runtime.coordinator import Coordinator
from ansambl.runtime.scheduling.records import RAM, InstanceFacts, Rules, SleepFacts

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
