"""One table of figures beside those of others, with what was promised and whether it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from support.figures import Spread


class Compared(Enum):
    """What a promise is about: the figure itself, how often it holds the reference's, how often the other holds it."""

    ITSELF = "at most {limit:g} {unit}"
    TIMES_REFERENCE = "at most {limit:g} x {reference}"
    TIMES_LESS = "{limit:g} x less than {other}"


@dataclass(frozen=True, slots=True)
class Promise:
    """A limit for one figure."""

    limit: float
    compared: Compared = Compared.ITSELF


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of ours, beside the reference's and the other's, which are None where they were not measured."""

    name: str
    unit: str
    ours: Spread
    reference: Spread | None = None
    other: Spread | None = None
    promises: tuple[Promise, ...] = ()


def times(one: Spread, two: Spread | None) -> float | None:
    """How many times `two` is in `one`; None where there is none."""
    return None if two is None or two.median <= 0 else one.median / two.median


def holds(figure: Figure, promise: Promise) -> bool | None:
    """Whether a promise holds; None where what it speaks of was not measured."""
    if promise.compared is Compared.ITSELF:
        return figure.ours.median <= promise.limit
    if promise.compared is Compared.TIMES_REFERENCE:
        found = times(figure.ours, figure.reference)
        return None if found is None else found <= promise.limit
    found = None if figure.other is None else times(figure.other, figure.ours)
    return None if found is None else found >= promise.limit


def comparison(figures: Sequence[Figure], ours: str, reference: str, other: str) -> str:
    """The figures as a Markdown table with columns of even width."""
    cells = [("figure", "unit", ours, reference, f"x {reference}", other, f"{other} is x", "promised", "")]
    for one in figures:
        ratios = times(one.ours, one.reference), None if one.other is None else times(one.other, one.ours)
        words = [
            each.compared.value.format(limit=each.limit, unit=one.unit, reference=reference, other=other)
            for each in one.promises
        ]
        cells.append(
            (
                one.name, one.unit, str(one.ours), _or_dash(one.reference), _ratio(ratios[0]),
                _or_dash(one.other), _ratio(ratios[1]), "; ".join(words) or "-", "; ".join(_met(one)) or "-",
            )
        )  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]
    lines.insert(1, " | ".join("-" * width for width in widths))
    return "\n".join(f"| {line} |" for line in lines)


def _met(figure: Figure) -> list[str]:
    words = {True: "met", False: "NOT met", None: "not measured"}
    return [words[holds(figure, one)] for one in figure.promises]


def _or_dash(found: Spread | None) -> str:
    return "-" if found is None else str(found)


def _ratio(found: float | None) -> str:
    return "-" if found is None else f"{found:.0f}" if found >= 10 else f"{found:.2f}"
