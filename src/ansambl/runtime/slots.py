"""Which slot of an instance a request gets, and who of those that wait is next. Pure: no clock, no I/O.

A slot holds the state of the last prompt that was worked on in it; a request that begins like that prompt has that much
less to read. What is compared are the bytes that the requests sent, so a common beginning is found inside a message,
too: where the roles of one conversation differ by a note at the end of its newest message.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

PASSED_OVER_LIMIT = 4
"""How often a waiting request may be passed over by one that shares more with the slot that got free."""

LONGEST_COMPARED = 2**20
"""Bytes of a prompt that are kept and compared: some 250,000 tokens of text. Images may be many times as long."""

LONGEST_LOOK = 64
"""Of those that wait, how many are compared with a slot that got free: more would take longer than it saves."""

Order: TypeAlias = tuple[int, float]
"""Who comes before whom: first by rank, then by time; of equals the one that asked first."""

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
    version: int = 0
    """Changes with what it holds."""

    def gain(self, prompt: bytes) -> int:
        """Bytes of `prompt` that need not be read again; 0 when more would be lost than that is worth."""
        if not prompt or not self.holds:
            return 0
        shared = common_length(self.holds, prompt)
        return shared if len(self.holds) - shared <= _WORTH * shared else 0


@dataclass(slots=True)
class _Waiting:
    ticket: int
    prompt: bytes
    count: int
    place: tuple[int, float, int]
    passed_over: int = 0
    gains: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By slot, the version of what it held and the gain with that: comparing long prompts takes milliseconds."""

    def gain(self, slot: _Slot) -> int:
        """As `_Slot.gain`."""
        if not self.prompt:
            return 0
        known = self.gains.get(slot.number)
        if known is None or known[0] != slot.version:
            known = self.gains[slot.number] = (slot.version, slot.gain(self.prompt))
        return known[1]


def _place(one: _Waiting) -> tuple[int, float, int]:
    return one.place


@dataclass(frozen=True, slots=True)
class Grant:
    """The request of `ticket` has `slots` now; the first of them shares most with it."""

    ticket: int
    slots: tuple[int, ...]


class Slots:
    """The slots of one instance, and who waits for them; `count` is None where it takes any number and nobody waits.

    Requests are granted in their order (that of arrival, where nothing else is said), but one that shares a beginning
    with a free slot may pass over those of its rank before it; nobody is passed over more than `PASSED_OVER_LIMIT`
    times. One that asks for several slots gets all of them at once; while it is first in line and they are not all
    free, they are kept for it. So two such requests never wait for each other, and every request waits for a bounded
    number of those that come after it in their order. One that asks for 0 slots never waits for another.
    """

    def __init__(self, count: int | None) -> None:
        self.count = count
        self._slots = [_Slot(number) for number in range(count or 0)]
        self._free = len(self._slots)
        self._waiting: list[_Waiting] = []
        self._by_ticket: dict[int, _Waiting] = {}
        self._tickets = 0
        self._uses = 0
        self._placeless = 0
        self._prompted = 0

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    def first(self) -> Order | None:
        """The order of the one that is first in line."""
        return self._waiting[0].place[:2] if self._waiting else None

    def ask(self, prompt: bytes, count: int = 1, *, order: Order = (0, 0.0), ticket: int | None = None) -> int:
        """Wait for `count` slots (at most as many as there are) for `prompt`; returns a ticket, or the one given."""
        self._tickets += 1
        if ticket is None:
            ticket = self._tickets
        one = _Waiting(ticket, prompt[:LONGEST_COMPARED], self._clipped(count), (*order, self._tickets))
        if not self._waiting or self._waiting[-1].place < one.place:
            self._waiting.append(one)
        else:
            self._waiting.insert(bisect_left(self._waiting, one.place, key=_place), one)
        self._by_ticket[ticket] = one
        self._placeless += not one.count
        self._prompted += bool(one.prompt)
        return ticket

    def take_now(self, prompt: bytes, count: int = 1) -> tuple[int, ...] | None:
        """`count` slots for a request that never waited; None where somebody waits, or not so many are free."""
        if self._waiting and count:
            return None
        count = self._clipped(count)
        if self.count is None or not count:
            return ()
        return self._take(prompt, count) if count <= self._free else None

    def withdraw(self, ticket: int) -> bool:
        """Wait no longer; False, and nothing happens, when it does not wait."""
        one = self._by_ticket.get(ticket)
        if one is None:
            return False
        self._remove(one)
        return True

    def give_back(self, slot: int) -> None:
        """The request in `slot` is over; the slot keeps what it holds."""
        if 0 <= slot < len(self._slots) and self._slots[slot].busy:
            self._slots[slot].busy = False
            self._free += 1

    def holds(self, slot: int, prompt: bytes) -> None:
        """Note that `prompt` is being worked on in `slot`."""
        one = self._slots[slot]
        one.holds = prompt[:LONGEST_COMPARED]
        one.version += 1

    def held(self) -> dict[int, bytes]:
        """What each slot holds that holds anything."""
        return {one.number: one.holds for one in self._slots if one.holds}

    def forget(self, keep: Sequence[int] = ()) -> None:
        """All slots but those to `keep` are empty: the engine was started anew."""
        for one in self._slots:
            if one.number not in keep:
                one.holds = b""
                one.version += 1

    def resize(self, count: int | None) -> None:
        """There are other slots now, all of them free and empty; those that wait go on waiting."""
        self.count = count
        self._slots = [_Slot(number) for number in range(count or 0)]
        self._free = len(self._slots)
        for one in self._waiting:
            one.count = self._clipped(one.count)
            one.gains.clear()

    def grants(self, last: Order | None = None, *, strict: bool = False) -> list[Grant]:
        """Give free slots to those that wait, as far as they go; to none whose order is after `last`.

        Where it is `strict` nobody is passed over.
        """
        found: list[Grant] = []
        if self._placeless or self.count is None:
            for one in [one for one in self._waiting if not one.count or self.count is None]:
                self._remove(one)
                found.append(Grant(one.ticket, ()))
        while self._free and self._waiting and (chosen := self._next(last, strict=strict)) is not None:
            for one in self._waiting:
                if one is chosen:
                    break
                one.passed_over += 1
            self._remove(chosen)
            found.append(Grant(chosen.ticket, self._take(chosen.prompt, chosen.count)))
        return found

    def _clipped(self, count: int) -> int:
        return count if self.count is None else max(min(1, count), min(count, self.count))

    def _remove(self, one: _Waiting) -> None:
        del self._by_ticket[one.ticket]
        del self._waiting[0 if self._waiting[0] is one else bisect_left(self._waiting, one.place, key=_place)]
        self._placeless -= not one.count
        self._prompted -= bool(one.prompt)

    def _next(self, last: Order | None, *, strict: bool) -> _Waiting | None:
        first = self._waiting[0]
        if last is not None and first.place[:2] > last:
            return None
        chosen, most = (first if first.count <= self._free else None), 0
        # Without others there is nothing to weigh.
        if len(self._waiting) > 1 and self._prompted and not strict:
            free = [one for one in self._slots if not one.busy and one.holds]
            for one in self._waiting[:LONGEST_LOOK] if free else ():
                if one.place[0] != first.place[0] or (last is not None and one.place[:2] > last):
                    break
                if one.count <= self._free:
                    gain = max(map(one.gain, free))
                    if gain > most:
                        chosen, most = one, gain
                if one.passed_over >= PASSED_OVER_LIMIT:
                    break
        return chosen

    def _take(self, prompt: bytes, count: int) -> tuple[int, ...]:
        taken: list[int] = []
        for _ in range(count):
            best: _Slot | None = None
            # The others get a copy of what the first one holds: there only what is lost matters.
            if prompt and not taken:
                most = 0
                for one in self._slots:
                    if not one.busy and one.holds and (gain := one.gain(prompt)) > most:
                        best, most = one, gain
            if best is None:
                for one in self._slots:
                    if not one.busy and (best is None or (bool(one.holds), one.used) < (bool(best.holds), best.used)):
                        best = one
            if best is None:
                break
            self._uses += 1
            best.busy, best.used = True, self._uses
            self._free -= 1
            taken.append(best.number)
        return tuple(taken)
