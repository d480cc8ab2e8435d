"""How a running engine rests: it sleeps on demand, and comes back when it is wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from ansambl.domain.engine import ExitExplanation, ExitReason
from ansambl.domain.errors import AnsamblError, UnavailableError
from ansambl.domain.instance import InstanceState
from ansambl.domain.text import Text, text
from ansambl.domain.units import format_bytes
from ansambl.foundation.clock import Clock
from ansambl.runtime.engine.door import Door
from ansambl.runtime.engine.holding import Holding
from ansambl.runtime.engine.load_facts import LoadFacts
from ansambl.runtime.engine.loras import EngineLoras
from ansambl.runtime.engine.runs import Run
from ansambl.runtime.engine.sleeping import Asleep, NotAsleepError, NotAwakeError, Sleeper
from ansambl.runtime.engine.uses import Uses
from ansambl.runtime.engine.waiting import first_of
from ansambl.runtime.engine.watch import EngineWatch

Tell: TypeAlias = Callable[[str, Text], None]
"""Records an event of an instance: its kind, and what happened."""

DRAIN_PATIENCE = 60.0
"""Seconds that requests which are being answered have to end before a sleep is given up; new ones wait meanwhile."""


@dataclass(slots=True)
class _Wish:
    level: int | None
    done: asyncio.Future[None]


@dataclass(slots=True)
class Rest:
    """The rest of one instance. All but `ask` is called by the instance's own task.

    `holding` is told of it; `set_state` and `tell` are the instance's.
    """

    title: str
    door: Door
    uses: Uses
    sleeper: Sleeper
    loras: EngineLoras
    clock: Clock
    holding: Holding
    set_state: Callable[[InstanceState, Text | None], None]
    tell: Tell
    wished: asyncio.Event = field(default_factory=asyncio.Event)
    _wishes: list[_Wish] = field(default_factory=list)

    async def ask(self, level: int | None) -> None:
        """Ask for sleep and wait for it.

        Raises:
            NotSupportedError: the engine cannot sleep, or not at this level.
            UnavailableError: it did not fall asleep, and why.
        """
        wish = _Wish(level, asyncio.get_running_loop().create_future())
        wish.done.add_done_callback(lambda one: one.cancelled() or one.exception())
        self._wishes.append(wish)
        self.wished.set()
        await asyncio.shield(wish.done)

    def dismiss(self, reason: Text) -> None:
        """The run ended: nobody can be helped to sleep."""
        self.wished.clear()
        for wish in self._wishes:
            if not wish.done.done():
                wish.done.set_exception(UnavailableError(reason))
        self._wishes.clear()

    async def take(self, watch: EngineWatch, facts: LoadFacts) -> ExitExplanation | None:
        """Do what is wished; an explanation when the engine must be started again."""
        self.wished.clear()
        while self._wishes and not watch.over():
            wish = self._wishes.pop(0)
            try:
                level = self.sleeper.level(watch.run, wish.level)
                explanation = await self._sleep(watch, facts, level, wish)
            except AnsamblError as failure:
                if not wish.done.done():
                    wish.done.set_exception(failure)
                continue
            if explanation is not None or watch.over():
                return explanation
        return None

    async def _sleep(self, watch: EngineWatch, facts: LoadFacts, level: int, wish: _Wish) -> ExitExplanation | None:
        """Sleep until somebody wants the endpoint; an explanation when it did not come back.

        Raises:
            NotAsleepError: it did not fall asleep; it answers again.
            UnavailableError: it is in use all the time.
        """
        run = watch.run
        self.door.shut()
        await first_of(
            self.uses.none_left(), asyncio.shield(watch.ended), watch.stopping.wait(), self.clock.sleep(DRAIN_PATIENCE)
        )
        if watch.over():
            return None
        if self.uses.any():
            self.door.open(run.endpoint)
            raise UnavailableError(
                text("it does not sleep: requests were still being answered after {seconds} s",
                     seconds=round(DRAIN_PATIENCE))
            )  # fmt: skip
        try:
            asleep = await watch.unless_over(self.sleeper.sleep(run, level, facts.memory, self.loras.calls))
        except NotAsleepError as failure:
            return await self._not_asleep(watch, level, failure)
        if asleep is None:
            return None
        self.set_state(InstanceState.ASLEEP, text("asleep at level {level}; {size} are free again", level=level,
                                                  size=format_bytes(asleep.freed)))  # fmt: skip
        self.tell("asleep", text("{engine} sleeps at level {level}; {size} are free again", engine=self.title,
                                 level=level, size=format_bytes(asleep.freed)))  # fmt: skip
        await self.holding.asleep(run, level)
        self._fulfil(wish, level)
        await first_of(self.door.wanted.wait(), asyncio.shield(watch.ended), watch.stopping.wait())
        return None if watch.over() else await self._wake(watch, asleep, facts)

    def _fulfil(self, wish: _Wish, level: int) -> None:
        """It sleeps: all who wished for that have it, or else it would sleep again as soon as it was woken."""
        met = [one for one in self._wishes if one.level in {None, level}]
        self._wishes = [one for one in self._wishes if one not in met]
        for one in (wish, *met):
            if not one.done.done():
                one.done.set_result(None)

    async def rouse(self, watch: EngineWatch) -> ExitExplanation | None:
        """Wake an adopted engine that an earlier Ansambl had put to sleep, however deep that was.

        It says that it is well while it sleeps, and answers no request. Returns an explanation when it does not wake.
        """
        try:
            if await watch.unless_over(self.sleeper.roused(watch.run, self.loras.calls)):
                self.tell("awake", text("{engine} slept since an earlier run, and is awake", engine=self.title))
        except NotAwakeError as failure:
            return self._lost(failure)
        return None

    async def _wake(self, watch: EngineWatch, asleep: Asleep, facts: LoadFacts) -> ExitExplanation | None:
        run = watch.run
        began = self.clock.monotonic()
        self.set_state(InstanceState.STARTING, None)
        self.loras.doubt()
        try:
            await watch.unless_over(self.sleeper.wake(run, asleep, self.loras.calls))
        except NotAwakeError as failure:
            return self._lost(failure)
        if watch.over():
            return None
        seconds = self.clock.monotonic() - began
        self.tell("awake", text("{engine} is awake after {seconds} s", engine=self.title, seconds=round(seconds, 1)))
        await self.holding.ready(run, facts, seconds)
        self._go_on(run)
        return None

    async def _not_asleep(self, watch: EngineWatch, level: int, failure: NotAsleepError) -> ExitExplanation | None:
        """Have it answer again, as it may believe that it sleeps.

        Raises:
            NotAsleepError: `failure`, when it answers again.
        """
        self.tell("not_asleep", text("{engine} does not count as asleep: {reason}", engine=self.title,
                                     reason=failure.message))  # fmt: skip
        self.loras.doubt()
        try:
            await watch.unless_over(self.sleeper.call_awake(watch.run, level))
        except NotAwakeError as lost:
            return self._lost(lost)
        if watch.over():
            return None
        self._go_on(watch.run)
        raise failure

    def _go_on(self, run: Run) -> None:
        self.set_state(InstanceState.READY, None)
        self.door.open(run.endpoint)

    def _lost(self, failure: NotAwakeError) -> ExitExplanation:
        return ExitExplanation(
            ExitReason.CRASHED, text("{engine} is started again: {reason}", engine=self.title, reason=failure.message)
        )
