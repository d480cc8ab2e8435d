"""What all policies share: the instances, their queues, the ledger, and the effects. Who gets room is theirs to say."""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections.abc import Sequence

from ansambl.domain.units import Bytes
from ansambl.runtime.scheduling.ledger import Ledger, lacking
from ansambl.runtime.scheduling.records import (
    Ask,
    DeviceView,
    Effect,
    Grant,
    InstanceFacts,
    InstanceView,
    Load,
    Memory,
    Refusal,
    Refuse,
    Residency,
    Rest,
    Rules,
)  # fmt: skip
from ansambl.runtime.scheduling.states import State, Waiter
from ansambl.runtime.slots import Order, Slots

_OUT = frozenset({Residency.OUT, Residency.ASLEEP})
_GAPS = 3
_SMOOTH = 0.2
"""The weight of a new measurement in a running mean."""

_SMOOTH_LOAD = 0.5
"""The same for loads, which are rare."""


def _figures(facts: InstanceFacts) -> tuple[float, ...]:
    return (facts.load_seconds, facts.stop_seconds, facts.answer_seconds)


class Machinery(ABC):
    """The events of `Policy`, done as every policy does them."""

    def __init__(self, ledger: Ledger, rules: Rules | None = None) -> None:
        self.ledger = ledger
        self.rules = rules or Rules()
        self._states: dict[str, State] = {}
        self._homes: dict[int, str] = {}
        self._tickets = 0
        self._added = 0
        self._effects: list[Effect] = []
        self._timers: list[float] = []
        self._hold: Order | None = None
        """Requests after that in order get no place for now."""
        self._strict = False
        """Nobody is passed over, because others wait for the room."""

    # What a policy decides.

    @abstractmethod
    def _plan(self, now: float) -> None:
        """Something changed that decides about residency: load, drain and rest what is due."""

    def _order(self, ask: Ask, now: float) -> Order:
        """The turn of a request."""
        del ask
        return (0, now)

    def _admit(self, state: State, ask: Ask, now: float) -> tuple[Refusal, float] | None:
        """Why a request that would have to wait is refused, and when it may try again; None where it may wait."""
        if len(state.waiters) >= self.rules.queue_limit:
            return Refusal.QUEUE_FULL, self._queue_seconds(state)
        del ask, now
        return None

    def _asks_elsewhere(self, ticket: int, ask: Ask, now: float) -> bool:
        """Whether a request was taken that is not for the instance of its model alone."""
        del ticket, ask, now
        return False

    def _serve_others(self, state: State, now: float) -> None:
        """An instance has free places and nobody in its queue."""

    def _time(self, now: float) -> None:
        """Time went by."""

    def _withdrawn(self, ticket: int, now: float) -> None:
        """A request waits no longer that is in no queue."""

    # The events.

    def add(self, facts: InstanceFacts, now: float, *, holds: Memory | None = None) -> Sequence[Effect]:
        """As `Policy.add`."""
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
                state.needs, state.measured = dict(facts.needs), False
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
        self._refuse_misfits(state)
        self._plan(now)
        return self._done()

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
        if self._asks_elsewhere(ticket, ask, now):
            return ticket, self._done()
        state = self._states.get(ask.model)
        if state is None or state.leaving:
            self._effects.append(Refuse(ticket, Refusal.GONE))
            return ticket, self._done()
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
        if seconds is not None:
            state.answers += 1
            state.answer += max(_SMOOTH, 1.0 / state.answers) * (seconds - state.answer)
        if state.residency is Residency.IN:
            if state.slots.waiting:
                self._serve(state, now)
            else:
                self._serve_others(state, now)
            if not state.running:
                self._idle(state, now)
                self._plan(now)
            elif self._unblocked(state) or (state.minor and not state.busy):
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
        state = self._states.get(model)
        if state is None:
            return self._done()
        if state.residency is Residency.LEAVING:
            # What was told to rest will tell that it did.
            return self._done()
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
            self._wake_at(state.retry_at)
            self._refuse_all(state, Refusal.LOAD_FAILED, retry_after)
        self._forget(state)
        self._plan(now)
        return self._done()

    def rested(
        self, model: str, now: float, *, level: int | None = None, holds: Memory | None = None
    ) -> Sequence[Effect]:
        """As `Policy.rested`."""
        state = self._states.get(model)
        if state is None:
            return self._done()
        if state.residency is Residency.LEAVING:
            state.stop += _SMOOTH_LOAD * (now - state.rests_since - state.stop)
        state.wanted, state.owner, state.blocks = None, False, None
        if level is None:
            self.ledger.release(model)
            state.residency, state.level = (Residency.OUT if state.facts.ours else Residency.IN), None
            state.slots.forget()
        else:
            asleep = holds if holds is not None else self._asleep(state, level)
            self.ledger.note(model, asleep)
            state.residency, state.level = Residency.ASLEEP, level
            if state.leaving:
                self._rest(state, now)
        self._fit_places(state)
        self._forget(state)
        self._plan(now)
        return self._done()

    def measured(self, model: str, holds: Memory, now: float) -> Sequence[Effect]:
        """As `Policy.measured`."""
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
            self._refuse_misfits(state)
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

    # What policies use.

    def _done(self) -> list[Effect]:
        found, self._effects = self._effects, []
        return found

    def _wake_at(self, when: float) -> None:
        if when not in self._timers[:1]:
            heapq.heappush(self._timers, when)

    def _refusal(self, ticket: int, state: State, ask: Ask, now: float) -> Refuse | None:
        if state.residency in _OUT:
            if state.retry_at is not None and now < state.retry_at:
                return Refuse(ticket, Refusal.LOAD_FAILED, state.retry_at - now)
            if lacks := self._lacks(state):
                return Refuse(ticket, Refusal.DOES_NOT_FIT, lacking=lacks)
        refused = self._admit(state, ask, now)
        return None if refused is None else Refuse(ticket, refused[0], max(1.0, refused[1]))

    def _lacks(self, state: State) -> Memory:
        """What an instance needs beyond what could ever be free for it."""
        if not state.facts.ours:
            return {}
        most = {one: self.ledger.usable(one) for one in self.ledger.names}
        for other in self._states.values():
            if other is not state and other.facts.pinned and other.residency not in _OUT:
                for device, size in self.ledger.holds(other.model).items():
                    most[device] = most.get(device, 0) - size
        return lacking(state.needs, {one: max(0, size) for one, size in most.items()})

    def _refuse_misfits(self, state: State) -> None:
        if state.waiters and state.residency in _OUT and (lacks := self._lacks(state)):
            self._refuse_all(state, Refusal.DOES_NOT_FIT, lacking=lacks)

    def _enqueue(self, ticket: int, state: State, ask: Ask, now: float) -> Waiter:
        one = Waiter(ticket, ask, self._order(ask, now), now)
        state.slots.ask(ask.prompt, ask.count, order=one.order, ticket=ticket)
        state.waiters[ticket] = one
        state.by_class[ask.request_class] += 1
        self._homes[ticket] = ask.model
        return one

    def _leave_queue(self, state: State, ticket: int) -> Waiter:
        state.slots.withdraw(ticket)
        del self._homes[ticket]
        one = state.waiters.pop(ticket)
        state.by_class[one.ask.request_class] -= 1
        return one

    def _refuse_all(
        self, state: State, refusal: Refusal, retry_after: float = 5.0, lacking: Memory | None = None
    ) -> None:
        for ticket in list(state.waiters):
            self._leave_queue(state, ticket)
            self._effects.append(Refuse(ticket, refusal, retry_after, lacking or {}))

    def _serve(self, state: State, now: float) -> None:
        """Grant what waits, as far as free places go."""
        if state.slots.waiting:
            for grant in state.slots.grants(self._hold, strict=self._strict):
                one = self._leave_queue(state, grant.ticket)
                self._begin(state, one.ask, grant.slots, now)
                self._effects.append(Grant(grant.ticket, state.model, grant.slots, one.swaps))
        if not state.slots.waiting:
            self._serve_others(state, now)

    def _begin(self, state: State, ask: Ask, slots: Sequence[int], now: float) -> None:
        if not ask.request_class.may_swap:
            state.minor.update(slots)
        elif not state.running:
            state.gaps = (*state.gaps[1 - _GAPS :], now - state.idle_since)
        state.running += len(slots) or max(1, ask.count)
        state.used = now

    def _idle(self, state: State, now: float) -> None:
        """Nothing is in flight there from now on."""
        if not state.running:
            state.idle_since = now
            if state.facts.ttl is not None and state.rest_timer is None:
                state.rest_timer = now + state.facts.ttl
                self._wake_at(state.rest_timer)

    def _unblocked(self, state: State) -> bool:
        """Whether those are served now that had to be before an instance may be drained."""
        if state.blocks is None:
            return False
        first = state.slots.first()
        if first is not None and first < state.blocks:
            return False
        state.blocks = None
        return True

    def _queue_seconds(self, state: State) -> float:
        places = state.slots.count or 1
        return (len(state.waiters) + state.running) * state.answer / places

    def _load(self, state: State, now: float) -> bool:
        """Start or wake an instance in memory that is free; False where it does not fit."""
        if not self.ledger.reserve(state.model, state.needs):
            return False
        state.load_ends, state.asleep = now + state.wakes(), state.residency is Residency.ASLEEP
        state.residency, state.must_make_room, state.due_since = Residency.LOADING, False, None
        self._effects.append(Load(state.model))
        return True

    def _drain(self, state: State, level: int | None, wanted: str | None, now: float) -> None:
        """No new request is served there; when the last one in flight has ended, it rests."""
        state.residency, state.level, state.wanted = Residency.DRAINING, level, wanted
        if not state.running:
            self._rest(state, now)

    def _undrain(self, state: State, now: float) -> None:
        state.residency, state.level, state.wanted = Residency.IN, None, None
        self._serve(state, now)
        self._idle(state, now)

    def _rest(self, state: State, now: float) -> None:
        state.rests_since = now
        asleep = state.residency is Residency.ASLEEP
        state.residency = Residency.LEAVING
        state.level = level = None if asleep or state.leaving else self._rest_level(state, state.level)
        self._effects.append(Rest(state.model, level, state.wanted))

    def _rest_level(self, state: State, wanted: int | None) -> int | None:
        """The level at which an instance can sleep now, the wanted one or a deeper one; its memory is reserved.

        What it takes to sleep was free when that was planned, and others may have been given it since.
        """
        if wanted is None:
            return None
        held = self.ledger.holds(state.model)
        for one in sorted(state.facts.sleeps, key=lambda one: (one.level != wanted, one.wake_seconds)):
            both = {
                device: max(held.get(device, Bytes(0)), one.holds.get(device, Bytes(0)))
                for device in {*held, *one.holds}
            }
            if self.ledger.reserve(state.model, both):
                return one.level
        return None

    def _let_go(self, state: State, level: int | None, now: float) -> None:
        """Have an instance rest because of its owner, whoever waits for it."""
        known = {one.level for one in state.facts.sleeps}
        level = level if level in known and not state.leaving else None
        if not state.facts.ours:
            state.residency = Residency.OUT if state.leaving else state.residency
        elif state.residency is Residency.LOADING:
            state.owner, state.level = True, level
        elif state.residency in {Residency.IN, Residency.DRAINING}:
            state.owner = state.kept_out = True
            self._drain(state, level, None, now)
        elif state.residency is Residency.ASLEEP and level is None:
            self._rest(state, now)
        self._forget(state)

    def _forget(self, state: State) -> None:
        """An instance that is to be forgotten and holds nothing is forgotten."""
        if state.leaving and state.residency is Residency.OUT:
            self.ledger.release(state.model)
            del self._states[state.model]

    def _rest_when_due(self, state: State, now: float) -> None:
        ttl = state.facts.ttl
        if state.rest_timer is None or now < state.rest_timer:
            return
        state.rest_timer = None
        if ttl is None or not state.resident or state.running or not state.facts.ours:
            return
        if now < state.idle_since + ttl:
            state.rest_timer = state.idle_since + ttl
            self._wake_at(state.rest_timer)
        elif not state.waiters:
            levels = [one for one in state.facts.sleeps if self._may_sleep(state, one.holds)]
            level = min(levels, key=lambda one: one.wake_seconds).level if levels else None
            state.kept_out = True
            self._drain(state, level, None, now)

    def _may_sleep(self, state: State, holds: Memory) -> bool:
        return self.ledger.fits(state.model, holds)

    def _asleep(self, state: State, level: int) -> Memory:
        for one in state.facts.sleeps:
            if one.level == level:
                return one.holds
        return {}

    def _fit_places(self, state: State) -> None:
        """Have as many places as the facts say, once nothing is in flight."""
        if state.slots.count != state.facts.places and not state.running:
            state.slots.resize(state.facts.places)
