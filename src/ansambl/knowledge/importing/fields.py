"""Taking what one needs out of JSON of which nothing is certain: a wrong type counts as absent, nothing is raised."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

LONGEST_TITLE = 200
_EARLIEST, _LATEST = 0.0, 32_503_680_000.0
"""Times that can be true, in seconds since the epoch: 1970 to the year 3000."""


def mapping(value: Any) -> Mapping[str, Any]:
    """`value` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def listed(value: Any) -> list[Any]:
    """`value` if it is an array, else an empty one."""
    return value if isinstance(value, list) else []


def string(value: Any) -> str:
    """`value` if it is a string, else ""."""
    return value if isinstance(value, str) else ""


def first_string(*values: Any) -> str:
    """The first of `values` that is a string and not empty."""
    return next((one for one in values if isinstance(one, str) and one.strip()), "")


def seconds(value: Any) -> float | None:
    """A time in seconds since the epoch, from seconds, milliseconds, nanoseconds or ISO 8601; None where it is none."""
    found: float | None = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        found = float(value)
    elif isinstance(value, str) and value.strip():
        try:
            found = float(value)
        except ValueError:
            try:
                found = datetime.fromisoformat(value.strip()).timestamp()
            except (ValueError, OverflowError, OSError):
                return None
    if found is None or not math.isfinite(found):
        return None
    while found > 1e11:
        # Beyond the year 5138 in seconds: these are milliseconds or finer. Open WebUI has written all of them.
        found /= 1000
    return found if _EARLIEST < found < _LATEST else None


def title_of(given: Any, texts: Iterable[str]) -> str:
    """The title that an export gives, else the beginning of the first text."""
    title = " ".join(string(given).split())
    if not title:
        title = next((" ".join(one.split()) for one in texts if one.strip()), "")
        if len(title) > 80:
            title = title[:80].rsplit(" ", 1)[0] + "…"
    return title[:LONGEST_TITLE]


def hash_of(*parts: str) -> str:
    """An id for what has none: 32 hexadecimal digits of the hash of `parts`."""
    whole = hashlib.sha256()
    for one in parts:
        data = one.encode("utf-8", "surrogatepass")
        whole.update(len(data).to_bytes(8, "big"))
        whole.update(data)
    return whole.hexdigest()[:32]


def fenced(code: str, language: str = "") -> str:
    """`code` as a fenced block that it cannot end by itself."""
    longest = run = 0
    for letter in code:
        run = run + 1 if letter == "`" else 0
        longest = max(longest, run)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{code.rstrip()}\n{fence}"
