"""Amounts by time, as people write them: ``60/min``, ``1M/day``, and until when a key is good: ``30d``. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from ansambl.domain.errors import UsageError
from ansambl.domain.text import text
from ansambl.domain.units import Seconds, parse_seconds

_UNITS: dict[str, tuple[int, str]] = {
    **dict.fromkeys(("s", "sec", "second"), (1, "s")),
    **dict.fromkeys(("m", "min", "minute"), (60, "min")),
    **dict.fromkeys(("h", "hour"), (3600, "hour")),
    **dict.fromkeys(("d", "day"), (86_400, "day")),
}
_FACTORS = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}
_SHAPE = re.compile(r"(?P<number>[0-9]{1,18}(?:\.[0-9]{1,9})?)\s*(?P<factor>[kmg]?)\s*/\s*(?P<unit>[a-z]{1,10})")
_MOST = 10**15
LONGEST_LIFE = Seconds(100 * 365.25 * 86_400)
"""A key that shall be good for longer is one that does not expire."""


@dataclass(frozen=True, slots=True, order=True)
class Rate:
    """At most `amount` within any `period` seconds. Ordered by period."""

    period: int
    amount: int

    def __str__(self) -> str:
        """As people write it; `parse_rate` reads it again."""
        amount, letter = self.amount, ""
        for factor, one in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "K")):
            if amount % factor == 0:
                amount, letter = amount // factor, one
                break
        unit = next(word for seconds, word in _UNITS.values() if seconds == self.period)
        return f"{amount}{letter}/{unit}"


def parse_rate(written: str) -> Rate:
    """Read ``60/min``, ``1M/day``, ``1.5K/hour``. K, M and G are thousands, millions and thousands of millions.

    Raises:
        UsageError: it is no such amount.
    """
    found = _SHAPE.fullmatch(written.strip().lower().replace("_", ""))
    unit = _UNITS.get(found["unit"]) if found is not None else None
    if found is None or unit is None:
        raise UsageError(
            text("'{written}' is not an amount by time; write for example 60/min or 1M/day, with s, min, hour or day.",
                 written=written[:60])
        )  # fmt: skip
    whole, _, part = found["number"].partition(".")
    factor = _FACTORS[found["factor"]]
    # Whole numbers all the way: a float would make 1.1M something else than 1,100,000.
    amount, rest = divmod(int(whole + part) * factor, 10 ** len(part))
    if rest or not 1 <= amount <= _MOST:
        raise UsageError(
            text("'{written}' is not a whole number from 1 to {most} by {unit}.", written=written[:60], most=_MOST,
                 unit=unit[1])
        )  # fmt: skip
    return Rate(unit[0], amount)


def parse_rates(written: tuple[str, ...] | list[str]) -> tuple[Rate, ...]:
    """Read several, the shortest period first.

    Raises:
        UsageError: one is none, or two are for the same period.
    """
    found = sorted(parse_rate(one) for one in written)
    for one, other in pairwise(found):
        if one.period == other.period:
            raise UsageError(
                text("'{one}' and '{other}' are for the same time; give one of them.", one=str(one), other=str(other))
            )
    return tuple(found)


def parse_life(written: str) -> Seconds | None:
    """Read how long a key is good: ``30d``, ``12h``; None for ``never``.

    Raises:
        UsageError: it is no time, or none that lies ahead.
    """
    if written.strip().lower() == "never":
        return None
    life = parse_seconds(written)
    if not 0 < life <= LONGEST_LIFE:
        raise UsageError(
            text("'{written}' is not a time from 1 s to 100 years; write for example 30d, or never.",
                 written=written[:60])
        )  # fmt: skip
    return life
