"""Who gets which room: what candidates claim, in their order, and which residents go for them."""

from __future__ import annotations

from collections.abc import Mapping

from ansambl.runtime.scheduling.eviction import Resident, Way, choose
from ansambl.runtime.scheduling.ledger import Ledger
from ansambl.runtime.scheduling.records import Residency, Rules
from ansambl.runtime.scheduling.states import State

OUT = frozenset({Residency.OUT, Residency.ASLEEP})
"""Where an instance stands that can be loaded."""

_RECENT = 300.0
"""Seconds after which an idle instance counts half as likely to be wanted as one that was used just now."""

_BUSY = 3.0
"""How much more it costs to let go an instance that is in use or waited for."""

_DRAINING_COST = 1e-6
_PRESENT = frozenset({Residency.IN, Residency.LOADING, Residency.DRAINING, Residency.LEAVING})
_MOVING = frozenset({Residency.DRAINING, Residency.LEAVING, Residency.LOADING})


class Room:
    """Who gets which room, decided in the order of the candidates: earlier ones claim, later ones take what is left."""

    def __init__(self, states: dict[str, State], ledger: Ledger, rules: Rules) -> None:
        self.states = states
        self.ledger = ledger
        self.rules = rules
        self.now_free = ledger.free()
        self.later = dict(self.now_free)
        self.going: set[str] = set()
        self.first = True
        """Whether no candidate claimed anything yet."""
        self.saving: set[str] = set()
        """The devices for which a candidate saves the price of its swap: later ones may not spend it."""
        self.short: tuple[str, ...] = ()
        """The devices on which the last candidate needs more room than there is."""
        self.present = [one for one in states.values() if one.residency in _PRESENT]
        for one in states.values():
            if one.residency is Residency.LEAVING or (one.residency is Residency.DRAINING and one.owner):
                _add(self.later, self.frees(one, one.level))

    def needs(self, state: State) -> dict[str, int]:
        """What a candidate needs beyond what it holds asleep."""
        own = self.ledger.holds(state.model) if state.residency is Residency.ASLEEP else {}
        return {device: size - own.get(device, 0) for device, size in state.needs.items()}

    def fits_now(self, state: State, needs: dict[str, int]) -> bool:
        """Whether it may be loaded at once."""
        return all(size <= 0 or self.now_free.get(device, 0) >= size for device, size in needs.items()) and (
            not self.rules.together or self._may_join(state, self.present)
        )

    def claim(self, needs: dict[str, int]) -> None:
        """That much is for a candidate."""
        self.first = False
        for device, size in needs.items():
            self.now_free[device] = self.now_free.get(device, 0) - size
            self.later[device] = self.later.get(device, 0) - size

    def let_go(self, choice: dict[str, Way]) -> None:
        """Those go for a candidate."""
        for name, way in choice.items():
            self.going.add(name)
            _add(self.later, way.frees)

    def leave(self, state: State, level: int | None) -> None:
        """That one goes for a candidate."""
        self.going.add(state.model)
        _add(self.later, self.frees(state, level))

    def may_go(self, one: State) -> bool:
        """Whether an instance holds memory that it may be asked to give."""
        if one.model in self.going or one.facts.pinned or not one.facts.ours or one.leaving or one.owner:
            return False
        if one.residency is Residency.ASLEEP:
            return any(self.ledger.holds(one.model).values())
        return one.residency in {Residency.IN, Residency.DRAINING}

    def nothing_moves(self) -> bool:
        """Whether no instance is on its way in or out."""
        return not any(one.residency in _MOVING for one in self.states.values())

    def victims(self, state: State, needs: dict[str, int], now: float) -> dict[str, Way] | None:
        """Which residents go for a candidate at the least cost; None where no choice would make enough room."""
        free = {
            device: self.later.get(device, 0) - needs.get(device, 0)
            for device in {*self.later, *needs}
            if needs.get(device, 0) > 0
        }
        self.short = tuple(device for device, size in free.items() if size < 0) or tuple(self.later)
        best: dict[str, Way] | None = None
        ways_of = [(one, ways) for one in self.states.values() if one is not state and (ways := self._ways(one, now))]
        for forced in self.forced(state):
            residents = [
                Resident(one.model, ways, one.model in forced or (state.must_make_room and not one.running))
                for one, ways in ways_of
            ]
            if forced - {one.model for one in residents}:
                continue
            # What sleeping takes of a device counts there, too.
            devices = {device for one in residents for way in one.ways for device in way.frees if way.frees[device] < 0}
            whole = {**{device: max(0, self.later.get(device, 0)) for device in devices}, **free}
            found = choose(whole, residents)
            if found is not None and (best is None or _cost(found) < _cost(best)):
                best = found
        return best

    def _ways(self, one: State, now: float) -> tuple[Way, ...]:
        if not self.may_go(one):
            return ()
        held = self.ledger.holds(one.model)
        if one.residency is Residency.ASLEEP:
            gain = max(0.0, one.load - one.wakes())
            return (Way(None, held, self._weight(one, now) * gain),)
        if one.residency is Residency.DRAINING:
            return (Way(one.level, self.frees(one, one.level), _DRAINING_COST),)
        weight = self._weight(one, now)
        ways = [Way(None, held, weight * (one.load + one.stop))]
        ways += [
            Way(level.level, self.frees(one, level.level), weight * (level.wake_seconds + one.stop))
            for level in one.facts.sleeps
        ]
        return tuple(sorted(ways, key=lambda way: way.cost))

    @staticmethod
    def _weight(one: State, now: float) -> float:
        """How likely it is wanted soon."""
        if one.busy:
            return _BUSY
        return 0.1 + 1.0 / (1.0 + (now - max(one.used, one.came)) / _RECENT)

    def frees(self, one: State, level: int | None) -> dict[str, int]:
        """What an instance frees that goes to sleep at `level`, or stops where that is None."""
        held: dict[str, int] = dict(self.ledger.holds(one.model))
        for sleep in one.facts.sleeps:
            if sleep.level == level:
                for device, size in sleep.holds.items():
                    held[device] = held.get(device, 0) - size
        return held

    def forced(self, state: State) -> list[set[str]]:
        """The sets of residents that must go because they may not be there together with it: one for each choice."""
        if not self.rules.together or not any(state.model in one for one in self.rules.together):
            return [set()]
        grouped = {name for one in self.rules.together for name in one}
        there = {one.model for one in self.present if one.model in grouped and one is not state} - self.going
        return [there - group for group in self.rules.together if state.model in group]

    def _may_join(self, state: State, present: list[State]) -> bool:
        grouped = {name for one in self.rules.together for name in one}
        if state.model not in grouped:
            return True
        there = {one.model for one in present if one.model in grouped} | {state.model}
        return any(there <= group for group in self.rules.together)


def _add(free: dict[str, int], more: Mapping[str, int]) -> None:
    for device, size in more.items():
        free[device] = free.get(device, 0) + size


def _cost(chosen: dict[str, Way]) -> float:
    return sum(way.cost for way in chosen.values())
