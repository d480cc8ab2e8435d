"""Statistics of a benchmark, and the table that it prints."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of a few runs, and their range: on a busy machine one number would claim too much."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        digits = 3 if self.median < 1 else 2 if self.median < 10 else 1 if self.median < 100 else 0
        if f"{self.low:.{digits}f}" == f"{self.high:.{digits}f}":
            return f"{self.median:.{digits}f}"
        return f"{self.median:.{digits}f} ({self.low:.{digits}f}-{self.high:.{digits}f})"


def spread(values: Sequence[float]) -> Spread:
    """Median and range of at least one value."""
    return Spread(statistics.median(values), min(values), max(values))


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all values (0 to 1) do not exceed: nearest rank, never between two values.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("a percentile of nothing")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


@dataclass(frozen=True, slots=True)
class Row:
    """One figure beside its reference, which is None when the reference was not measured."""

    figure: str
    unit: str
    ours: Spread
    reference: Spread | None = None


def ratio(row: Row) -> str:
    """How many times the reference ours is; a dash where there is none, or where it is nothing."""
    if row.reference is None or row.reference.median <= 0:
        return "-"
    return f"{row.ours.median / row.reference.median:.1f}"


def table(rows: Sequence[Row], ours: str, reference: str) -> str:
    """The rows as a Markdown table with columns of even width."""
    cells = [("figure", "unit", ours, reference, "ratio")]
    cells += [
        (row.figure, row.unit, str(row.ours), "absent" if row.reference is None else str(row.reference), ratio(row))
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]
    lines.insert(1, " | ".join("-" * width for width in widths))
    return "\n".join(f"| {line} |" for line in lines)
