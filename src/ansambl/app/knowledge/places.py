"""Places that are named from afar: which of them may be read, and by whom."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from ansambl.domain.access import ForbiddenError
from ansambl.domain.errors import RequestError, UsageError
from ansambl.domain.text import text
from ansambl.foundation.paths import expanded
from ansambl.knowledge.reading.content import UnreadableError
from ansambl.knowledge.reading.roots import check_inside, path_of, place_of


def scheme_of(place: str) -> str:
    """The scheme of an address, "" of a path."""
    try:
        return urlsplit(place).scheme.lower()
    except ValueError:
        return ""


def checked_path(wanted: str, roots: tuple[str, ...] | None) -> str:
    """The place of a path that somebody names from afar, where it may be read; `roots` is None for the owner.

    Raises:
        UsageError: it is no absolute path, or there is nothing.
        ForbiddenError: it is outside of the roots.
    """
    path = expanded(path_of(wanted)) if "\0" not in wanted else Path()
    if not path.is_absolute():
        raise UsageError(text("'{place}' is no absolute path and no address", place=wanted[:200]), param="place")
    # Links are followed once, here: what is read is what was checked.
    real = os.path.realpath(path)
    if roots is not None:
        try:
            check_inside(real, roots)
        except UnreadableError as error:
            raise ForbiddenError(
                text("This API key may not read '{place}': it is outside of the folders under 'roots' in [knowledge].",
                     place=wanted[:200]),
                param="place",
            ) from error  # fmt: skip
    try:
        there = os.path.lexists(real)
    except OSError:
        there = False
    if not there:
        raise RequestError(text("There is nothing at '{place}'.", place=wanted[:200]), param="place")
    return place_of(Path(real)) if roots is not None else place_of(path)
