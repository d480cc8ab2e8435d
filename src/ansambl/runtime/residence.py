"""Performs what the scheduler decides about instances, and tells it what they come to hold."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import replace
from typing import Any

from ansambl.domain.errors import AnsamblError, UnknownNameError
from ansambl.domain.instance import InstanceState
from ansambl.domain.text import text
from ansambl.foundation.logging import get_logger
from ansambl.runtime.changes import Changes
from ansambl.runtime.conversations.conversations import Conversations
from ansambl.runtime.dispatching import Dispatcher
from ansambl.runtime.ending import Ending
from ansambl.runtime.events import EventLog
from ansambl.runtime.instance import Instance
from ansambl.runtime.known_facts import FactsOf, KnownFacts
from ansambl.runtime.scheduling.records import InstanceFacts, InstanceView, Memory, Residency, Rest
from ansambl.runtime.slot_books import SlotBook

_AFTER_FAILURE = 5.0
"""Seconds until a load is tried again that failed without saying when."""

_log = get_logger(__name__)


class Residence:
    """The instances by model, their loads and their rests. Implements `Performer` and `InstanceListener`.

    Args:
        dispatcher: is told what happened.
        facts: says what each instance needs; None takes what its status says, and no memory.
        events: told of swaps that failed.
        conversations: keeps the states of slots of engines that stop; None keeps none.
        book: the slots of a model.
    """

    def __init__(
        self, dispatcher: Dispatcher, *, facts: FactsOf | None, events: EventLog | None,
        conversations: Conversations | None, book: Callable[[str], SlotBook],
    ) -> None:  # fmt: skip
        self.instances: dict[str, Instance] = {}
        self.failures: dict[str, AnsamblError] = {}
        self.pins: dict[str, bool] = {}
        self._dispatcher = dispatcher
        self._facts = KnownFacts(facts or self._as_shown, self._add)
        self.changes = Changes() if events is None else events.changes
        self._book = book
        self._ending = Ending(dispatcher.counters, events, conversations, book)
        self._holds: dict[str, Memory | None] = {}
        self._loads: dict[str, asyncio.Task[None]] = {}
        self._rests: dict[str, asyncio.Task[None]] = {}
        self._adoptions: dict[str, asyncio.Task[None]] = {}
        self._room_for: set[str] = set()
        self._trouble: dict[str, AnsamblError] = {}
        self._ended: set[str] = set()
        self._replacements: dict[str, Instance] = {}
        self._removed: list[Instance] = []
        self.removals: Counter[str] = Counter()
        self._settled: dict[str, asyncio.Event] = {}

    # --- what is there ------------------------------------------------------------------------------------------------

    def add(self, instances: Iterable[Instance]) -> None:
        """There are these instances, too."""
        self.changes.tell()
        for one in instances:
            self.instances[one.model] = one
            one.keep_slots(self._book(one.model))
            one.listen(self)

    def instance(self, model: str) -> Instance:
        """The instance that serves `model`.

        Raises:
            UnknownNameError: no instance serves it.
        """
        try:
            return self.instances[model]
        except KeyError:
            raise UnknownNameError(text("No model is called '{name}' here.", name=model)) from None

    def view(self, model: str) -> InstanceView | None:
        """How the scheduler sees the instance; None where it was not told of it yet, or has forgotten it."""
        try:
            return self._dispatcher.policy.view(model)
        except KeyError:
            return None

    def serves(self, model: str) -> bool:
        """Whether memory is kept for its engine, so that it may be asked, and started again where it failed."""
        return not self._dispatcher.closed and self._residency(model) in {Residency.IN, Residency.DRAINING}

    def knows(self, model: str) -> bool:
        """Whether the scheduler was told of the instance."""
        return self.view(model) is not None

    async def know(self, model: str) -> None:
        """Tell the scheduler of the instance where that is due.

        Raises:
            AnsamblError: the instance cannot be made.
        """
        if not self._facts.are_fresh(model):
            await self._facts.have(model)

    async def adopt(self, model: str) -> None:
        """It runs already, since an earlier Ansambl: it is counted, and its engine is watched from now on.

        Raises:
            AnsamblError: what it needs is not known, so its engine was ended.
        """
        try:
            await self._facts.have(model, runs=True)
        except AnsamblError:
            await self.instance(model).stop()
            raise
        self._begin(self._adoptions, model, self._watch(model))

    async def _watch(self, model: str) -> None:
        # An engine that cannot be had tells that it ended.
        with contextlib.suppress(AnsamblError):
            await self.instance(model).ensure_ready()

    async def renew(self, model: str) -> None:
        """Ask for the facts of an instance again, when the scheduler knows it; meanwhile the old ones hold."""
        if self.knows(model):
            await self._facts.renew(model)

    def levels(self, model: str) -> tuple[int, ...]:
        """The levels at which its engine can sleep, as far as is known."""
        return self._facts.levels(model)

    def pin(self, model: str, pinned: bool | None) -> None:
        """Have an instance stay in memory whatever others want (True), or not (False); None: as its facts say.

        In effect at once, and for as long as Ansambl runs.
        """
        if pinned is None:
            self.pins.pop(model, None)
        else:
            self.pins[model] = pinned
        told = self._facts.told(model)
        if told is not None and self.knows(model):
            self._add(told, runs=False)

    def _add(self, facts: InstanceFacts, runs: bool) -> None:
        pinned = self.pins.get(facts.model)
        if pinned:
            # One that ends by itself comes back as soon as there is room.
            facts = replace(facts, pinned=True, warm=True, ttl=None)
        elif pinned is not None:
            facts = replace(facts, pinned=False)
        self._dispatcher.tell(lambda policy, now: policy.add(facts, now, holds=facts.needs if runs else None))

    async def _as_shown(self, model: str) -> InstanceFacts:
        status = self.instance(model).status()
        return InstanceFacts(model, places=status.parallel, ours=not status.attached)

    # --- what the scheduler asks for ----------------------------------------------------------------------------------

    def load(self, model: str) -> None:
        """Start or wake an instance."""
        self._begin(self._loads, model, self._load(model))

    def rest(self, effect: Rest) -> None:
        """Let an instance sleep or stop."""
        if effect.wanted is not None:
            self._room_for.add(effect.wanted)
        self._begin(self._rests, effect.model, self._rest(effect))

    def _begin(self, tasks: dict[str, asyncio.Task[None]], model: str, work: Coroutine[Any, Any, None]) -> None:
        # It takes itself out before it tells its outcome: what happens from then on is no part of it.
        task = tasks[model] = asyncio.create_task(work, name=f"residence {model}")
        self.changes.tell()
        task.add_done_callback(lambda _: self.changes.tell())
        task.add_done_callback(lambda one: tasks.pop(model, None) if tasks.get(model) is one else None)

    async def _load(self, model: str) -> None:
        counters, clock = self._dispatcher.counters, self._dispatcher.clock
        if model in self._room_for:
            self._room_for.discard(model)
            counters.swapped(model)
        began, self._holds[model] = clock.monotonic(), None
        try:
            view = self.view(model)
            await self._facts.confirm(model, {} if view is None else view.reserved)
            instance = self.instance(model)
            woke = instance.status().state is InstanceState.ASLEEP
            await instance.ensure_ready()
        except Exception as unexpected:  # noqa: BLE001 - whatever it is, the scheduler must be told, or all wait for ever
            failure = unexpected if isinstance(unexpected, AnsamblError) else self._ending.tell(model, unexpected)
            self.failures[model] = failure
            counters.load_failures[model] += 1
            memory = bool(getattr(failure, "out_of_memory", False))
            told = getattr(failure, "retry_after", None)
            pause = _AFTER_FAILURE if told is None else float(told)
            self._facts.forget(model)
            self._loads.pop(model, None)
            self._dispatcher.tell(
                lambda policy, now: policy.load_failed(model, now, out_of_memory=memory, retry_after=pause)
            )
            return
        self.failures.pop(model, None)
        seconds, holds = clock.monotonic() - began, self._holds.get(model)
        counters.loaded(model, seconds, woke=woke)
        self._loads.pop(model, None)
        self._dispatcher.tell(lambda policy, now: policy.loaded(model, now, holds=holds, seconds=seconds))

    async def _rest(self, effect: Rest) -> None:
        model, level = effect.model, effect.level
        self._holds[model] = None
        self._ended.discard(model)
        if level is not None and not await self._slept(model, level):
            if effect.wanted is None and model not in self._ended:
                # Nobody needs its memory, so it stays as it is.
                self._rests.pop(model, None)
                self._dispatcher.tell(lambda policy, now: policy.loaded(model, now))
                self._settle(model)
                return
            level = None
        if level is None:
            await self._ending.end(self.instance(model))
            await self._replace(model)
        holds = self._holds.get(model)
        self._dispatcher.counters.rested(model, level)
        self._rests.pop(model, None)
        self._dispatcher.tell(lambda policy, now: policy.rested(model, now, level=level, holds=holds))
        self._settle(model)

    async def _slept(self, model: str, level: int) -> bool:
        try:
            await self.instance(model).sleep(level)
        except Exception as failure:  # noqa: BLE001 - as in `Ending.end`
            self._trouble[model] = failure if isinstance(failure, AnsamblError) else self._ending.tell(model, failure)
            return False
        return True

    # --- what the owner asks for --------------------------------------------------------------------------------------

    async def rest_now(self, model: str, level: int | None) -> None:
        """Have an instance drained and rest; return when it does.

        Raises:
            AnsamblError: it cannot sleep, or did not.
        """
        self.instance(model)
        while (loading := self._loads.get(model)) is not None:
            await asyncio.wait([loading])
        if self._residency(model) in {Residency.OUT, None} or (
            level is not None and self._residency(model) is Residency.ASLEEP
        ):
            return
        self._trouble.pop(model, None)
        settled = self._settled.setdefault(model, asyncio.Event())
        self._dispatcher.tell(lambda policy, now: policy.rest(model, level, now))
        await settled.wait()
        failure = self._trouble.pop(model, None)
        if failure is not None and level is not None:
            raise failure

    async def replace(self, model: str, instance: Instance | None) -> None:
        """Put another instance in the place of that of `model`, or none, or one where there was none.

        What runs is answered to its end first; requests that wait are answered by the new one, or refused.
        """
        if model not in self.instances:
            if instance is not None:
                self.add([instance])
            return
        if instance is not None:
            self._replacements[model] = instance
            while self._replacements.get(model) is instance:
                await self.rest_now(model, None)
                # It may have held nothing, and then nothing had to rest.
                if self._replacements.get(model) is instance and self._is_out(model):
                    await self.instances[model].stop()
                if self._replacements.get(model) is instance and self._is_out(model):
                    await self._replace(model)
            return
        self._replacements.pop(model, None)
        if self.knows(model):
            while (loading := self._loads.get(model)) is not None:
                await asyncio.wait([loading])
            holds = not self._is_out(model)
            settled = self._settled.setdefault(model, asyncio.Event())
            self._dispatcher.tell(lambda policy, now: policy.remove(model, now))
            if holds:
                await settled.wait()
        self._settled.pop(model, None)
        self._facts.forget(model)
        self.pins.pop(model, None)
        self.removals[model] += 1
        removed = self.instances.pop(model)
        self._removed.append(removed)
        await removed.stop()
        self._removed.remove(removed)

    def _is_out(self, model: str) -> bool:
        """Whether it holds nothing, and nothing is on its way."""
        return self._residency(model) in {Residency.OUT, None} and model not in self._loads

    async def _replace(self, model: str) -> None:
        instance = self._replacements.pop(model, None)
        if instance is None:
            return
        await self.instances[model].stop()
        self.add([instance])
        self._facts.forget(model)
        if self.knows(model):
            try:
                await self.know(model)
            except AnsamblError:
                # One that cannot be made says why to the next request.
                return
            except Exception as failure:  # noqa: BLE001 - as in `Ending.end`
                self._ending.tell(model, failure)

    def _residency(self, model: str) -> Residency | None:
        view = self.view(model)
        return None if view is None else view.residency

    def _settle(self, model: str) -> None:
        settled = self._settled.pop(model, None)
        if settled is not None:
            settled.set()

    # --- what instances tell ------------------------------------------------------------------------------------------

    def ready(self, model: str, holds: Memory | None, seconds: float | None) -> None:
        """As `InstanceListener.ready`."""
        self.changes.tell()
        self._holds[model] = holds
        if model in self._loads or model in self._rests or not self.knows(model):
            return
        if self._residency(model) in {Residency.OUT, Residency.ASLEEP}:
            self._dispatcher.tell(lambda policy, now: policy.loaded(model, now, holds=holds, seconds=seconds))
        elif holds is not None:
            self._dispatcher.tell(lambda policy, now: policy.measured(model, holds, now))

    def grew(self, model: str, holds: Memory) -> None:
        """As `InstanceListener.grew`."""
        self._holds[model] = holds
        if model not in self._loads and model not in self._rests and self.knows(model):
            self._dispatcher.tell(lambda policy, now: policy.measured(model, holds, now))

    def asleep(self, model: str, level: int, holds: Memory | None) -> None:
        """As `InstanceListener.asleep`."""
        self.changes.tell()
        self._holds[model] = holds
        if model not in self._rests and self.knows(model):
            self._dispatcher.tell(lambda policy, now: policy.rested(model, now, level=level, holds=holds))
            self._settle(model)

    def ended(self, model: str, *, out_of_memory: bool) -> None:  # noqa: ARG002 - a load tells it by its failure
        """As `InstanceListener.ended`."""
        self.changes.tell()
        if model in self._rests:
            self._ended.add(model)
        elif model not in self._loads and self.knows(model):
            self._dispatcher.tell(lambda policy, now: policy.rested(model, now))
            # Its owner may wait for it to be drained.
            self._settle(model)

    # --- the end ------------------------------------------------------------------------------------------------------

    async def stop(self, *, save_for: float) -> None:
        """Stop all instances at once; conversations are saved first, for at most `save_for` seconds."""
        tasks = [*self._facts.tasks()]
        for one in (self._adoptions, self._loads, self._rests):
            tasks += one.values()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

        async def end(instance: Instance) -> None:
            await self._ending.save(instance, patience=save_for)
            await instance.stop()

        ending = {id(one): one for one in (*self.instances.values(), *self._removed)}
        ended = await asyncio.gather(*map(end, ending.values()), return_exceptions=True)
        for failure in ended:
            if isinstance(failure, Exception):
                _log.error("stop_failed", exc_info=failure)
