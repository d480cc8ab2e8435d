"""Lines as a page shows them, joined to paragraphs: without hyphens at line ends, without breaks in sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence

_HYPHEN = re.compile(r"(\w{2,})[-\u2010\u00ad]\Z")
_NEXT = re.compile(r"\A[^\W\d_]+")
_KEPT = frozenset(("то", "либо", "нибудь", "таки", "ка", "де", "за", "под"))
"""What follows a hyphen in Russian words that are written with one."""

_MOST_OF_LINE, _COLUMN = 0.6, 90


def joined_lines(lines: Sequence[str]) -> str:
    """The text of the lines. One that goes on in small letters on the next line is joined with it."""
    # Lines whose hyphens were joined are longer than the column.
    width = min(max(map(len, lines), default=0), _COLUMN)
    pieces: list[str] = []
    before = ""
    for found in lines:
        # Only at the end of a line does a soft hyphen say anything.
        line = " ".join(found.split())
        line = line[:-1].replace("\u00ad", "") + line[-1:]
        if not line:
            before = ""
            if pieces and pieces[-1] != "\n\n":
                pieces.append("\n\n")
            continue
        following = _NEXT.match(line)
        hyphened = _HYPHEN.search(before)
        if hyphened and following and line[0].islower():
            if following[0] not in _KEPT or before.endswith("\u00ad"):
                pieces[-1] = pieces[-1][:-1]
        elif before and following and line[0].islower() and len(before) > _MOST_OF_LINE * width:
            pieces.append(" ")
        elif before:
            pieces.append("\n")
        pieces.append(line)
        before = line
    return "".join(pieces).strip("\n").replace("\u00ad", "")
