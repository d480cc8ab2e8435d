"""Ansambl's policy: by bytes, by waiting people, and with a bound on what they wait.

* A request for a resident model is served at once; what is not resident is loaded where there is room for it.
* Else requests are collected, and their model is a *candidate*: candidates get memory in the order of their oldest
  requests, so that nobody is overtaken in memory, and each chooses whom it costs least to bring back (`eviction`).
* Idle models go at once. Models in use go when the requests before the candidate's are served and the swap is worth
  its price (`budget`), and at the latest when a person would else wait longer than in one queue in order of arrival
  (`one_queue`); then they are drained.
* Tasks and background requests cause none of this. How long all others wait at most is stated and proven in `bounds`.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ansambl.domain.scheduling import RequestClass
from ansambl.runtime.scheduling.bounds import expected_wait, longest_wait
from ansambl.runtime.scheduling.budget import SwapBudget, linger
from ansambl.runtime.scheduling.eviction import Way
from ansambl.runtime.scheduling.ledger import Ledger
from ansambl.runtime.scheduling.machinery import Machinery
from ansambl.runtime.scheduling.one_queue import OneQueue, goes_within, in_a_loop
from ansambl.runtime.scheduling.records import (
    Ask,
    Effect,
    Grant,
    InstanceView,
    Memory,
    Refusal,
    Refuse,
    Residency,
    Rules,
)  # fmt: skip
from ansambl.runtime.scheduling.room import OUT, Room
from ansambl.runtime.scheduling.states import State, Waiter
from ansambl.runtime.slots import Order

_MOMENT = 1e-6
"""Seconds by which sums of times may differ from each other."""


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
        self.budget = SwapBudget(self.rules)
        self._one_queue = OneQueue(self._states, ledger, self.rules)

    def view(self, model: str) -> InstanceView:
        """As `Policy.view`; tasks that wait count for the model that they name."""
        found = super().view(model)
        tasks = sum(1 for one in self._tasks.values() if one.ask.model == model)
        if not tasks:
            return found
        classes = {**found.waiting_by_class, RequestClass.TASK: tasks}
        return replace(found, waiting=found.waiting + tasks, waiting_by_class=classes)

    def next_time(self) -> float | None:
        """As `Policy.next_time`."""
        while self._expiries and not (self._expiries[0][1] in self._homes or self._expiries[0][1] in self._tasks):
            heapq.heappop(self._expiries)
        found = super().next_time()
        if self._expiries and (found is None or self._expiries[0][0] < found):
            return self._expiries[0][0]
        return found

    # Classes.

    def _came(self, state: State, ask: Ask, now: float) -> None:
        self._one_queue.note(state, ask, now)

    def _order(self, ask: Ask, now: float) -> Order:
        if ask.request_class is RequestClass.BATCH:
            return (0, now + self.rules.batch_delay)
        return (0, now) if ask.request_class.may_swap else (1, now)

    def _enqueue(self, ticket: int, state: State, ask: Ask, now: float) -> Waiter:
        one = super()._enqueue(ticket, state, ask, now)
        if ask.request_class.may_swap:
            one.fair = self._one_queue.wait()
        else:
            patience = self.rules.background_patience if ask.patience is None else ask.patience
            one.expires = now + patience
            heapq.heappush(self._expiries, (one.expires, ticket))
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

    def bound_of(self, ticket: int) -> float | None:
        """Seconds within which a waiting request is granted if none comes before it any more; None for all others.

        See `bounds`.
        """
        state = self._states.get(self._homes.get(ticket, ""))
        if state is None or state.waiters[ticket].order[0]:
            return None
        one = state.waiters[ticket]
        return longest_wait(self._states, self.budget, state.model, one.ask.count, one.order, self.rules)

    def _admit(self, state: State, ask: Ask, now: float) -> tuple[Refusal, float] | None:
        if (full := super()._admit(state, ask, now)) is not None or not ask.request_class.may_swap:
            return full
        expected = expected_wait(self._states, self.budget, state.model, now, self.rules)
        if expected > self.rules.longest_wait:
            return Refusal.TOO_LONG, expected - self.rules.longest_wait
        return None

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
        special = self._states.get(self.rules.task_model or "")
        if special is not None and special.residency in OUT and not self._someone_wants_room():
            self._load_the_rest(Room(self._states, self.ledger, self.rules), now)
        for task in [one for one in self._tasks.values() if one.ready <= now]:
            ask, hopeless = task.ask, True
            for state in self._answerers(ask):
                hopeless = False
                if state.resident and not state.slots.waiting:
                    taken = state.slots.take_now(ask.prompt, ask.count)
                    if taken is not None:
                        del self._tasks[task.ticket]
                        self._begin(state, ask, taken, now)
                        self._effects.append(Grant(task.ticket, state.model, taken))
                        break
            if hopeless:
                del self._tasks[task.ticket]
                self._effects.append(Refuse(task.ticket, Refusal.NO_MODEL_FOR_TASK))

    def _someone_wants_room(self) -> bool:
        return any(one.residency in OUT and one.urgent() is not None for one in self._states.values())

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
        candidates = self._candidates()
        self._wanted, self._strict = False, bool(candidates)
        plan = Room(self._states, self.ledger, self.rules)
        for order, _, state in candidates:
            self._settle(plan, state, order, now)
            if not state.waiters:
                # It was refused, and what it claimed is for the others.
                self._plan(now)
                return
        for state in self._states.values():
            if state.residency is Residency.DRAINING and not state.owner and state.model not in plan.going:
                self._undrain(state, now)
        if not any(one.residency in OUT for _, _, one in candidates):
            self._load_the_rest(plan, now)

    def _candidates(self) -> list[tuple[Order, int, State]]:
        """Who is not there and is waited for, in the order in which they get room."""
        found = [
            (order, one.added, one)
            for one in self._states.values()
            if one.residency in {Residency.OUT, Residency.ASLEEP, Residency.LEAVING} and (order := one.urgent())
        ]
        if found:
            found.sort(key=lambda one: one[:2])
            self._one_queue.press(found)
        return found

    def loaded(
        self, model: str, now: float, *, holds: Memory | None = None, seconds: float | None = None
    ) -> Sequence[Effect]:
        """As `Policy.loaded`; where others cannot wait for longer, who came after them does not begin before them."""
        state = self._states.get(model)
        if state is not None and state.slots.waiting:
            pressed = [
                order for order, _, one in self._candidates() if one.latest - goes_within(state) <= now + _MOMENT
            ]
            self._hold = min(pressed, default=None)
        effects = super().loaded(model, now, holds=holds, seconds=seconds)
        if self._hold is None:
            return effects
        self._hold = None
        for one in self._states.values():
            if one.resident:
                self._serve(one, now)
        return [*effects, *self._done()]

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
        alone, choice = plan.first, plan.victims(state, needs, now)
        plan.claim(needs)
        if choice is not None:
            plan.let_go(choice)
        if choice:
            self._make_room(plan, state, order, choice, now)
        elif alone and plan.nothing_moves():
            if choice is None:
                # Only what it cannot have is in its way.
                if not self._refuse_misfits(state, now):
                    self._refuse_all(state, Refusal.DOES_NOT_FIT)
            elif state.must_make_room:
                state.must_make_room = False
                self._load(state, now)

    def _make_room(self, plan: Room, state: State, order: Order, choice: dict[str, Way], now: float) -> None:
        """Have those go that were chosen, when that is due."""
        fresh = []
        for one in (self._states[name] for name in choice):
            if one.residency is Residency.DRAINING and (first := one.urgent()) is not None and first < order:
                # A batch request had it drained, and then one came that is before it.
                self._undrain(one, now)
            if one.residency in {Residency.IN, Residency.ASLEEP}:
                fresh.append(one)
        if not fresh:
            return
        self._wanted = True
        when = self._due(plan, state, order, [one for one in fresh if one.resident], now)
        if when is None:
            return
        if when > now:
            self._plan_later(when)
            return
        for one in fresh:
            one.blocks = None
            if one.resident:
                state.swaps += 1
                self._drain(one, choice[one.model].level, state.model, now)
            else:
                one.wanted = state.model
                self._rest(one, now)

    def _due(self, plan: Room, state: State, order: Order, victims: list[State], now: float) -> float | None:
        """When a swap may begin; None where requests that come before it must be served first."""
        cost = state.wakes() + sum(one.stop for one in victims)
        busy = [one for one in victims if one.busy]
        for one in busy:
            first = one.urgent()
            if first is not None and first < order:
                one.blocks = order
                return None
        if state.due_since is None:
            state.due_since = now
        if not busy:
            kept = max((linger(one, cost) for one in victims), default=now)
            price = self.budget.price(cost, victims) if victims else 0.0
            if not in_a_loop(victims):
                kept = min(kept, max(now, state.latest - max((one.stop for one in victims), default=0.0)))
            return min(kept, state.due_since + self.budget.longest_hold(cost, price))
        if not plan.saving.isdisjoint(plan.short):
            return None
        when, price = self.budget.due(state, busy, plan.short, cost, now)
        if not in_a_loop(busy):
            when = min(when, state.latest - max(goes_within(one) if one.running else one.stop for one in victims))
        if when > now:
            plan.saving.update(plan.short)
            return when + 1e-9
        self.budget.pay(plan.short, price, now)
        return now

    def _load_the_rest(self, plan: Room, now: float) -> None:
        """What no person or program waits for is loaded where nobody else wants the room."""
        for state in self._states.values():
            if state.residency not in OUT or state.leaving:
                continue
            if state.retry_at is not None and now < state.retry_at:
                self._plan_later(state.retry_at)
                continue
            wanted = (
                bool(state.waiters)
                or (state.facts.warm and not state.kept_out)
                or (bool(self._tasks) and state.model == self.rules.task_model)
            )
            if wanted and plan.fits_now(state, needs := plan.needs(state)) and self._load(state, now):
                plan.claim(needs)
                plan.present.append(state)
