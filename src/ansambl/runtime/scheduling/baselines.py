"""What others do, to compare with: the same ledger, the same places, and as many models resident as fit."""

from __future__ import annotations

from ansambl.runtime.scheduling.machinery import Machinery
from ansambl.runtime.scheduling.records import Ask, Refusal, Residency
from ansambl.runtime.scheduling.room import OUT, Room
from ansambl.runtime.scheduling.states import State
from ansambl.runtime.slots import Order

_AWAY = frozenset({Residency.OUT, Residency.ASLEEP, Residency.LEAVING, Residency.LOADING})


class _Baseline(Machinery):
    """Makes room by least recent use; every request is like any other."""

    def _order(self, ask: Ask, now: float) -> Order:
        del ask, now
        return (0, float(self._tickets))

    def _waiting_for_load(self) -> list[tuple[Order, State]]:
        """The instances that are not resident and are waited for, in the order of their first requests."""
        found = [
            (order, state)
            for state in self._states.values()
            if state.residency in _AWAY and (order := state.slots.first()) is not None
        ]
        self._wanted = bool(found)
        return sorted(found, key=lambda one: one[0])

    def _bring_in(self, room: Room, order: Order, state: State, now: float) -> None:
        """Load an instance where there is room, else have those go that were used least recently."""
        if state.residency is Residency.LOADING:
            return
        needs = room.needs(state)
        if state.residency in OUT and room.fits_now(state, needs) and self._load(state, now):
            room.claim(needs)
            room.present.append(state)
            return
        first = room.first
        room.claim(needs)
        if state.residency not in OUT:
            return
        going = self._least_recently_used(room, state)
        if going is None:
            if first and room.nothing_moves() and not self._refuse_misfits(state, now):
                self._refuse_all(state, Refusal.DOES_NOT_FIT)
            return
        for victim, level in going:
            room.leave(victim, level)
            if victim.residency is Residency.ASLEEP:
                victim.wanted = state.model
                self._rest(victim, now)
            elif victim.residency is Residency.IN and self._may_drain(victim, order):
                state.swaps += 1
                self._drain(victim, level, state.model, now)

    def _may_drain(self, victim: State, order: Order) -> bool:
        """Whether an instance may be drained: requests that came before that order are as good as in its engine."""
        first = victim.slots.first()
        if first is not None and first < order:
            victim.blocks = order
            return False
        return True

    def _least_recently_used(self, room: Room, state: State) -> list[tuple[State, int | None]] | None:
        """Who goes, and how, so that `state` fits; None where it would not fit even so."""
        found: list[tuple[State, int | None]] = []
        forced = min(room.forced(state), key=len)
        there = [one for one in self._states.values() if one is not state and room.may_go(one)]
        if forced - {one.model for one in there}:
            return None
        left = dict(room.later)
        there.sort(
            key=lambda one: (one.model not in forced, one.residency is not Residency.DRAINING, one.used, one.added)
        )
        for one in there:
            if one.model not in forced and all(size >= 0 for size in left.values()):
                break
            level = self._level(one)
            frees = room.frees(one, level)
            lacks = {device for device, size in left.items() if size < 0}
            if one.model in forced or any(frees.get(device, 0) > 0 for device in lacks):
                found.append((one, level))
                for device, size in frees.items():
                    left[device] = left.get(device, 0) + size
        wanted = {device for device, size in state.needs.items() if size > 0}
        return found if all(left.get(device, 0) >= 0 for device in wanted) else None

    def _level(self, one: State) -> int | None:
        if one.residency is Residency.DRAINING:
            return one.level
        if one.residency is Residency.ASLEEP:
            return None
        levels = [sleep for sleep in one.facts.sleeps if self.ledger.fits(one.model, sleep.holds)]
        return min(levels, key=lambda sleep: sleep.wake_seconds).level if levels else None

    def _undrain_others(self, room: Room, now: float) -> None:
        for state in self._states.values():
            if state.residency is Residency.DRAINING and not state.owner and state.model not in room.going:
                self._undrain(state, now)


class Fifo(_Baseline):
    """One queue for all, in order of arrival; the first request whose model is not resident holds up all behind it.

    Requests for resident models before it use all their places together. A model is unloaded when all requests before
    the one that needs the room have been served.
    """

    def _plan(self, now: float) -> None:
        room = Room(self._states, self.ledger, self.rules)
        waiting = self._waiting_for_load()
        self._hold = waiting[0][0] if waiting else None
        if waiting:
            self._bring_in(room, *waiting[0], now)
            if not waiting[0][1].waiters:
                # It was refused.
                self._plan(now)
                return
        self._undrain_others(room, now)
        for state in self._states.values():
            if state.resident:
                self._serve(state, now)


class LeastRecentlyUsed(_Baseline):
    """Each request whose model is not resident has the least recently used others drained at once.

    So do the programs that swap models today; they too let an engine finish what it was sent before.
    """

    def _plan(self, now: float) -> None:
        room = Room(self._states, self.ledger, self.rules)
        for order, state in self._waiting_for_load():
            self._bring_in(room, order, state, now)
            if not state.waiters:
                self._plan(now)
                return
        self._undrain_others(room, now)
