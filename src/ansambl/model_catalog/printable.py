"""Words out of files and answers that come from strangers, made safe for a terminal and for one line."""

from __future__ import annotations

_SHOWN = 80


def printable(words: object, limit: int = _SHOWN) -> str:
    """At most `limit` letters of `words`, on one line; what is no letter (line ends, escape codes) becomes ``?``."""
    found = str(words)[: limit + 1]
    safe = "".join(one if one.isprintable() else "?" for one in found)
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"
