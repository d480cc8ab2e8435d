"""Performs what the scheduler decides about instances, and tells it what they come to hold."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeAlias

from ansambl.domain.errors import AnsamblError, UnknownNameError
from ansambl.domain.text import text
from ansambl.foundation.logging import get_logger
from ansambl.runtime.conversations.conversations import Conversations
from ansambl.runtime.dispatching import Dispatcher
from ansambl.runtime.events import EventLog
from ansambl.runtime.instance import Instance
from ansambl.runtime.scheduling.records import InstanceFacts, Memory, Residency, Rest
from ansambl.runtime.slot_books import SlotBook

FactsOf: TypeAlias = Callable[[str], Awaitable[InstanceFacts]]
"""Says what is known of the instance of a model; raises AnsamblError where it cannot be made."""

_SAVE_PATIENCE = 30.0
"""Seconds that conversations may take to be saved before an engine stops: a state of some GiB is written in a few."""

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
        self._dispatcher = dispatcher
        self._facts = facts
        self._events = events
        self._conversations = conversations
        self._book = book
        self._known: dict[str, asyncio.Future[None]] = {}
        self._levels: dict[str, tuple[int, ...]] = {}
        self._holds: dict[str, Memory | None] = {}
        self._loads: dict[str, asyncio.Task[None]] = {}
        self._rests: dict[str, asyncio.Task[None]] = {}
        self._room_for: set[str] = set()
        self._trouble: dict[str, AnsamblError] = {}
        self._replacements: dict[str, Instance] = {}
        self._settled: dict[str, asyncio.Event] = {}

    # --- what is there ------------------------------------------------------------------------------------------------

    def add(self, instances: Iterable[Instance]) -> None:
        """There are these instances, too."""
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

    def knows(self, model: str) -> bool:
        """Whether the scheduler was told of the instance."""
        known = self._known.get(model)
        return known is not None and known.done()

    async def know(self, model: str, *, holds: bool = False) -> None:
        """Tell the scheduler of the instance when it does not know it yet; with `holds`, that it runs already.

        Raises:
            AnsamblError: the instance cannot be made.
        """
        known = self._known.get(model)
        if known is not None:
            await asyncio.shield(known)
            return
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        told.add_done_callback(lambda one: one.cancelled() or one.exception())
        self._known[model] = told
        try:
            found = await self._facts_of(model)
        except BaseException as failure:
            # Asked again by the next request: a missing file may be there by then.
            del self._known[model]
            told.set_exception(failure if isinstance(failure, AnsamblError) else asyncio.CancelledError())
            raise
        self._levels[model] = tuple(one.level for one in found.sleeps)
        self._dispatcher.tell(lambda policy, now: policy.add(found, now, holds=found.needs if holds else None))
        told.set_result(None)

    async def renew(self, model: str) -> None:
        """Ask for the facts of an instance again, when the scheduler knows it."""
        if self._known.pop(model, None) is not None:
            await self.know(model)

    def levels(self, model: str) -> tuple[int, ...]:
        """The levels at which its engine can sleep, as far as is known."""
        return self._levels.get(model, ())

    async def _facts_of(self, model: str) -> InstanceFacts:
        status = self.instance(model).status()
        if self._facts is None:
            return InstanceFacts(model, places=status.parallel, ours=not status.attached)
        return await self._facts(model)

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
        task = tasks[model] = asyncio.create_task(work, name=f"residence {model}")
        task.add_done_callback(lambda one: tasks.pop(model, None) if tasks.get(model) is one else None)

    async def _load(self, model: str) -> None:
        counters, clock = self._dispatcher.counters, self._dispatcher.clock
        if model in self._room_for:
            self._room_for.discard(model)
            counters.swapped(model)
        began, self._holds[model] = clock.monotonic(), None
        try:
            await self.instance(model).ensure_ready()
        except AnsamblError as failure:
            self.failures[model] = failure
            counters.load_failures[model] += 1
            memory = bool(getattr(failure, "out_of_memory", False))
            told = getattr(failure, "retry_after", None)
            pause = _AFTER_FAILURE if told is None else float(told)
            self._forget_facts(model)
            self._dispatcher.tell(
                lambda policy, now: policy.load_failed(model, now, out_of_memory=memory, retry_after=pause)
            )
            return
        self.failures.pop(model, None)
        seconds, holds = clock.monotonic() - began, self._holds.get(model)
        counters.loaded(model, seconds)
        self._dispatcher.tell(lambda policy, now: policy.loaded(model, now, holds=holds, seconds=seconds))

    def _forget_facts(self, model: str) -> None:
        """Ask for the facts again before the next request: another file, or another measurement, changes them."""
        self._known.pop(model, None)

    async def _rest(self, effect: Rest) -> None:
        model, level = effect.model, effect.level
        instance = self.instance(model)
        self._holds[model] = None
        if level is not None:
            try:
                await instance.sleep(level)
            except AnsamblError as failure:
                self._trouble[model] = failure
                if effect.wanted is None:
                    # Nobody needs its memory, so it stays as it is.
                    self._dispatcher.tell(lambda policy, now: policy.loaded(model, now))
                    self._settle(model)
                    return
                level = None
        if level is None:
            await self._stop(instance)
            await self._replace(model)
        holds = self._holds.get(model)
        self._dispatcher.counters.rested(model, level)
        self._dispatcher.tell(lambda policy, now: policy.rested(model, now, level=level, holds=holds))
        self._settle(model)

    async def _stop(self, instance: Instance) -> None:
        await self.save(instance, patience=_SAVE_PATIENCE)
        try:
            await instance.stop()
        except Exception as failure:  # noqa: BLE001 - whatever it is, the engine counts as gone from here on
            # The scheduler must be told that it stopped, or nothing would ever load in its place.
            _log.exception("stop_failed", model=instance.model)
            if self._events is not None:
                self._events.add(instance.model, "failed", text("an unexpected error: {reason}", reason=str(failure)))

    async def save(self, instance: Instance, *, patience: float) -> None:
        """Keep what the slots of its engine hold, before it stops."""
        calls, identity = instance.conversations(), instance.state_identity()
        if self._conversations is None or calls is None or identity is None:
            return
        endpoint = instance.endpoint()
        if endpoint is None:
            return
        held = self._book(instance.model).held(endpoint)
        if held:
            saved = await self._conversations.save(
                instance.model, endpoint, calls, identity, held, patience=patience
            )  # fmt: skip
            self._dispatcher.counters.saved[instance.model] += saved

    # --- what the owner asks for --------------------------------------------------------------------------------------

    async def rest_now(self, model: str, level: int | None) -> None:
        """Have an instance drained and rest; return when it does.

        Raises:
            AnsamblError: it cannot sleep, or did not.
        """
        self.instance(model)
        while (loading := self._loads.get(model)) is not None:
            await asyncio.wait([loading])
        if self._residency(model) in {Residency.OUT, None} or (level is not None and self._sleeps(model)):
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
            await self.rest_now(model, None)
            # It may have held nothing, and then nothing had to rest.
            await self._replace(model)
            return
        if self.knows(model):
            while (loading := self._loads.get(model)) is not None:
                await asyncio.wait([loading])
            holds = self._residency(model) not in {Residency.OUT, None}
            settled = self._settled.setdefault(model, asyncio.Event())
            self._dispatcher.tell(lambda policy, now: policy.remove(model, now))
            if holds:
                await settled.wait()
        self._known.pop(model, None)
        await self.instances.pop(model).stop()

    async def _replace(self, model: str) -> None:
        instance = self._replacements.pop(model, None)
        if instance is None:
            return
        await self.instances[model].stop()
        self.add([instance])
        if self._known.pop(model, None) is not None:
            with contextlib.suppress(AnsamblError):
                # One that cannot be made says why to the next request.
                await self.know(model)

    def _sleeps(self, model: str) -> bool:
        return self._residency(model) is Residency.ASLEEP

    def _residency(self, model: str) -> Residency | None:
        return self._dispatcher.policy.view(model).residency if self.knows(model) else None

    def _settle(self, model: str) -> None:
        settled = self._settled.pop(model, None)
        if settled is not None:
            settled.set()

    # --- what instances tell ------------------------------------------------------------------------------------------

    def ready(self, model: str, holds: Memory | None, seconds: float | None) -> None:
        """As `InstanceListener.ready`."""
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
        self._holds[model] = holds
        if model not in self._rests and self.knows(model):
            self._dispatcher.tell(lambda policy, now: policy.rested(model, now, level=level, holds=holds))

    def ended(self, model: str, *, out_of_memory: bool) -> None:  # noqa: ARG002 - a load tells it by its failure
        """As `InstanceListener.ended`."""
        if model not in self._loads and model not in self._rests and self.knows(model):
            self._dispatcher.tell(lambda policy, now: policy.rested(model, now))

    # --- the end ------------------------------------------------------------------------------------------------------

    async def stop(self, *, save_for: float) -> None:
        """Stop all instances at once; conversations are saved first, for at most `save_for` seconds."""
        for task in (*self._loads.values(), *self._rests.values()):
            task.cancel()
        await asyncio.gather(*self._loads.values(), *self._rests.values(), return_exceptions=True)

        async def end(instance: Instance) -> None:
            with contextlib.suppress(AnsamblError, TimeoutError):
                await self.save(instance, patience=save_for)
            await instance.stop()

        await asyncio.gather(*map(end, self.instances.values()), return_exceptions=True)
