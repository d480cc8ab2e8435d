"""How much a key may ask for, and what it has used: windows that slide, counted in slots. Pure; the time is passed in.

The promise of a `Window` of N by P seconds: on a clock that does not go back, the amounts that were taken within any P
seconds are never more than N when each was asked for first (`room`). It is kept by counting more than the window: a
window is divided into `SLOTS` slots, and what lies in any slot that it touches counts as a whole. The price is that
room comes back late by at most P/`SLOTS`. A fixed window that starts anew would let 2N through around its edge, and a
token bucket N more than its rate; a list of times would promise the same without delay, but a million requests a day
are a million numbers for each key.

Requests are taken before they are answered. What tokens an answer costs is known when it ends: it is added then, may go
over the limit, and the next request is refused. So within any P seconds a key uses at most N tokens and those of the
answers that were being made when it reached N.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from ansambl.access.rates import Rate
from ansambl.domain.errors import AnsamblError
from ansambl.domain.text import Text, text
from ansambl.domain.units import format_seconds

SLOTS = 50
"""Slots of a window. It divides a second into a whole number of microseconds."""

_TICKS = 1_000_000
Headers = list[tuple[bytes, bytes]]


class HeaderStyle(Enum):
    """Whose names the headers of limits have."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of one limit: `reset` is when all of it is there again, in seconds since the epoch."""

    limit: int
    remaining: int
    reset: float


@dataclass(frozen=True, slots=True)
class Allowances:
    """What is left of the limits of a key; None where there is none. Of several the tightest one."""

    now: float
    requests: Allowance | None = None
    tokens: Allowance | None = None

    def headers(self, style: HeaderStyle) -> Headers:
        """As headers that clients know.

        OpenAI's are documented with durations ("1s", "6m0s") until the reset, Anthropic's with the moment (RFC 3339).
        """
        found: Headers = []
        for name, one in ((b"requests", self.requests), (b"tokens", self.tokens)):
            if one is None:
                continue
            limit, left = b"%d" % one.limit, b"%d" % one.remaining
            if style is HeaderStyle.OPENAI:
                found += [
                    (b"x-ratelimit-limit-" + name, limit), (b"x-ratelimit-remaining-" + name, left),
                    (b"x-ratelimit-reset-" + name, duration(one.reset - self.now).encode()),
                ]  # fmt: skip
            else:
                start = b"anthropic-ratelimit-" + name
                found += [(start + b"-limit", limit), (start + b"-remaining", left), (start + b"-reset", _moment(one))]
        return found


def _moment(one: Allowance) -> bytes:
    return datetime.fromtimestamp(math.ceil(one.reset), UTC).strftime("%Y-%m-%dT%H:%M:%SZ").encode()


def duration(seconds: float) -> str:
    """A time as OpenAI writes it: ``0.12 -> "120ms"``, ``1 -> "1s"``, ``360 -> "6m0s"``, ``3723 -> "1h2m3s"``."""
    if seconds < 1:
        return f"{max(0, math.ceil(seconds * 1000))}ms" if seconds > 0 else "0s"
    left = math.ceil(seconds)
    hours, minutes = left // 3600, left % 3600 // 60
    start = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{start}{left % 60}s"


class LimitReachedError(AnsamblError):
    """A limit of a key is reached.

    `retry_after` is in seconds, `allowances` what is left of all limits; `key` is the id of the key, None where it is
    not known.
    """

    key: str | None = None
    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"

    def __init__(self, message: Text, *, retry_after: int, allowances: Allowances) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.allowances = allowances


class Window:
    """What was used within the last period of one `rate`."""

    __slots__ = ("_slots", "_total", "_width", "rate")

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._width = rate.period * _TICKS // SLOTS
        self._slots: deque[list[int]] = deque()
        self._total = 0

    def used(self, now: float) -> int:
        """What counts at this moment."""
        current, slots = int(now * _TICKS) // self._width, self._slots
        while slots and slots[0][0] < current - SLOTS:
            self._total -= slots.popleft()[1]
        if slots and slots[-1][0] > current:
            self._turn_back(current)
        return self._total

    def room(self, now: float) -> int:
        """How much more may be used at this moment; never less than 0."""
        return max(0, self.rate.amount - self.used(now))

    def add(self, amount: int, now: float) -> None:
        """Count what is used at this moment."""
        self.used(now)
        current = int(now * _TICKS) // self._width
        if self._slots and self._slots[-1][0] == current:
            self._slots[-1][1] += amount
        else:
            self._slots.append([current, amount])
        self._total += amount

    def free_at(self, now: float) -> float:
        """When there is room again: now where there is."""
        over = self.used(now) - self.rate.amount
        for index, amount in self._slots:
            if over < 0:
                break
            over -= amount
            if over < 0:
                return self._gone_at(index)
        return now

    def empty_at(self, now: float) -> float:
        """When all of it is there again."""
        self.used(now)
        return self._gone_at(self._slots[-1][0]) if self._slots else now

    def rows(self) -> list[tuple[int, int]]:
        """What is counted, to be kept: moments (in microseconds, multiples of a slot) and amounts."""
        return [(index * self._width, amount) for index, amount in self._slots]

    def restore(self, rows: Iterable[tuple[int, int]], now: float) -> None:
        """Count again what `rows` gave earlier. What seems to lie ahead is counted as of now."""
        for moment, amount in sorted(rows):
            if amount > 0:
                self._slots.append([moment // self._width, amount])
                self._total += amount
        self.used(now)

    def _gone_at(self, index: int) -> float:
        return (index + SLOTS + 1) * self._width / _TICKS

    def _turn_back(self, current: int) -> None:
        """The clock was put back: what lies ahead of it now counts from now, so that the promise holds on it, too."""
        moved = 0
        while self._slots and self._slots[-1][0] >= current:
            moved += self._slots.pop()[1]
        self._slots.append([current, moved])


class Account:
    """What one key has used. `changed` tells whether anything was counted since it was last set to False."""

    __slots__ = ("_requests", "_tokens", "changed")

    def __init__(self, requests: Iterable[Rate], tokens: Iterable[Rate]) -> None:
        self._requests = tuple(map(Window, requests))
        self._tokens = tuple(map(Window, tokens))
        self.changed = False

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return bool(self._requests or self._tokens)

    def take(self, now: float) -> None:
        """Count a request.

        Raises:
            LimitReachedError: a limit of requests or of tokens is reached; nothing is counted.
        """
        if any(not one.room(now) for one in (*self._requests, *self._tokens)):
            raise self._refused(now)
        for one in self._requests:
            one.add(1, now)
        self.changed = True

    def spend(self, tokens: int, now: float) -> None:
        """Count tokens that an answer has cost."""
        if tokens > 0:
            for one in self._tokens:
                one.add(tokens, now)
            self.changed = True

    def allowances(self, now: float) -> Allowances:
        """What is left."""
        return Allowances(now, _tightest(self._requests, now), _tightest(self._tokens, now))

    def rows(self) -> list[tuple[str, int, int, int]]:
        """What is counted, to be kept: kind, period in seconds, moment, amount."""
        return [
            (kind, one.rate.period, moment, amount)
            for kind, windows in (("requests", self._requests), ("tokens", self._tokens))
            for one in windows
            for moment, amount in one.rows()
        ]

    def restore(self, rows: Iterable[tuple[str, int, int, int]], now: float) -> None:
        """Count again what `rows` gave earlier, where there is a limit of that kind and period."""
        found = list(rows)
        for kind, windows in (("requests", self._requests), ("tokens", self._tokens)):
            for one in windows:
                one.restore(
                    [(at, n) for what, period, at, n in found if (what, period) == (kind, one.rate.period)], now
                )

    def _refused(self, now: float) -> LimitReachedError:
        # Of several that are reached, the one whose wait is named is the one that is told about.
        full = [one for one in (*self._requests, *self._tokens) if not one.room(now)]
        longest = max(full, key=lambda one: one.free_at(now))
        wait = max(1, math.ceil(longest.free_at(now) - now))
        rate, waiting = str(longest.rate), format_seconds(wait)
        words = (
            text("This API key may make no more than {rate} requests; ask again in {wait}.", rate=rate, wait=waiting)
            if longest in self._requests
            else text("This API key may use no more than {rate} tokens; ask again in {wait}.", rate=rate, wait=waiting)
        )
        return LimitReachedError(words, retry_after=wait, allowances=self.allowances(now))


def _tightest(windows: tuple[Window, ...], now: float) -> Allowance | None:
    if not windows:
        return None
    found = windows[0] if len(windows) == 1 else min(windows, key=lambda one: (one.room(now), -one.empty_at(now)))
    return Allowance(found.rate.amount, found.room(now), found.empty_at(now))
