"""Ansambl's policy: by bytes, by waiting people, and with a bound on what they wait."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

from ansambl.domain.scheduling import RequestClass
from ansambl.runtime.scheduling.eviction import Resident, Way, choose
from ansambl.runtime.scheduling.ledger import Ledger
from ansambl.runtime.scheduling.machinery import Machinery
from ansambl.runtime.scheduling.records import (
    Ask,
    Grant,
    InstanceView,
    Refusal,
    Refuse,
    Residency,
    Rules,
)  # fmt: skip
from ansambl.runtime.scheduling.states import State, Waiter
from ansambl.runtime.slots import Order

_OUT = frozenset({Residency.OUT, Residency.ASLEEP})
_RECENT = 300.0
"""Seconds after which an idle instance counts half as likely to be wanted as one that was used just now."""

_BUSY = 3.0
"""How much more it costs to let go an instance that is in use or waited for."""

_LINGER_GAPS = 3.0
_LINGER = 0.05
_FULL = 2.0
"""The swap budget holds at most that many times the cost of a swap."""

_DRAINING_COST = 1e-6


@dataclass(slots=True)
class _Task:
    ticket: int
    ask: Ask
    ready: float
    expires: float


class Scheduler(Machinery):
    """Serves what is resident at once, collects what is not, and swaps when that is worth its cost."""

    def __init__(self, ledger: Ledger, rules: Rules | None = None) -> None:
        super().__init__(ledger, rules)
        self._tasks: dict[int, _Task] = {}
        self._expiries: list[tuple[float, int]] = []
        self._budget = 0.0
        self._budget_at: float | None = None

    def view(self, model: str) -> InstanceView:
        """As `Policy.view`; tasks that wait count for the model that they name."""
        found = super().view(model)
        tasks = sum(1 for one in self._tasks.values() if one.ask.model == model)
        if not tasks:
            return found
        classes = {**found.waiting_by_class, RequestClass.TASK: tasks}
        return InstanceView(
            found.residency, found.running, found.waiting + tasks, found.reserved, found.measured, found.wanted,
            found.rests_at, classes,
        )  # fmt: skip

    # Classes.

    def _order(self, ask: Ask, now: float) -> Order:
        if ask.request_class is RequestClass.BATCH:
            return (0, now + self.rules.batch_delay)
        return (0, now) if ask.request_class.may_swap else (1, now)

    def _enqueue(self, ticket: int, state: State, ask: Ask, now: float) -> Waiter:
        one = super()._enqueue(ticket, state, ask, now)
        if not ask.request_class.may_swap:
            patience = self.rules.background_patience if ask.patience is None else ask.patience
            one.expires = now + patience
            heapq.heappush(self._expiries, (one.expires, ticket))
            self._wake_at(one.expires)
        return one

    def _time(self, now: float) -> None:
        while self._expiries and self._expiries[0][0] <= now:
            _, ticket = heapq.heappop(self._expiries)
            if (task := self._tasks.get(ticket)) is not None and task.expires <= now:
                # It may have come at the same moment.
                self._serve_tasks(now)
                if self._tasks.pop(ticket, None) is not None:
                    self._effects.append(Refuse(ticket, Refusal.EXPIRED))
            elif ticket in self._homes:
                state = self._states[self._homes[ticket]]
                self._leave_queue(state, ticket)
                self._effects.append(Refuse(ticket, Refusal.EXPIRED))
                if state.resident:
                    self._serve(state, now)
        if self._tasks:
            self._serve_tasks(now)

    # Tasks.

    def _asks_elsewhere(self, ticket: int, ask: Ask, now: float) -> bool:
        if ask.request_class is not RequestClass.TASK:
            return False
        if len(self._tasks) >= self.rules.queue_limit:
            self._effects.append(Refuse(ticket, Refusal.QUEUE_FULL))
            return True
        patience = self.rules.task_patience if ask.patience is None else ask.patience
        task = _Task(ticket, ask, now + min(self.rules.task_delay, patience), now + patience)
        self._tasks[ticket] = task
        heapq.heappush(self._expiries, (task.expires, ticket))
        self._wake_at(task.expires)
        self._wake_at(task.ready)
        if task.ready <= now:
            self._serve_tasks(now)
        return True

    def _withdrawn(self, ticket: int, now: float) -> None:
        del now
        self._tasks.pop(ticket, None)

    def _serve_others(self, state: State, now: float) -> None:
        del state
        if self._tasks:
            self._serve_tasks(now)

    def _serve_tasks(self, now: float) -> None:
        """Grant tasks places that nobody else waits for; refuse them where no model can answer them."""
        for task in [one for one in self._tasks.values() if one.ready <= now]:
            ask, hopeless = task.ask, True
            for state in self._answerers(ask):
                hopeless = False
                if state.resident and not state.slots.waiting:
                    taken = state.slots.take_now(ask.prompt, ask.count)
                    if taken is not None:
                        del self._tasks[task.ticket]
                        self._begin(state, ask, len(taken), now)
                        self._effects.append(Grant(task.ticket, state.model, taken))
                        break
            if hopeless:
                del self._tasks[task.ticket]
                self._effects.append(Refuse(task.ticket, Refusal.NO_MODEL_FOR_TASK))

    def _answerers(self, ask: Ask) -> list[State]:
        """The instances that may answer a task, the best first: those that serve, then those that will soon."""
        special = self._states.get(self.rules.task_model or "")
        if special is not None and not special.leaving and (special.resident or self._comes(special)):
            return [special]
        named = self._states.get(ask.model)
        if named is not None and not named.resident and not named.leaving and named.facts.chats:
            named = named if self._comes(named) else None
        chats = [one for one in self._states.values() if one.facts.chats and not one.leaving]
        serving = sorted(
            (one for one in chats if one.resident),
            key=lambda one: (one is not named, one.running / (one.slots.count or 1e9), one.added),
        )
        return serving + [one for one in chats if not one.resident and self._comes(one)]

    @staticmethod
    def _comes(state: State) -> bool:
        """Whether an instance that does not serve now will soon, without a task's doing."""
        return state.residency is Residency.LOADING or (
            state.residency in {*_OUT, Residency.LEAVING} and state.urgent() is not None
        )

    # Residency.

    def _plan(self, now: float) -> None:
        candidates = [
            (order, one.added, one)
            for one in self._states.values()
            if one.residency in {Residency.OUT, Residency.ASLEEP, Residency.LEAVING} and (order := one.urgent())
        ]
        candidates.sort(key=lambda one: one[:2])
        plan = _Plan(self._states, self.ledger, self.rules)
        for order, _, state in candidates:
            self._settle(plan, state, order, now)
        for state in self._states.values():
            if state.residency is Residency.DRAINING and not state.owner and state.model not in plan.going:
                if state.kept_out and state.wanted is None and not state.waiters:
                    continue
                self._undrain(state, now)
        if not any(one.residency in _OUT for _, _, one in candidates):
            self._load_the_rest(plan, now)

    def _settle(self, plan: _Plan, state: State, order: Order, now: float) -> None:
        """Load a candidate where there is room, else make room when that is due."""
        needs = plan.needs(state)
        if state.residency is Residency.LEAVING:
            plan.claim(needs)
            return
        if plan.fits_now(state, needs) and not state.must_make_room and self._load(state, now):
            plan.claim(needs)
            plan.present.append(state)
            return
        first, choice = plan.first, plan.victims(state, needs, now)
        plan.claim(needs)
        if choice is None:
            if first and plan.nothing_moves():
                # Only what it cannot have is in its way, and nothing will change that.
                self._refuse_all(state, Refusal.DOES_NOT_FIT, lacking=self._lacks(state))
            return
        plan.let_go(choice)
        if not choice:
            if state.must_make_room and plan.nothing_moves():
                state.must_make_room = False
                self._load(state, now)
            return
        fresh = [one for name in choice if (one := self._states[name]).residency in {Residency.IN, Residency.ASLEEP}]
        if not fresh:
            return
        when = self._due(state, order, [one for one in fresh if one.resident], now)
        if when is not None and when > now:
            self._wake_at(when)
        elif when is not None:
            for one in fresh:
                one.blocks = None
                if one.resident:
                    state.swaps += 1
                    self._drain(one, choice[one.model].level, state.model, now)
                else:
                    one.wanted = state.model
                    self._rest(one, now)

    def _due(self, state: State, order: Order, victims: list[State], now: float) -> float | None:
        """When a swap may begin; None where requests that come before it must be served first."""
        cost = state.wakes() + sum(one.stop for one in victims)
        busy = [one for one in victims if one.running or one.urgent() is not None]
        if not busy:
            return max((self._linger(one, cost) for one in victims), default=now)
        for one in busy:
            first = one.urgent()
            if first is not None and first < order:
                one.blocks = order
                return None
        funds = self._funds(now)
        if funds < cost:
            return now + (cost - funds) / self.rules.swap_share + 1e-9
        self._budget -= cost
        return now

    def _linger(self, victim: State, cost: float) -> float:
        """Until when an idle instance is kept because its next request is expected in a moment."""
        if victim.gap is None or victim.gaps < 2:
            return victim.idle_since
        both = cost + victim.load
        if victim.gap > both / 4:
            return victim.idle_since
        return victim.idle_since + min(_LINGER_GAPS * victim.gap + _LINGER, both / 2)

    def _funds(self, now: float) -> float:
        full = _FULL * max((one.load + one.stop for one in self._states.values()), default=0.0)
        if self._budget_at is None:
            self._budget = full
        else:
            self._budget = min(full, self._budget + self.rules.swap_share * (now - self._budget_at))
        self._budget_at = now
        return self._budget

    def _load_the_rest(self, plan: _Plan, now: float) -> None:
        """What no person or program waits for is loaded where nobody else wants the room."""
        for state in self._states.values():
            if state.residency not in _OUT or state.leaving:
                continue
            if state.retry_at is not None and now < state.retry_at:
                continue
            warm = state.facts.warm and not state.kept_out
            task = bool(self._tasks) and state.model == self.rules.task_model
            if (warm or task or state.waiters) and plan.fits_now(state, needs := plan.needs(state)):
                if self._load(state, now):
                    plan.claim(needs)
                    plan.present.append(state)


class _Plan:
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
        self.present = [
            one
            for one in states.values()
            if one.residency in {Residency.IN, Residency.LOADING, Residency.DRAINING, Residency.LEAVING}
        ]
        for one in states.values():
            if one.residency is Residency.LEAVING or (one.residency is Residency.DRAINING and one.owner):
                _add(self.later, self._frees(one, one.level))

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

    def nothing_moves(self) -> bool:
        """Whether no instance is on its way in or out."""
        moving = {Residency.DRAINING, Residency.LEAVING, Residency.LOADING}
        return not any(one.residency in moving for one in self.states.values())

    def victims(self, state: State, needs: dict[str, int], now: float) -> dict[str, Way] | None:
        """Which residents go for a candidate at the least cost; None where no choice would make enough room."""
        free = {
            device: self.later.get(device, 0) - needs.get(device, 0)
            for device in {*self.later, *needs}
            if needs.get(device, 0) > 0
        }
        best: dict[str, Way] | None = None
        for forced in self._forced(state):
            residents = [
                Resident(one.model, ways, one.model in forced or (state.must_make_room and not one.running))
                for one in self.states.values()
                if one is not state and one.model not in self.going and (ways := self._ways(one, now))
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
        if one.facts.pinned or not one.facts.ours or one.leaving or one.owner:
            return ()
        held = self.ledger.holds(one.model)
        if one.residency is Residency.ASLEEP:
            gain = max(0.0, one.load - one.wakes())
            return (Way(None, held, self._weight(one, now) * gain),) if any(held.values()) else ()
        if one.residency is Residency.DRAINING:
            return (Way(one.level, self._frees(one, one.level), _DRAINING_COST),)
        if one.residency is not Residency.IN:
            return ()
        weight = self._weight(one, now)
        ways = [Way(None, held, weight * (one.load + one.stop))]
        ways += [
            Way(level.level, self._frees(one, level.level), weight * (level.wake_seconds + one.stop))
            for level in one.facts.sleeps
        ]
        return tuple(sorted(ways, key=lambda way: way.cost))

    @staticmethod
    def _weight(one: State, now: float) -> float:
        """How likely it is wanted soon."""
        if one.running or one.urgent() is not None:
            return _BUSY
        return 0.1 + 1.0 / (1.0 + (now - max(one.used, one.came)) / _RECENT)

    def _frees(self, one: State, level: int | None) -> dict[str, int]:
        held: dict[str, int] = dict(self.ledger.holds(one.model))
        for sleep in one.facts.sleeps:
            if sleep.level == level:
                for device, size in sleep.holds.items():
                    held[device] = held.get(device, 0) - size
        return held

    def _forced(self, state: State) -> list[set[str]]:
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
