"""A restart of a running engine that only a restart can give new LoRA adapters: when nobody uses it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ansambl.domain.text import text
from ansambl.engines.adapter import ConversationCalls
from ansambl.foundation.clock import Clock
from ansambl.runtime.engine.door import Door
from ansambl.runtime.engine.loras import EngineLoras
from ansambl.runtime.engine.resting import DRAIN_PATIENCE, Tell
from ansambl.runtime.engine.uses import Uses
from ansambl.runtime.engine.waiting import first_of
from ansambl.runtime.engine.watch import EngineWatch
from ansambl.runtime.kept_states import KeptStates, SlotKeeper

_WAITS_FOR_QUIET = 30.0
"""Seconds that a restart waits for a moment without requests before new requests have to wait for it.

Twice as many after each time that a long answer outlasted their patience, so that it does not hold the others up again
and again.
"""


@dataclass(slots=True)
class Renewal:
    """The restarts of one instance. `keeper` knows what its slots hold, None where nobody does."""

    title: str
    door: Door
    uses: Uses
    loras: EngineLoras
    kept: KeptStates
    clock: Clock
    tell: Tell
    keeper: SlotKeeper | None = None
    _due_since: float | None = None
    _waits: float = _WAITS_FOR_QUIET

    async def take(self, watch: EngineWatch, calls: ConversationCalls | None) -> bool:
        """Whether the run must end now to be followed by another at once; what its slots hold was saved."""
        if not self.loras.needs_restart() or watch.over():
            self._due_since, self._waits = None, _WAITS_FOR_QUIET
            return False
        now = self.clock.monotonic()
        if self._due_since is None:
            self._due_since = now
        if self.uses.any() and now - self._due_since < self._waits:
            return False
        self.door.shut()
        await first_of(
            self.uses.none_left(), asyncio.shield(watch.ended), watch.stopping.wait(), self.clock.sleep(DRAIN_PATIENCE)
        )
        if watch.over():
            return False
        if self.uses.any():
            self._due_since, self._waits = self.clock.monotonic(), 2 * self._waits
            self.door.open(watch.run.endpoint)
            return False
        self._due_since, self._waits = None, _WAITS_FOR_QUIET
        slots = self.keeper.slots() if self.keeper is not None else ()
        await watch.unless_over(self.kept.save(watch.run.endpoint, calls, slots, context=watch.run.placement.context))
        if watch.over():
            return False
        self.tell("renewed", text("{engine} is started again for its LoRA adapters", engine=self.title))
        return True

    async def follow(self, watch: EngineWatch, calls: ConversationCalls | None) -> None:
        """Another run is ready: give it back what was saved."""
        endpoint = watch.run.endpoint
        slots = await watch.unless_over(self.kept.restore(endpoint, calls, self.loras.calls))
        if slots and self.keeper is not None:
            self.keeper.moved(endpoint, slots)
