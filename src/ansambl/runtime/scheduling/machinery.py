"""The events that every policy is told, and what all policies do then. Who gets room is theirs to say."""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace

from ansambl.runtime.scheduling.records import (
    Ask,
    DeviceView,
    Effect,
    Grant,
    InstanceFacts,
    InstanceView,
    Memory,
    Refusal,
    Refuse,
    Residency,
)  # fmt: skip
from ansambl.runtime.scheduling.residences import Residences
from ansambl.runtime.scheduling.states import State
from ansambl.runtime.slots import Slots

_OUT = frozenset({Residency.OUT, Residency.ASLEEP})
_SMOOTH = 0.2
"""The weight of a new measurement in a running mean."""

_SMOOTH_LOAD = 0.5
"""The same for loads, which are rare."""

_SMOOTH_LONGEST = 0.02
"""How much of the longest answer is forgotten with each other one."""


def _figures(facts: InstanceFacts) -> tuple[float, ...]:
    return (facts.load_seconds, facts.stop_seconds, facts.answer_seconds)


class Machinery(Residences, ABC):
    """The events of `Policy`, done as every policy does them."""

    # What a policy decides.

    @abstractmethod
    def _plan(self, now: float) -> None:
        """Something changed that decides about residency: load, drain and rest what is due."""

    def _admit(self, state: State, ask: Ask, now: float) -> tuple[Refusal, float] | None:
        """Why a request that would have to wait is refused, and when it may try again; None where it may wait."""
        # Background work may wait for an hour: a queue full of it must not turn people away.
        alike = sum(
            count for one, count in state.by_class.items() if one.may_swap == ask.request_class.may_swap
        )  # fmt: skip
        if alike >= self.rules.queue_limit:
            return Refusal.QUEUE_FULL, self._queue_seconds(state)
        del now
        return None

    def _came(self, state: State, ask: Ask, now: float) -> None:
        """A request came, of whatever class."""
        del state, ask, now

    def _asks_elsewhere(self, ticket: int, ask: Ask, now: float) -> bool:
        """Whether a request was taken that is not for the instance of its model alone."""
        del ticket, ask, now
        return False

    def _time(self, now: float) -> None:
        """Time went by."""
        del now

    def _withdrawn(self, ticket: int, now: float) -> None:
        """A request waits no longer that is in no queue."""
        del ticket, now

    # The events.

    def add(self, facts: InstanceFacts, now: float, *, holds: Memory | None = None) -> Sequence[Effect]:
        """As `Policy.add`."""
        facts, holds = self._counted(facts), self._held(holds)
        state = self._states.get(facts.model)
        if state is None:
            self._added += 1
            state = State(facts, dict(facts.needs), Slots(facts.places), self._added, idle_since=now, came=now)
            self._states[facts.model] = state
            state.take_figures()
            if not facts.ours:
                state.residency = Residency.IN
        else:
            if facts.needs != state.facts.needs:
                # For its next load. What it holds until then was measured all the same.
                state.needs, state.measured = dict(facts.needs), state.measured and state.resident
            before, state.facts, state.leaving = state.facts, facts, False
            if _figures(before) != _figures(facts):
                state.take_figures()
            self._fit_places(state)
        if holds is not None and state.residency in _OUT:
            self.ledger.note(facts.model, holds)
            state.residency, state.measured, state.came, state.idle_since = Residency.IN, True, now, now
            state.needs = dict(holds)
        if state.resident:
            self._serve(state, now)
            self._idle(state, now)
        self._refuse_misfits(state, now)
        self._plan(now)
        return self._done()

    def _held(self, holds: Memory | None) -> Memory | None:
        return None if holds is None else self.ledger.counted(holds)

    def _counted(self, facts: InstanceFacts) -> InstanceFacts:
        sleeps = tuple(replace(one, holds=self.ledger.counted(one.holds)) for one in facts.sleeps)
        return replace(facts, needs=self.ledger.counted(facts.needs), sleeps=sleeps)

    def remove(self, model: str, now: float) -> Sequence[Effect]:
        """As `Policy.remove`."""
        state = self._states.get(model)
        if state is not None:
            self._refuse_all(state, Refusal.GONE)
            state.leaving = True
            self._let_go(state, None, now)
            self._plan(now)
        return self._done()

    def ask(self, ask: Ask, now: float) -> tuple[int, Sequence[Effect]]:
        """As `Policy.ask`."""
        self._tickets = ticket = self._tickets + 1
        state = self._states.get(ask.model)
        if state is not None:
            self._came(state, ask, now)
        if self._asks_elsewhere(ticket, ask, now):
            return ticket, self._done()
        if state is None or state.leaving:
            self._effects.append(Refuse(ticket, Refusal.GONE))
            return ticket, self._done()
        if state.ended is not None and ask.request_class.may_swap:
            self._came_back(state, now)
        at_once = state.residency is Residency.IN and self._hold is None
        if at_once and (taken := state.slots.take_now(ask.prompt, ask.count)) is not None:
            self._begin(state, ask, taken, now)
            self._effects.append(Grant(ticket, ask.model, taken))
            return ticket, self._done()
        if (refuse := self._refusal(ticket, state, ask, now)) is not None:
            self._effects.append(refuse)
            return ticket, self._done()
        before = state.slots.first()
        self._enqueue(ticket, state, ask, now)
        if state.residency is Residency.IN:
            self._serve(state, now)
        elif state.slots.first() != before:
            self._plan(now)
        return ticket, self._done()

    def withdraw(self, ticket: int, now: float) -> Sequence[Effect]:
        """As `Policy.withdraw`."""
        model = self._homes.get(ticket)
        if model is None:
            self._withdrawn(ticket, now)
            return self._done()
        state = self._states[model]
        self._leave_queue(state, ticket)
        if state.resident:
            # Places may have been kept for it.
            self._serve(state, now)
        self._plan(now)
        return self._done()

    def release(self, model: str, slot: int | None, now: float, *, seconds: float | None = None) -> Sequence[Effect]:
        """As `Policy.release`."""
        state = self._states.get(model)
        if state is None or not state.running:
            return self._done()
        state.running -= 1
        if slot is not None:
            state.slots.give_back(slot)
            state.minor.discard(slot)
        state.left = now
        if not state.running:
            state.ended = now
        if seconds is not None:
            state.answers += 1
            state.answer += max(_SMOOTH, 1.0 / state.answers) * (seconds - state.answer)
            state.longest += _SMOOTH_LONGEST * (state.answer - state.longest)
            state.longest = max(state.longest, seconds)
        if state.residency is Residency.IN:
            if state.slots.waiting:
                self._serve(state, now)
            else:
                self._serve_others(state, now)
            if not state.running:
                self._idle(state, now)
                if self._wanted:
                    self._plan(now)
            elif self._wanted and (self._unblocked(state) or (state.minor and not state.busy)):
                self._plan(now)
        elif not state.running:
            if state.residency is Residency.DRAINING:
                self._rest(state, now)
            self._fit_places(state)
        return self._done()

    def loaded(
        self, model: str, now: float, *, holds: Memory | None = None, seconds: float | None = None
    ) -> Sequence[Effect]:
        """As `Policy.loaded`."""
        holds = self._held(holds)
        state = self._states.get(model)
        if state is None:
            return self._done()
        if state.residency is Residency.LEAVING:
            # It could not sleep, and stays as it is.
            state.owner = False
            self.ledger.note(model, state.needs)
        was_asleep, level = state.asleep, state.level
        if holds is not None:
            self.ledger.note(model, holds)
            state.needs, state.measured = dict(holds), True
        elif state.residency in _OUT:
            # It came by itself: what it was forecast to hold is held now, whether or not there was room.
            self.ledger.note(model, state.needs)
        if seconds is not None and not was_asleep:
            state.load += _SMOOTH_LOAD * (seconds - state.load)
        if state.residency is not Residency.IN:
            state.residency, state.came, state.idle_since = Residency.IN, now, now
            state.level, state.wanted, state.asleep, state.kept_out = None, None, False, False
        state.tried_again, state.must_make_room, state.retry_at = False, False, None
        if state.leaving or state.owner:
            self._let_go(state, level, now)
        else:
            for one in state.waiters.values():
                one.swaps = state.swaps
            state.swaps = 0
            self._serve(state, now)
            self._idle(state, now)
        self._plan(now)
        return self._done()

    def load_failed(self, model: str, now: float, *, out_of_memory: bool, retry_after: float = 5.0) -> Sequence[Effect]:
        """As `Policy.load_failed`."""
        state = self._states.get(model)
        if state is None:
            return self._done()
        if out_of_memory:
            state.needs = self.ledger.raised(model, state.needs)
        self.ledger.release(model)
        state.residency, state.level, state.wanted, state.measured = Residency.OUT, None, None, False
        state.asleep, state.swaps = False, 0
        if out_of_memory and not state.tried_again and state.waiters and not state.leaving:
            state.tried_again = state.must_make_room = True
        else:
            state.tried_again = state.must_make_room = False
            state.retry_at = now + retry_after
            self._plan_later(state.retry_at)
            self._refuse_all(state, Refusal.LOAD_FAILED, retry_after)
        self._forget(state)
        self._plan(now)
        return self._done()

    def rested(
        self, model: str, now: float, *, level: int | None = None, holds: Memory | None = None
    ) -> Sequence[Effect]:
        """As `Policy.rested`."""
        holds = self._held(holds)
        state = self._states.get(model)
        if state is None:
            return self._done()
        if state.residency is Residency.LEAVING:
            state.stop += _SMOOTH_LOAD * (now - state.rests_since - state.stop)
        state.wanted, state.owner, state.blocks = None, False, None
        if level is None:
            self.ledger.release(model)
            # What somebody else runs is there as soon as those in flight were answered, unless it is to be forgotten.
            out = state.facts.ours or state.leaving
            state.residency, state.level = (Residency.OUT if out else Residency.IN), None
            state.slots.forget()
        else:
            asleep = holds if holds is not None else self._asleep(state, level)
            self.ledger.note(model, asleep)
            state.residency, state.level = Residency.ASLEEP, level
            if state.leaving:
                self._rest(state, now)
        self._fit_places(state)
        self._forget(state)
        if state.resident:
            self._serve(state, now)
            self._idle(state, now)
        self._plan(now)
        return self._done()

    def measured(self, model: str, holds: Memory, now: float) -> Sequence[Effect]:
        """As `Policy.measured`."""
        holds = self.ledger.counted(holds)
        state = self._states.get(model)
        if state is not None and state.facts.ours and state.residency not in {Residency.OUT, Residency.LOADING}:
            self.ledger.note(model, holds)
            if state.residency in {Residency.IN, Residency.DRAINING}:
                state.needs, state.measured = dict(holds), True
            self._plan(now)
        return self._done()

    def foreign(self, held: Memory, now: float) -> Sequence[Effect]:
        """As `Policy.foreign`."""
        self.ledger.set_foreign(held)
        for state in self._states.values():
            self._refuse_misfits(state, now)
        self._plan(now)
        return self._done()

    def rest(self, model: str, level: int | None, now: float) -> Sequence[Effect]:
        """As `Policy.rest`."""
        state = self._states.get(model)
        if state is not None:
            self._let_go(state, level, now)
            self._plan(now)
        return self._done()

    def tick(self, now: float) -> Sequence[Effect]:
        """As `Policy.tick`."""
        while self._timers and self._timers[0] <= now:
            heapq.heappop(self._timers)
        for state in self._states.values():
            self._rest_when_due(state, now)
        self._time(now)
        if self._plan_at is not None and self._plan_at <= now:
            self._plan_at = None
            self._plan(now)
        return self._done()

    def next_time(self) -> float | None:
        """As `Policy.next_time`. It may be earlier than needed, never later."""
        return self._timers[0] if self._timers else None

    def view(self, model: str) -> InstanceView:
        """As `Policy.view`.

        Raises:
            KeyError: there is no such instance.
        """
        return self._states[model].view(self.ledger.holds(model))

    def slots(self, model: str) -> Slots | None:
        """What the slots of an instance hold; None where there is no such instance or it takes any number."""
        state = self._states.get(model)
        return state.slots if state is not None and state.slots.count is not None else None

    def devices(self) -> Sequence[DeviceView]:
        """As `Policy.devices`."""
        return self.ledger.devices()

    def _refusal(self, ticket: int, state: State, ask: Ask, now: float) -> Refuse | None:
        if state.residency in _OUT:
            if state.retry_at is not None and now < state.retry_at:
                return Refuse(ticket, Refusal.LOAD_FAILED, state.retry_at - now)
            if lacks := self._lacks(state, foreign=False):
                return Refuse(ticket, Refusal.DOES_NOT_FIT, lacking=lacks)
        refused = self._admit(state, ask, now)
        return None if refused is None else Refuse(ticket, refused[0], max(1.0, refused[1]))
