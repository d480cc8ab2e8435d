"""What one queue for all would make people wait: how long they may be made to wait for the sake of fewer swaps.

Who collects requests before a swap makes the first of them wait for longer than a plain queue in order of arrival would
have. In heavy traffic that pays for itself: there are fewer swaps in everybody's way, and all wait less. In light
traffic nobody gains by it: the next request comes when all is over. So each request is also put into an imagined queue,
`OneQueue`, which swaps whenever the next one in line needs another model (as `baselines.Fifo` does, with expected
answers and loads), and a swap is held back only as long as the person who waits for it is served no later than there,
or waits no longer than most of what the worst wait there was lately.

It is an estimate: what answers really take is not known before, so somebody may wait longer all the same. Simulated
over 840 random traces of steady light traffic, the longest wait was longer than with `baselines.Fifo` in 103 of them
without this, and in 23 with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import heapreplace

from ansambl.domain.scheduling import RequestClass
from ansambl.runtime.scheduling.budget import LINGER_GAPS, LINGER_SHARE, LINGER_SHORT
from ansambl.runtime.scheduling.ledger import Ledger
from ansambl.runtime.scheduling.records import Ask, InstanceFacts, Residency, Rules
from ansambl.runtime.scheduling.states import State
from ansambl.runtime.slots import Order

SHARE = 0.9
"""Somebody may wait for that part of the worst wait that the imagined queue had lately."""

FADE = 0.999
"""With each request the worst wait counts that much less."""

TAIL = 0.5
"""How careful: 0 expects an answer that runs to take what answers usually take, 1 what the longest ones took lately."""

AGAIN = 0.5
AGAIN_WEIGHT = 0.3
SHORT_PAUSE = 2.0 * LINGER_SHARE / LINGER_GAPS
"""A model is asked again and again where half of its requests came a quarter of a second, or that part of a load, or
less after one of its answers ended: so short a pause is waited for (`budget.linger`), too. Its programs wait for their
answers before they ask: one queue would have slowed them down, so what it would have cost is not to be read from when
they ask."""

_MOST_NOTED = 1000


@dataclass(slots=True)
class _There:
    """A model in the imagined memory: when each of its places is free, when all are, and its turn to go."""

    state: State
    facts: InstanceFacts
    frees: list[float]
    last: float
    used: int = 0


class OneQueue:
    """An imagined queue in order of arrival, over the same memory and places.

    What comes is noted, and booked when a wait is asked for: most requests are served at once by a resident model.
    """

    def __init__(self, states: Mapping[str, State], ledger: Ledger, rules: Rules) -> None:
        self.worst = 0.0
        """The longest wait lately, in seconds."""
        self._states = states
        self._ledger = ledger
        self._rules = rules
        self._noted: list[tuple[float, State, int]] = []
        self._there: dict[str, _There] = {}
        self._seen: set[str] = set()
        self._opens = 0.0
        """Nobody is served before that time, because of a swap for one who came earlier."""
        self._uses = 0
        self._last = 0.0

    def note(self, state: State, ask: Ask, now: float) -> None:
        """A request came, of any class: one queue makes no difference between them."""
        if state.left is not None and ask.request_class.may_swap:
            pause = now - state.left
            state.again += AGAIN_WEIGHT * ((pause <= LINGER_SHORT or pause <= SHORT_PAUSE * state.load) - state.again)
        self._noted.append((now, state, ask.count))
        if len(self._noted) >= _MOST_NOTED:
            self.wait()

    def wait(self) -> float:
        """Seconds that the last request would wait that was noted."""
        last, worst, opens, longest = self._last, self.worst, self._opens, self._rules.longest_wait
        for now, state, count in self._noted:
            one = self._there.get(state.facts.model)
            if one is None or one.facts is not state.facts:
                self._opens = opens
                one = self._bring(one, state, now)
                opens = self._opens
            begins, frees = max(now, opens), one.frees
            if count and frees and frees[0] > begins:
                begins = frees[0]
            found = begins - now
            worst *= FADE
            if found > worst:
                worst = min(found, longest)
                if found >= longest:
                    # It would be refused there.
                    last = longest
                    continue
            ends = begins + state.answer
            if count == 1 and frees:
                heapreplace(frees, ends)
            else:
                for _ in range(min(count, len(frees))):
                    heapreplace(frees, ends)
            one.last = max(one.last, ends)
            self._uses = one.used = self._uses + 1
            last = found
        self._noted.clear()
        self.worst, self._opens, self._last = worst, opens, last
        return last

    def _bring(self, old: _There | None, state: State, now: float) -> _There:
        """Have a model in the imagined memory: who was used longest ago goes for it when all before were answered."""
        places = state.slots.count or 0
        if old is not None and old.state is state:
            # What is known of it changed.
            old.facts, old.frees = state.facts, [old.last] * places
            return old
        for name in [name for name, one in self._there.items() if self._states.get(name) is not one.state]:
            del self._there[name]
        begins, stop = max(now, self._opens), 0.0
        going = self._going(state)
        for name in going:
            one = self._there.pop(name)
            begins, stop = max(begins, one.last), max(stop, one.state.stop)
        model = state.facts.model
        if state.facts.ours and (going or model in self._seen or state.residency is not Residency.IN):
            begins += stop + min([state.load, *(one.wake_seconds for one in state.facts.sleeps)])
            self._opens = begins
        self._seen.add(model)
        found = self._there[model] = _There(state, state.facts, [begins] * places, begins)
        return found

    def _going(self, state: State) -> list[str]:
        """The models that go for another one."""
        grouped = {name for one in self._rules.together for name in one}
        left = {device: self._ledger.usable(device) - size for device, size in state.needs.items() if size > 0}
        for one in self._there.values():
            for device in left:
                left[device] -= one.state.needs.get(device, 0)
        going = []
        for name, one in sorted(self._there.items(), key=lambda item: item[1].used):
            apart = {name, state.model} <= grouped and not any(
                {name, state.model} <= group for group in self._rules.together
            )
            helps = any(size < 0 and one.state.needs.get(device, 0) > 0 for device, size in left.items())
            if (apart or helps) and one.facts.ours and not one.facts.pinned:
                going.append(name)
                for device in left:
                    left[device] += one.state.needs.get(device, 0)
        return going

    def press(self, candidates: Sequence[tuple[Order, int, State]]) -> None:
        """Note when the swap for each candidate must be through with its victims (`State.latest`).

        That is so that its first person, and those of the candidates after it, wait no longer than they may. Programs
        that send batches are used to waiting.
        """
        after = float("inf")
        for _, _, state in reversed(candidates):
            state.latest = after
            for one in state.waiters.values():
                if one.ask.request_class is RequestClass.INTERACTIVE:
                    served = one.asked + max(one.fair, SHARE * self.worst)
                    state.latest = min(after, served - state.wakes())
                    break
            after = state.latest - state.stop - state.wakes() - state.answer


def goes_within(state: State) -> float:
    """Seconds that a resident which works on an answer takes to be gone, expected with some caution."""
    return state.stop + state.answer + TAIL * max(0.0, state.longest - state.answer)


def in_a_loop(victims: Sequence[State]) -> bool:
    """Whether all of these are asked again and again by programs that wait for each answer; so it is until known."""
    return all(one.again >= AGAIN for one in victims)
