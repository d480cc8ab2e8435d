"""The marks of an answer that cite what was given, by their places in its text. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ansambl.roles.knowledge.records import Citation, Given, Source

_CODE = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]{1,300}`", re.DOTALL)
_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_MARK = re.compile(r"(?<!!)\[(\d{1,3}(?:\s*[,;]\s*\d{1,3}){0,9})\](?![(:])")
"""``[2]`` and ``[1, 3]``; what follows a picture's exclamation mark, or has an address behind it, is Markdown's."""


def citations(answer: str, given: Given | None) -> tuple[Citation, ...]:
    """The marks of `answer` with a source of their own, in order; marks in code and in thinking are none."""
    if given is None or not given.sources or "[" not in answer:
        return ()
    known = {one.number for one in given.sources}
    blind = [one.span() for pattern in (_CODE, _THOUGHT) for one in pattern.finditer(answer)]
    found: list[Citation] = []
    for mark in _MARK.finditer(answer):
        start, end = mark.span()
        if any(first <= start < last for first, last in blind):
            continue
        numbers = dict.fromkeys(int(one) for one in re.findall(r"\d+", mark.group(1)))
        found += [Citation(one, start, end) for one in numbers if one in known]
    return tuple(found)


def cited_sources(given: Given, marks: Sequence[Citation]) -> list[tuple[Source, bool]]:
    """Every source, and whether it is cited."""
    cited = {one.number for one in marks}
    return [(one, one.number in cited) for one in given.sources]
