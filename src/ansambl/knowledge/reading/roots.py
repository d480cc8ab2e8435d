"""Which places may be read: paths below allowed folders, after all links are resolved. Pure, but for resolving."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ansambl.domain.text import text
from ansambl.knowledge.reading.content import UnreadableError

# Bytes of a name that are no UTF-8 are half pairs in Python; no database takes those. Plane 16 is for private use.
_ESCAPED = {0xDC80 + byte: 0x10FE80 + byte for byte in range(0x80)}
_UNESCAPED = {shown: half for half, shown in _ESCAPED.items()}


def place_of(path: Path) -> str:
    """The place of a file as a text that any database stores; `path_of` gives the path again.

    Bytes of a name that are no UTF-8 become characters of the private plane 16.
    """
    return str(path).translate(_ESCAPED)


def path_of(place: str) -> Path:
    """The path of a place that `place_of` gave."""
    path = Path(place)
    # A name may really hold these characters, however unlikely.
    return path if os.path.lexists(place) else Path(place.translate(_UNESCAPED))


def is_inside(real: str, roots: Sequence[str]) -> bool:
    """Whether an absolute path without links and dots is one of `roots` (such paths, too) or below it."""
    return any(real == root or real.startswith(root.rstrip("/") + "/") for root in roots)


def resolved_roots(roots: Sequence[str | Path]) -> tuple[str, ...]:
    """The roots as absolute paths without links, as `check_inside` wants them; `~` is the home folder."""
    return tuple(os.path.realpath(os.path.expanduser(root)) for root in roots)  # noqa: PTH111 - ~ with realpath


def check_inside(real: str, roots: Sequence[str]) -> None:
    """Refuse what is outside of all `roots`.

    Raises:
        UnreadableError: it is outside. The message does not say where a link led to.
    """
    if not is_inside(real, roots):
        raise UnreadableError(
            text("it is outside of the folders that may be read; add its folder to [knowledge] roots")
        )
