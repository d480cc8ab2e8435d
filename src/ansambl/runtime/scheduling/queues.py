"""The requests that wait and the places that they are given: the part of a policy that is near the requests."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from ansambl.runtime.scheduling.ledger import Ledger
from ansambl.runtime.scheduling.records import Ask, Effect, Grant, Memory, Refusal, Refuse, Rules
from ansambl.runtime.scheduling.states import State, Waiter
from ansambl.runtime.slots import Order

_GAPS = 3
"""That many of the last gaps between two requests are remembered."""


class Queues:
    """The instances and the requests that wait for them. Effects are collected until they are asked for."""

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
        self._plan_at: float | None = None
        self._wanted = False
        """Whether a swap waits to be due: an instance that becomes idle, or is served out, decides about it."""
        self._strict = False
        """Nobody is passed over, because others wait for the room."""

    def _order(self, ask: Ask, now: float) -> Order:
        """The turn of a request."""
        del ask
        return (0, now)

    def _serve_others(self, state: State, now: float) -> None:
        """An instance has free places and nobody in its queue."""
        del state, now

    def _done(self) -> list[Effect]:
        found, self._effects = self._effects, []
        return found

    def _wake_at(self, when: float) -> None:
        if when not in self._timers[:1]:
            heapq.heappush(self._timers, when)

    def _plan_later(self, when: float) -> None:
        """Plan again at that time at the latest."""
        if self._plan_at is None or when < self._plan_at:
            self._plan_at = when
            self._wake_at(when)

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
        state.running += len(slots) or max(1, ask.count)
        state.used = now

    @staticmethod
    def _came_back(state: State, now: float) -> None:
        """Note how long after the last answer the next request came, wherever the instance stands by now."""
        if state.ended is not None and not state.waiters:
            state.gaps = (*state.gaps[1 - _GAPS :], now - state.ended)
        state.ended = None

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
