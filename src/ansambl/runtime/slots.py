"""Which slot of an instance a request gets, and who of those that wait is next. Pure: no clock, no I/O.

A slot holds the state of the last prompt that was worked on in it; a request that begins like that prompt has that much
less to read. What is compared are the bytes that the requests sent, so a common beginning is found inside a message,
too: where the roles of one conversation differ by a note at the end of its newest message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PASSED_OVER_LIMIT = 4
"""How often a waiting request may be passed over by one that shares more with the slot that got free."""

LONGEST_COMPARED = 2**20
"""Bytes of a prompt that are kept and compared: some 250,000 tokens of text. Images may be many times as long."""

_WORTH = 2
"""A slot is taken for what it shares when at most that many times as much of what it holds is lost by it."""


def common_length(one: bytes, other: bytes) -> int:
    """How many bytes `one` and `other` have in common at their beginning."""
    end = min(len(one), len(other))
    if one[:end] == other[:end]:
        return end
    same = 0
    while end - same > 1:
        middle = (same + end) // 2
        if one[same:middle] == other[same:middle]:
            same = middle
        else:
            end = middle
    return same


@dataclass(slots=True)
class _Slot:
    number: int
    holds: bytes = b""
    used: int = 0
    busy: bool = False

    def gain(self, prompt: bytes) -> int:
        """Bytes of `prompt` that need not be read again; 0 when more would be lost than that is worth."""
        shared = common_length(self.holds, prompt)
        return shared if len(self.holds) - shared <= _WORTH * shared else 0


@dataclass(slots=True)
class _Waiting:
    ticket: int
    prompt: bytes
    count: int
    passed_over: int = 0


@dataclass(frozen=True, slots=True)
class Grant:
    """The request of `ticket` has `slots` now; the first of them shares most with it."""

    ticket: int
    slots: tuple[int, ...]


class Slots:
    """The slots of one instance.

    Requests are granted in order of arrival, but one that shares a beginning with a free slot may pass over those
    before it; nobody is passed over more than `PASSED_OVER_LIMIT` times. One that asks for several slots gets all of
    them at once; while it is first in line and they are not all free, they are kept for it. So two such requests never
    wait for each other, and every request waits for a bounded number of others.
    """

    def __init__(self, count: int) -> None:
        self._slots = [_Slot(number) for number in range(count)]
        self._waiting: list[_Waiting] = []
        self._tickets = 0
        self._uses = 0

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    def ask(self, prompt: bytes, count: int = 1) -> int:
        """Wait for `count` slots (at most as many as there are) for `prompt`; returns a ticket."""
        self._tickets += 1
        self._waiting.append(_Waiting(self._tickets, prompt[:LONGEST_COMPARED], max(1, min(count, len(self._slots)))))
        return self._tickets

    def withdraw(self, ticket: int) -> None:
        """Wait no longer; nothing happens when it was granted already."""
        self._waiting = [one for one in self._waiting if one.ticket != ticket]

    def give_back(self, slot: int) -> None:
        """The request in `slot` is over; the slot keeps what it holds."""
        self._slots[slot].busy = False

    def holds(self, slot: int, prompt: bytes) -> None:
        """Note that `prompt` is being worked on in `slot`."""
        self._slots[slot].holds = prompt[:LONGEST_COMPARED]

    def held(self) -> dict[int, bytes]:
        """What each slot holds that holds anything."""
        return {one.number: one.holds for one in self._slots if one.holds}

    def forget(self, keep: Sequence[int] = ()) -> None:
        """All slots but those to `keep` are empty: the engine was started anew."""
        for one in self._slots:
            if one.number not in keep:
                one.holds = b""

    def grants(self) -> list[Grant]:
        """Give free slots to those that wait, as far as they go."""
        found: list[Grant] = []
        while (chosen := self._next()) is not None:
            for one in self._waiting:
                if one is chosen:
                    break
                one.passed_over += 1
            self._waiting.remove(chosen)
            found.append(Grant(chosen.ticket, self._take(chosen)))
        return found

    def _next(self) -> _Waiting | None:
        free = [one for one in self._slots if not one.busy]
        if not free or not self._waiting:
            return None
        first = self._waiting[0]
        chosen, most = (first if first.count <= len(free) else None), 0
        # Without others there is nothing to weigh.
        if len(self._waiting) > 1:
            for one in self._waiting:
                gain = max(slot.gain(one.prompt) for slot in free)
                if one.count <= len(free) and gain > most:
                    chosen, most = one, gain
                if one.passed_over >= PASSED_OVER_LIMIT:
                    break
        return chosen

    def _take(self, request: _Waiting) -> tuple[int, ...]:
        taken: list[int] = []
        for _ in range(request.count):
            free = [one for one in self._slots if not one.busy]
            # The others get a copy of what the first one holds: there only what is lost matters.
            best = max(free, key=lambda one: one.gain(request.prompt) if not taken else 0)
            if taken or not best.gain(request.prompt):
                best = min(free, key=lambda one: (bool(one.holds), one.used))
            self._uses += 1
            best.busy, best.used = True, self._uses
            taken.append(best.number)
        return tuple(taken)
