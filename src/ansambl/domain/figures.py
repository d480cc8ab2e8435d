"""Figures within sentences, as a language writes them: its decimal mark, and its names of units.

Whole numbers stay as they are: a port, a process or a version is no amount. So do strings that are not wholly sizes or
times as `ansambl.domain.units` writes them: what an engine or a person wrote is repeated to the letter.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Self

Speak = Callable[[str], str]

_POINT = "."
_UNIT = "B|[KMGT]iB|ms|s|min|h"
_AMOUNT = re.compile(rf"(?P<number>\d+(?:\.\d+)?) (?P<unit>{_UNIT})\b")
_PLAIN = rf"\d+(?:\.\d+)? (?:{_UNIT})"
# "2.5 GiB", "1 h 30 min", "coder 1.5 GiB, tutor 2.0 GiB", "23.5 GiB (RAM), 8.0 GiB (GPU 0)".
_ONE = rf"(?:\S+ )?{_PLAIN}(?: {_PLAIN})?(?: \([^()]*\))?"
_AMOUNTS = re.compile(rf"{_ONE}(?:, {_ONE})*")


class Figure(float):
    """A number that knows how it is written: ``figure(2.25, ".1f")`` stands in an English sentence as 2.2."""

    specification: str
    mark: str

    def __new__(cls, value: float, specification: str = "", mark: str = _POINT) -> Self:
        """Of `value`, written by `specification` with `mark` between its whole and its part."""
        made = super().__new__(cls, value)
        made.specification, made.mark = specification, mark
        return made

    def __format__(self, specification: str) -> str:
        return super().__format__(specification or self.specification).replace(_POINT, self.mark)


def figure(value: float, specification: str) -> Figure:
    """A number for the gap of a sentence, written as Python's format specification says, in the sentence's language."""
    return Figure(value, specification)


def in_language(value: Any, speak: Speak) -> Any:
    """What to put into the gap of a sentence that `speak` translated, in place of `value`."""
    if not isinstance(value, float | str):
        return value
    # Its last sign is the mark. A sentence, since what has no words is not collected for translation.
    mark = speak("The decimal mark is .")[-1]
    if mark == _POINT:
        return value
    if isinstance(value, float):
        return Figure(value, value.specification if isinstance(value, Figure) else "", mark)
    if not _AMOUNTS.fullmatch(value):
        return value
    units = _units(speak)
    return _AMOUNT.sub(lambda one: units[one["unit"]].format(amount=one["number"].replace(_POINT, mark)), value)


def number_words(value: float, specification: str, speak: Speak) -> str:
    """A number outside a sentence, as in a table, with the decimal mark of the language."""
    return format(in_language(figure(value, specification), speak))


def _units(speak: Speak) -> dict[str, str]:
    return {
        "B": speak("{amount} B"), "KiB": speak("{amount} KiB"), "MiB": speak("{amount} MiB"),
        "GiB": speak("{amount} GiB"), "TiB": speak("{amount} TiB"),
        "ms": speak("{amount} ms"), "s": speak("{amount} s"), "min": speak("{amount} min"), "h": speak("{amount} h"),
    }  # fmt: skip
