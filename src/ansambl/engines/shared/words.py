"""An engine's own last words, looked for before those that every engine may say."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ansambl.domain.engine import ExitExplanation, ExitReason
from ansambl.engines.shared import exits

Words = tuple[tuple[ExitReason, re.Pattern[str]], ...]
"""Patterns and what they mean; the first that is found counts."""

_LINES = 200
_CLEAN = frozenset({0, -2, -15, 143})


def explain(code: int | None, tail: Sequence[str], title: str, words: Words) -> ExitExplanation:
    """Why an engine titled `title` ended: by its own `words`, else as any process ends. For `code` see the contract."""
    if code not in _CLEAN:
        for reason, pattern in words:
            for line in list(tail)[-_LINES:]:
                if pattern.search(line):
                    return exits.explain(reason, title, line.strip()[:240])
    return exits.explain_exit(code, tail, title)
