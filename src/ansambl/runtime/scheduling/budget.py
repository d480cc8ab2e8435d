"""When a swap of busy models is worth its cost: a budget of seconds for swaps, and a turn for who is resident.

A swap of idle models costs nobody anything but its own request. One that takes memory from models in use stops their
requests, too; with clients that ask again and again it would be the next one's turn at once, and nothing would be done
but swapping. So such swaps have a price, in seconds, which is paid from a budget that fills by `Rules.swap_share` for
each second that goes by; in light load it is full, and then a swap is as quick as it can be.

The figures were found by simulation over some hundred random traces (Poisson, bursts and sessions, two to five models,
loads of 2 to 30 s, one to eight places), where they gave the shortest waits, the longest ones included.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from ansambl.runtime.scheduling.records import Rules
from ansambl.runtime.scheduling.states import State

TURN_ANSWERS = 8.0
"""A turn is worth about that many answers of the model that has it, where its swap is cheap."""

DEAREST = 5.0
"""But a swap is never priced higher than that many times what it costs, however long the answers are."""

SHORTEST_STAY = 6.0
"""A model stays resident while it is in use for its turn, but no longer than that many times what the swap costs."""

OLD = 1.0
"""A request that waited that many times what its swap costs may have it on credit."""

CREDIT = 1.0
"""The credit, as a multiple of the price."""

HOLD_SHARE = 0.25
"""A swap is never held back longer than this part of `Rules.longest_wait`."""

LINGER_GAPS = 3.0
LINGER_MORE = 0.05
LINGER_SHARE = 0.05
LINGER_SHORT = 0.25
LINGER_UNKNOWN = 0.1
"""A model that became idle is kept for three times the longest of its last gaps and 50 ms, where that is at most 5 % of
what swapping it out and back costs, or a quarter of a second: programs that ask again and again come back within
milliseconds. While no gap is known it is kept for a tenth of a second."""


@dataclass(slots=True)
class SwapBudget:
    """What swaps may cost, by the device on which they need room: other devices are not concerned."""

    rules: Rules
    balances: dict[str, tuple[float, float]] = field(default_factory=dict)

    def price(self, cost: float, busy: Sequence[State], answer: float | None = None) -> float:
        """What a swap that takes `cost` seconds pays for stopping `busy` instances: at least what their turn fills in.

        `answer` stands for how long their answers take where that is not what they took so far.
        """
        share = self.rules.swap_share
        longest = max(one.answer for one in busy) if answer is None else answer
        return max(cost, min(share * TURN_ANSWERS * longest, DEAREST * cost)) * (1.0 + share)

    def longest_hold(self, cost: float, price: float) -> float:
        """How long the price, and the turn of those that are resident, hold a swap back at most."""
        hold = max(price / self.rules.swap_share, SHORTEST_STAY * cost, OLD * cost, LINGER_SHORT)
        return min(hold, HOLD_SHARE * self.rules.longest_wait)

    def missing(self, devices: Collection[str], price: float, now: float) -> float:
        """What lacks of the price."""
        return max([0.0, *(price - self._balance(one, price, now) for one in devices)])

    def pay(self, devices: Collection[str], price: float, now: float) -> None:
        """A swap begins."""
        for one in devices:
            self.balances[one] = (max(self._balance(one, price, now) - price, -CREDIT * price), now)

    def _balance(self, device: str, price: float, now: float) -> float:
        balance, since = self.balances.get(device, (price, now))
        balance = min(price, balance + self.rules.swap_share * (now - since))
        self.balances[device] = (balance, now)
        return balance

    def due(
        self, state: State, busy: Sequence[State], devices: Collection[str], cost: float, now: float
    ) -> tuple[float, float]:
        """When the swap for `state` may begin that stops `busy` instances, and its price."""
        share, price = self.rules.swap_share, self.price(cost, busy)
        lacks = self.missing(devices, price, now)
        since = state.due_since if state.due_since is not None else now
        oldest = min(one.asked for one in state.waiters.values() if one.ask.request_class.may_swap)
        on_credit = max(oldest + OLD * cost, now + max(0.0, lacks - CREDIT * price) / share)
        when = min(now + lacks / share, on_credit)
        when = max(when, *(one.came + min(TURN_ANSWERS * one.answer, SHORTEST_STAY * cost) for one in busy))
        return min(when, since + self.longest_hold(cost, price)), price


def linger(victim: State, cost: float) -> float:
    """Until when an idle instance is kept because its next request is expected in a moment."""
    both = cost + victim.load
    if not victim.gaps:
        return victim.idle_since + min(both / 2, LINGER_UNKNOWN)
    seconds = LINGER_GAPS * max(victim.gaps) + LINGER_MORE
    most = LINGER_SHORT if len(victim.gaps) < 3 else max(LINGER_SHORT, LINGER_SHARE * both)
    return victim.idle_since + (seconds if seconds <= min(both / 2, most) else 0.0)
