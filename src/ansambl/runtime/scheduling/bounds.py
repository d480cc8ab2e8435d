"""How long a request waits at most, and how long it is expected to.

**Theorem.** Let a request of class interactive or batch wait for an instance, and let no request come any more that is
before it in order: that holds from its arrival for an interactive one, and from `Rules.batch_delay` later for a batch
one. Sort the requests that wait before it, on all instances, by their order, it last; they form *runs*, each of
requests that are next to each other and wait for the same instance. As long as answers take at most A, loads and stops
what they are expected to take, nobody else takes memory, nothing crashes and no owner has an instance rest, it is
granted within the sum of

* for the first run, if its instance is resident: n * A
* for each other run: M + H + A + S + L + (n - 1) * A
* for its own run: 4 * A more, for those that may pass over it because they share more with a slot

with n the rounds of a run, which are its requests divided by the places and rounded up (its requests, where one of them
wants several places), L the load of its instance, S the longest stop, M the longest load or stop (one that is under
way), and H what a swap's price may hold it back at most (`SwapBudget.longest_hold`). So there are never more swaps
before it than runs.

**Why.** Of all that wait, let h be the first in order. If its instance is resident it is not drained: no candidate is
before h, and an instance is not drained for a candidate while requests before that one's wait for it. So h waits for a
place, which takes A at most. If its instance is not resident, it is the first candidate, and may have all memory that
is not pinned. What is loading or leaving is there after M; its victims have no requests before h, so only the price
holds it back, for H at most; then they are drained (A) and stopped (S), and it loads (L): h has a place at once. The
requests of its run are served before it is drained for anybody, so a run needs one swap at most. (Where `one_queue` has
somebody's swap begin earlier, that only shortens H; and who is held up for it at the end of a load is after that one in
order, so in a later run.) Nobody is passed over
while a request waits for an instance that is not resident; and if none before ours does, none ever will, and only those
count that wait for the same instance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil

from ansambl.runtime.scheduling.budget import SwapBudget
from ansambl.runtime.scheduling.records import Residency, Rules
from ansambl.runtime.scheduling.states import State
from ansambl.runtime.slots import PASSED_OVER_LIMIT, Order


def longest_wait(
    states: Mapping[str, State], budget: SwapBudget, model: str, count: int, order: Order, rules: Rules
) -> float:
    """Seconds within which a request of that order for `model` is granted: the theorem above."""
    ours = [one for one in states.values() if one.facts.ours]
    stop = max((one.stop for one in ours), default=0.0)
    moving = max([stop, *(max(one.load, one.wakes()) for one in ours)])
    total = 0.0
    runs = _runs(states.values(), model, count, order)
    for index, (name, counts) in enumerate(runs):
        state = states[name]
        swaps = state.facts.ours and (index > 0 or state.residency is not Residency.IN)
        if swaps:
            load = max(state.load, state.wakes())
            # All others may have to go for it.
            cost = load + sum(one.stop for one in ours if one is not state)
            hold = budget.longest_hold(cost, budget.price(cost, ours, rules.longest_answer))
            total += moving + hold + rules.longest_answer + stop + load
        if (places := state.slots.count) is not None:
            before = len(counts) + (PASSED_OVER_LIMIT if index == len(runs) - 1 else 0)
            rounds = ceil(before / places) if max(counts) <= 1 else before
            total += (rounds - swaps) * rules.longest_answer
    return total


def _runs(states: Iterable[State], model: str, count: int, order: Order) -> list[tuple[str, list[int]]]:
    """The requests before one of that order, and it: for each run its instance and the places that they ask for."""
    waiting = [
        (one.order, one.ticket, state.model, one.ask.count)
        for state in states
        for one in state.waiters.values()
        if one.order <= order
    ]
    runs: list[tuple[str, list[int]]] = []
    for _, _, name, wanted in [*sorted(waiting), (order, 0, model, count)]:
        if runs and runs[-1][0] == name:
            runs[-1][1].append(wanted)
        else:
            runs.append((name, [wanted]))
    return runs


def expected_wait(states: Mapping[str, State], budget: SwapBudget, model: str, now: float, rules: Rules) -> float:
    """Seconds that a new request for `model` is expected to wait: by what answers, loads and stops took so far.

    Requests are served together before a swap, so each other instance that is waited for has one turn before.
    """
    state = states[model]
    total = _serving(state)
    if state.residency is Residency.IN:
        return total
    if state.residency is Residency.LOADING:
        return total + max(0.0, state.load_ends - now)
    total += state.wakes()
    others = [one for one in states.values() if one is not state and one.facts.ours]
    busy = [one for one in others if one.busy]
    if not busy:
        return total
    stop = max(one.stop for one in busy)
    cost = state.wakes() + stop
    price = budget.price(cost, busy)
    hold = budget.longest_hold(cost, price)
    total += stop + max((one.answer for one in busy if one.running), default=0.0)
    for one in busy:
        if one.urgent() is not None and one.residency is not Residency.IN:
            total += max(hold, _serving(one)) + one.wakes() + one.stop
    waited = now - state.due_since if state.due_since is not None else 0.0
    lacks = max([0.0, *(price - budget.balances.get(device, (price, now))[0] for device in state.needs)])
    return total + max(0.0, min(hold - waited, lacks / rules.swap_share))


def _serving(state: State) -> float:
    """Seconds until those that wait now for an instance have their places, once it is resident."""
    if state.slots.count is None:
        return 0.0
    before = sum(count for one, count in state.by_class.items() if one.may_swap)
    return ceil(before / state.slots.count) * state.answer
