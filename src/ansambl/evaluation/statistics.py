"""What accuracies and differences can be said to be, given how few tasks there are. Pure and deterministic.

Sources: Wilson (1927) for the interval of a share; Bonett and Price (2012) for that of a paired difference; the exact
sign-flip test, which is McNemar's (1947) where each task was asked once; Connor (1987) for the number of pairs that is
needed; Holm (1979) for several comparisons at once. Repeats of a task are no tasks of their own: we count by task.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

import numpy as np

Z95, Z80 = 1.959964, 0.841621
"""Standard normal quantiles: two-sided 95 %, one-sided 80 % (the power that `tasks_needed` plans for)."""
_LARGEST = 200_000
"""Steps of the exact distribution; beyond them the normal approximation is as good."""


@dataclass(frozen=True, slots=True)
class Share:
    """A share between 0 and 1 with its interval of 95 %; `value` None where there is nothing to count."""

    value: float | None
    low: float = 0.0
    high: float = 1.0
    tasks: int = 0


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired difference of two shares (-1 to 1) over the `tasks` that both answered.

    `low` and `high` bound it with 95 %. `p` is the chance to see a difference as large when there is none.
    `needed` is how many tasks would show a difference of the asked size with a power of 80 %.
    """

    value: float
    low: float
    high: float
    p: float
    tasks: int
    needed: int


def wilson(right: float, count: float) -> tuple[float, float]:
    """Wilson's interval of 95 % for `right` of `count`; (0, 1) where nothing was counted."""
    if count <= 0:
        return 0.0, 1.0
    share, z2 = right / count, Z95 * Z95
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = Z95 / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def share_of(tasks: Sequence[Sequence[bool]]) -> Share:
    """The mean over tasks of each task's share of right answers.

    The interval is Wilson's for as many independent answers as the spread between tasks amounts to: never fewer than
    tasks, never more than answers.
    """
    means = [sum(one) / len(one) for one in tasks if one]
    count = len(means)
    if count == 0:
        return Share(None)
    value = sum(means) / count
    answers = sum(len(one) for one in tasks)
    spread = sum((one - value) ** 2 for one in means) / (count - 1) if count > 1 else 0.0
    effective = min(float(answers), max(float(count), value * (1 - value) * count / spread)) if spread else float(count)
    low, high = wilson(value * effective, effective)
    return Share(value, low, high, count)


def difference_of(pairs: Sequence[tuple[Sequence[bool], Sequence[bool]]], *, detect: float) -> Difference | None:
    """How much more often the first of each pair is right than the second; None without pairs.

    Each pair holds one task's answers by two contestants. `detect` is the difference that `needed` is worked out for.
    """
    exact = [
        Fraction(sum(first), len(first)) - Fraction(sum(second), len(second))
        for first, second in pairs
        if first and second
    ]
    count = len(exact)
    if count == 0:
        return None
    values = [float(one) for one in exact]
    # One pair more for each side: an interval that does not collapse where no task told the two apart.
    second_moment = (sum(one * one for one in values) + 2) / (count + 2)
    centre = sum(values) / (count + 2)
    half = Z95 * math.sqrt(max(0.0, second_moment - centre * centre) / (count + 2))
    return Difference(
        value=sum(values) / count, low=max(-1.0, centre - half), high=min(1.0, centre + half),
        p=sign_flip_p(exact), tasks=count, needed=tasks_needed(second_moment, detect),
    )  # fmt: skip


def sign_flip_p(values: Sequence[Fraction]) -> float:
    """Two-sided p of the sum of `values` when each could as well have had the other sign; 1 when all are 0."""
    scale = lcm(*(one.denominator for one in values)) if values else 1
    steps = [abs(int(one * scale)) for one in values if one]
    if not steps:
        return 1.0
    observed = abs(int(sum(values) * scale))
    total = sum(steps)
    if total > _LARGEST:
        deviation = math.sqrt(sum(one * one for one in steps))
        return min(1.0, math.erfc(observed / deviation / math.sqrt(2)))
    chances = np.zeros(2 * total + 1)
    chances[total] = 1.0
    for step in steps:
        # np.roll wraps around, but all steps together reach the ends and no further.
        chances = (np.roll(chances, step) + np.roll(chances, -step)) / 2
    sums = np.abs(np.arange(-total, total + 1))
    return min(1.0, float(chances[sums >= observed].sum()))


def tasks_needed(discordance: float, detect: float) -> int:
    """How many tasks show a true difference `detect` with a power of 80 % at 5 %, two-sided (Connor's formula).

    `discordance` is the share of tasks that tell two contestants apart (with repeats: the mean squared difference).
    """
    spread = max(discordance, detect)
    root = Z95 * math.sqrt(spread) + Z80 * math.sqrt(max(0.0, spread - detect * detect))
    return math.ceil(root * root / (detect * detect))


def holm(chances: Sequence[float]) -> list[float]:
    """Adjust the p of several comparisons, so that one in twenty such families shows a difference by luck."""
    order = sorted(range(len(chances)), key=lambda one: chances[one])
    adjusted, largest = [0.0] * len(chances), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(chances) - rank) * chances[index]))
        adjusted[index] = largest
    return adjusted
