"""Names that people write: when two are the same, and which ones look alike."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable


def folded(name: str) -> str:
    """The form in which names are compared: letter case and the spelling of accents do not matter."""
    return unicodedata.normalize("NFC", name).strip().casefold()


def nearest_names(name: str, known: Iterable[str], count: int = 3) -> tuple[str, ...]:
    """The known names that look like `name`, best first; compared folded."""
    by_folded = {folded(one): one for one in known}
    close = difflib.get_close_matches(folded(name), by_folded, n=count, cutoff=0.5)
    return tuple(by_folded[one] for one in close)
