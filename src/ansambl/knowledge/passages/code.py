"""Source code cut into units: definitions stay whole where they fit, each with the class and function it is in."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansambl.knowledge.passages.limits import PassageLimits
from ansambl.knowledge.passages.markdown import cut_code
from ansambl.knowledge.passages.tokens import estimate
from ansambl.knowledge.passages.units import Joint, Sort, Unit, stripped

_DEFINITION = re.compile(
    r"(?:(?:export|default|public|private|protected|internal|static|final|abstract|async|pub(?:\([a-z]+\))?|unsafe|open"
    r"|override|virtual|inline|extern|sealed|partial|data)\s+){0,6}"
    r"(?:def|class|func|fn|function|fun|sub|interface|struct|enum|impl|trait|module|namespace|object|record"
    r"|CREATE (?:TABLE|VIEW|FUNCTION))\b\*?\s*(?:\([^()\n]{0,100}\)\s*)?([\w.:~$]{1,100})"
)
_TAB = 4


def units(text: str, start: int, end: int, limits: PassageLimits) -> Iterator[Unit]:
    """The units of a source file, in order; they hold all that is not white space.

    A unit is what stands between blank lines, or more of it. The best place to cut is before a line that is not
    indented and follows a blank one (a definition, with its comments and decorators), then other blank lines.
    """
    path: list[tuple[int, str]] = []
    shallowest = 0
    for a, b in _chunks(text, start, end):
        indent = _indent(text, a)
        joint = Joint.SECTION if indent <= shallowest else Joint.BLOCK if indent <= shallowest + _TAB else Joint.LINE
        first, second = stripped(text, a, b)
        tokens = estimate(text[first:second])
        inside = _enter(path, text, a, b)
        if tokens <= limits.whole // 2:
            yield Unit(first, second, tokens, joint, Sort.CODE, inside)
        else:
            yield from _long(text, first, second, limits, inside, joint)


def _long(
    text: str, start: int, end: int, limits: PassageLimits, inside: tuple[str, ...], joint: Joint
) -> Iterator[Unit]:
    tokens = estimate(text[start:end])
    if tokens <= limits.whole:
        yield Unit(start, end, tokens, joint, Sort.CODE, inside)
    else:
        yield from cut_code(text, start, end, limits, inside, joint)


def _chunks(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Runs of lines between blank lines; `start` is at the beginning of a line, so that its indentation is seen."""
    begun = -1
    at = start
    while at < end:
        found = text.find("\n", at, end)
        stop = end if found < 0 else found + 1
        if text[at:stop].isspace():
            if begun >= 0:
                yield begun, at
                begun = -1
        elif begun < 0:
            begun = at
        at = stop
    if begun >= 0:
        yield begun, end


def _indent(text: str, at: int) -> int:
    wide = 0
    while at < len(text) and text[at] in " \t":
        wide += _TAB if text[at] == "\t" else 1
        at += 1
    return wide


def _enter(path: list[tuple[int, str]], text: str, start: int, end: int) -> tuple[str, ...]:
    """The definitions around the first line of a chunk; what it defines itself is entered for those after it."""
    inside: tuple[str, ...] | None = None
    at = start
    while at < end:
        found = text.find("\n", at, end)
        stop = end if found < 0 else found + 1
        indent = _indent(text, at)
        line = text[at : min(stop, at + 400)].strip()
        if line and not line.startswith(("}", ")", "]")):
            while path and path[-1][0] >= indent:
                path.pop()
            if inside is None:
                inside = tuple(name for _, name in path)
            definition = _DEFINITION.match(line)
            if definition:
                path.append((indent, definition.group(1)))
        at = stop
    return inside if inside is not None else tuple(name for _, name in path)
