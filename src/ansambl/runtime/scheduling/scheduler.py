"""Ansambl's policy: by bytes, by waiting people, and with a bound on what they wait."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from ansambl.domain.scheduling import RequestClass
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
from ansambl.runtime.scheduling.room import OUT, Room
from ansambl.runtime.scheduling.states import State, Waiter
from ansambl.runtime.slots import Order

_LINGER_GAPS = 3.0
_LINGER = 0.05
_LINGER_SHARE = 0.05
_SHORT = 0.25
_TURN = 6.0
_DEAREST = 4.0
_STAY = 4.0
_OLD = 1.0
_DEBT = 1.0
_FULL = 2.0
"""The swap budget holds at most that many times the cost of a swap."""


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
            state.residency in {*OUT, Residency.LEAVING} and state.urgent() is not None
        )

    # Residency.

    def _plan(self, now: float) -> None:
        candidates = [
            (order, one.added, one)
            for one in self._states.values()
            if one.residency in {Residency.OUT, Residency.ASLEEP, Residency.LEAVING} and (order := one.urgent())
        ]
        candidates.sort(key=lambda one: one[:2])
        plan = Room(self._states, self.ledger, self.rules)
        for order, _, state in candidates:
            self._settle(plan, state, order, now)
        for state in self._states.values():
            if state.residency is Residency.DRAINING and not state.owner and state.model not in plan.going:
                if state.kept_out and state.wanted is None and not state.waiters:
                    continue
                self._undrain(state, now)
        if not any(one.residency in OUT for _, _, one in candidates):
            self._load_the_rest(plan, now)

    def _settle(self, plan: Room, state: State, order: Order, now: float) -> None:
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
        share = self.rules.swap_share
        price = max(cost, min(share * _TURN * max(one.answer for one in busy), cost * _DEAREST)) * (1.0 + share)
        lacks = price - self._funds(now, price)
        when = now + max(0.0, lacks) / share
        oldest = min(one.asked for one in state.waiters.values() if one.ask.request_class.may_swap)
        when = min(when, max(oldest + _OLD * cost, now + max(0.0, lacks - _DEBT * price) / share))
        when = max(when, max(one.came + min(_TURN * one.answer, _STAY * cost) for one in busy))
        if when > now:
            return when + 1e-9
        self._budget -= price
        return now

    def _linger(self, victim: State, cost: float) -> float:
        """Until when an idle instance is kept because its next request is expected in a moment."""
        both = cost + victim.load
        if victim.gap is None or victim.gaps < 2:
            return victim.idle_since
        linger = _LINGER_GAPS * victim.gap + _LINGER
        most = min(both / 2, max(_SHORT, both * _LINGER_SHARE))
        return victim.idle_since + (linger if linger <= most else 0.0)

    def _funds(self, now: float, full: float) -> float:
        if self._budget_at is None:
            self._budget = 0.0
        else:
            self._budget = min(full, self._budget + self.rules.swap_share * (now - self._budget_at))
        self._budget_at = now
        return self._budget

    def _load_the_rest(self, plan: Room, now: float) -> None:
        """What no person or program waits for is loaded where nobody else wants the room."""
        for state in self._states.values():
            if state.residency not in OUT or state.leaving:
                continue
            if state.retry_at is not None and now < state.retry_at:
                continue
            warm = state.facts.warm and not state.kept_out
            task = bool(self._tasks) and state.model == self.rules.task_model
            if (warm or task or state.waiters) and plan.fits_now(state, needs := plan.needs(state)):
                if self._load(state, now):
                    plan.claim(needs)
                    plan.present.append(state)
