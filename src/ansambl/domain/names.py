"""Names that people write: when two are the same, and which ones look alike."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable


def folded(name: str) -> str:
    """The form in which names are compared: letter case and the spelling of accents do not matter."""
    return unicodedata.normalize("NFC", name).strip().casefold()


LONGEST_ASKED = 1000
"""Characters of a text that may be a name. To compare one that fills a request would hold up everybody for seconds."""


def nearest_names(name: str, known: Iterable[str], count: int = 3) -> tuple[str, ...]:
    """The known names that look like `name`, best first; compared folded. None is near to one that is too long."""
    if len(name) > LONGEST_ASKED:
        return ()
    by_folded = {folded(one): one for one in known}
    close = difflib.get_close_matches(folded(name), by_folded, n=count, cutoff=0.5)
    return tuple(by_folded[one] for one in close)
