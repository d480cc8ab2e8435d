"""Loading, draining and resting of instances, with the memory that it takes: what is done, not when."""

from __future__ import annotations

from ansambl.domain.units import Bytes
from ansambl.runtime.scheduling.ledger import lacking
from ansambl.runtime.scheduling.queues import Queues
from ansambl.runtime.scheduling.records import Load, Memory, Refusal, Residency, Rest
from ansambl.runtime.scheduling.states import State

_OUT = frozenset({Residency.OUT, Residency.ASLEEP})

_PATIENT = 10.0
"""Seconds that requests wait for memory that other programs hold. What was unloaded a moment ago is often seen as
theirs for a second or two (peers wait 0.5 to 1.5 s for a card's memory to come back)."""


class Residences(Queues):
    """Where instances stand, and how that changes."""

    def _lacks(self, state: State, *, foreign: bool = True) -> Memory:
        """What an instance needs beyond what could ever be free for it, with or without what other programs hold."""
        if not state.facts.ours:
            return {}
        room = self.ledger.usable if foreign else self.ledger.capacity
        most = {one: room(one) for one in self.ledger.names}
        for other in self._states.values():
            if other is not state and other.facts.pinned and other.residency not in _OUT:
                for device, size in self.ledger.holds(other.model).items():
                    most[device] = most.get(device, 0) - size
        return lacking(state.needs, {one: max(0, size) for one, size in most.items()})

    def _refuse_misfits(self, state: State, now: float) -> bool:
        """Refuse who waits for what can never fit, after a while where only other programs are in its way."""
        lacks = self._lacks(state) if state.waiters and state.residency in _OUT else {}
        if not lacks:
            state.misfit_since = None
            return False
        if state.misfit_since is None:
            state.misfit_since = now
        until = state.misfit_since + _PATIENT
        if now < until and not self._lacks(state, foreign=False):
            self._plan_later(until)
        else:
            state.misfit_since = None
            self._refuse_all(state, Refusal.DOES_NOT_FIT, lacking=lacks)
        return True

    def _load(self, state: State, now: float) -> bool:
        """Start or wake an instance in memory that is free; False where it does not fit."""
        if not self.ledger.reserve(state.model, state.needs):
            return False
        state.load_ends, state.asleep = now + state.wakes(), state.residency is Residency.ASLEEP
        state.residency, state.must_make_room, state.due_since = Residency.LOADING, False, None
        state.misfit_since = None
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
        if state.residency is Residency.LOADING:
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
