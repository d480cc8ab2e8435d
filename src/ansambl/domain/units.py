"""Sizes, times and rates, and how people write them."""

from __future__ import annotations

import math
import re
from typing import NewType

from ansambl.domain.errors import UsageError
from ansambl.domain.figures import Figure, Speak, figure, in_language
from ansambl.domain.text import text

Bytes = NewType("Bytes", int)
"""A size in bytes."""
Seconds = NewType("Seconds", float)
"""A length of time in seconds."""
TokensPerSecond = NewType("TokensPerSecond", float)
"""A rate of tokens."""

KIB, MIB, GIB, TIB = 2**10, 2**20, 2**30, 2**40

_SIZES = {
    "": 1, "b": 1,
    "kib": KIB, "mib": MIB, "gib": GIB, "tib": TIB,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
}  # fmt: skip
_TIMES = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_AMOUNT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")


def _parse(value: str | float, factors: dict[str, float] | dict[str, int], example: str) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if value < 0:
            raise UsageError(text("{value} is negative; write for example {example}", value=value, example=example))
        return _finite(value, value, example)
    match = _AMOUNT.fullmatch(value) if isinstance(value, str) else None
    if not match or match[2].lower() not in factors:
        raise UsageError(text("'{value}' is not an amount; write for example {example}", value=value, example=example))
    return _finite(float(match[1]) * factors[match[2].lower()], value, example)


def _finite(number: float, value: str | float, example: str) -> float:
    # TOML has nan and inf, and a long row of digits is inf too.
    if not math.isfinite(number):
        raise UsageError(text("'{value}' is not an amount; write for example {example}", value=value, example=example))
    return number


def parse_bytes(value: str | float) -> Bytes:
    """Read a size such as ``"2GiB"``, ``"500 MB"`` or a plain number of bytes.

    Raises:
        UsageError: it is not a size.
    """
    return Bytes(round(_parse(value, _SIZES, '"2GiB"')))


def parse_seconds(value: str | float) -> Seconds:
    """Read a time such as ``"30m"``, ``"250ms"`` or a plain number of seconds.

    Raises:
        UsageError: it is not a time.
    """
    return Seconds(_parse(value, _TIMES, '"30m"'))


def format_bytes(size: int) -> str:
    """Write a size for people, in binary units: ``1536 -> "1.5 KiB"``."""
    if abs(size) < KIB:
        return f"{size} B"
    for factor, unit in ((KIB, "KiB"), (MIB, "MiB"), (GIB, "GiB")):
        # Rounded first, so that a byte less than 1 GiB is not "1024.0 MiB".
        if abs(round(size / factor, 1)) < KIB:
            return f"{size / factor:.1f} {unit}"
    return f"{size / TIB:.1f} TiB"


def size_words(size: int, speak: Speak) -> str:
    """A size outside a sentence, as in a table, with the decimal mark and the unit of the language."""
    return str(in_language(format_bytes(size), speak))


def format_rate(rate: float) -> str:
    """Write tokens a second for people, with two digits that count: ``42.7 -> "43"``, ``3.46 -> "3.5"``."""
    return format(rate_figure(rate))


def rate_figure(rate: float) -> Figure:
    """The same for the gap of a sentence, which may be in another language."""
    return figure(rate, ".0f" if rate >= 10 else ".1f")


def format_seconds(seconds: float) -> str:
    """Write a time for people: ``0.25 -> "250 ms"``, ``5400 -> "1 h 30 min"``."""
    if round(seconds * 1000) < 1000:
        return f"{seconds * 1000:.0f} ms"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def time_words(seconds: float, speak: Speak) -> str:
    """A time outside a sentence, with the decimal mark and the units of the language."""
    return str(in_language(format_seconds(seconds), speak))
