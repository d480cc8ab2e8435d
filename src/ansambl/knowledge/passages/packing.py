"""Units put together into passages: filled well, cut at the best place, the end of one repeated in the next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

from ansambl.knowledge.passages.limits import PassageLimits
from ansambl.knowledge.passages.units import Joint, Sort, Unit

_FILLED = 0.35
"""From this share of a passage on, a new section begins a new passage: two subjects in one are found badly."""
_WORTH = 0.2
"""How much filling a better joint is worth: a paragraph's end at 0.6 is as good as a sentence's at 1."""


def packed(units: Sequence[Unit], limits: PassageLimits) -> Iterator[tuple[int, int, int]]:
    """Which units make a passage: where it begins, its first unit that is not repeated, its end; none is left out."""
    sums = [0, *accumulate(unit.tokens for unit in units)]
    first = begin = 0
    while first < len(units):
        if sums[first + 1] - sums[begin] > _room(units[first], limits):
            begin = first
        stop = _stop(units, sums, begin, first, limits)
        yield begin, first, stop
        begin = _repeated(units, first, stop, limits) if stop < len(units) else stop
        first = stop


def _room(unit: Unit, limits: PassageLimits) -> int:
    return limits.whole if unit.sort in (Sort.CODE, Sort.TABLE) else limits.tokens


def _stop(units: Sequence[Unit], sums: Sequence[int], begin: int, first: int, limits: PassageLimits) -> int:
    at = first + 1
    while at < len(units):
        joint = units[at].joint
        if joint is Joint.ALWAYS:
            return at
        if joint is Joint.SECTION and sums[at] - sums[begin] >= _FILLED * limits.tokens:
            return _before_headings(units, first, at)
        if sums[at + 1] - sums[begin] > limits.tokens:
            if _nearly_all(units, sums, begin, at, limits):
                return len(units)
            return _best(units, sums, begin, first, at, limits)
        at += 1
    return at


def _nearly_all(units: Sequence[Unit], sums: Sequence[int], begin: int, at: int, limits: PassageLimits) -> bool:
    """Whether what is left is so little that it had better be in this passage than alone."""
    return sums[-1] - sums[begin] <= limits.whole and all(unit.joint < Joint.SECTION for unit in units[at:])


def _best(
    units: Sequence[Unit], sums: Sequence[int], begin: int, first: int, at: int, limits: PassageLimits
) -> int:  # fmt: skip
    def worth(place: int) -> float:
        return (sums[place] - sums[begin]) / limits.tokens + _WORTH * units[place].joint

    # The later of two that are as good: `max` takes the first that it sees.
    return _before_headings(units, first, max(range(at, first, -1), key=worth))


def _before_headings(units: Sequence[Unit], first: int, stop: int) -> int:
    """No passage ends with a heading: it belongs to what follows."""
    at = stop
    while at > first + 1 and units[at - 1].sort is Sort.HEADING:
        at -= 1
    return at if units[at - 1].sort is not Sort.HEADING else stop


def _repeated(units: Sequence[Unit], first: int, stop: int, limits: PassageLimits) -> int:
    """From which unit on the passage before is repeated."""
    if units[stop].joint >= Joint.SECTION:
        return stop
    at, tokens = stop, 0
    while at - 1 > first and units[at - 1].sort is Sort.PROSE:
        tokens += units[at - 1].tokens
        if tokens > limits.overlap:
            break
        at -= 1
    return at
