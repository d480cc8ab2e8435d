"""The smallest pieces that passages are put together from, and how text is cut into them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from ansambl.knowledge.passages.tokens import LONG_MORE, MOST_PER_CHARACTER, estimate


class Joint(IntEnum):
    """How good a place it is to cut before a unit."""

    INSIDE = 0
    SENTENCE = 1
    LINE = 2
    BLOCK = 3
    SECTION = 4
    ALWAYS = 5


class Sort(StrEnum):
    """What a unit is."""

    PROSE = "prose"
    CODE = "code"
    TABLE = "table"
    HEADING = "heading"


@dataclass(frozen=True, slots=True)
class Unit:
    """Characters `start` to `end` of a text, neither beginning nor ending with white space.

    `joint` is how good it is to cut before it. `headings` are those it stands under; of a heading, with itself.
    `repeat` is what must stand in the context where a passage begins with it: the header of its table.
    """

    start: int
    end: int
    tokens: int
    joint: Joint
    sort: Sort = Sort.PROSE
    headings: tuple[str, ...] = ()
    repeat: str = ""


# Possessive, and only where a run begins: a line of two million dots must not be looked at from each of them.
_SENTENCE = re.compile(r"(?<![.!?…])[.!?…]++[\"'»”’)\]*_]{0,4}(?=\s)|[。！？]+[」』”]{0,2}|;(?=\n)")
_SHORTENED = (
    "т е д п г гг в вв н э др пр см ср стр рис табл гл им ул тел тыс млн млрд руб коп напр шт кг etc e.g i.e mr mrs ms "
    "dr prof al vs fig no vol pp cf approx st jr sr inc ltd co bzw z.b d.h usw ca nr"
)
_ABBREVIATIONS = frozenset(_SHORTENED.split())
_LAST_WORD = re.compile(r"[\w.]{1,12}$")
_BREAKS = (
    re.compile(r"\n"),
    re.compile(r"[,;:—–][\s]|[、，；：]"),
    re.compile(r"\s"),
)


def stripped(text: str, start: int, end: int) -> tuple[int, int]:
    """`start` and `end` without the white space at both ends; equal where there is nothing else."""
    piece = text[start:end]
    left = len(piece) - len(piece.lstrip())
    return (start + left, start + len(piece.rstrip())) if left < len(piece) else (end, end)


def sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The sentences of a paragraph, without the white space between them.

    A full stop behind an abbreviation or an initial ends none, nor one that a small letter follows.
    """
    at = start
    for found in _SENTENCE.finditer(text, start, end):
        stop = found.end()
        if found.group()[0] == "." and _goes_on(text, found.start(), stop, end):
            continue
        a, b = stripped(text, at, stop)
        if a < b:
            yield a, b
        at = stop
    a, b = stripped(text, at, end)
    if a < b:
        yield a, b


def _goes_on(text: str, dot: int, stop: int, end: int) -> bool:
    following = text[stop : min(stop + 8, end)].lstrip()[:1]
    if following.islower():
        return True
    last = _LAST_WORD.search(text[max(0, dot - 12) : dot])
    if last is None:
        return False
    word = last.group()
    return word.casefold() in _ABBREVIATIONS or (len(word) == 1 and word.isupper())


def pieces(text: str, start: int, end: int, most: int) -> Iterator[tuple[int, int, int]]:
    """Cut what is too long to be one unit into pieces of at most `most` tokens (start, end, tokens).

    Between lines where that is enough, else at commas, at spaces, and at last anywhere. Each of the levels looks at
    a character once, so that a line of many megabytes is no trouble.
    """
    yield from _cut(text, start, end, most, 0)


def _cut(text: str, start: int, end: int, most: int, level: int) -> Iterator[tuple[int, int, int]]:
    start, end = stripped(text, start, end)
    if start >= end:
        return
    tokens = estimate(text[start:end])
    if tokens <= most:
        yield start, end, tokens
        return
    if level == len(_BREAKS):
        width = max(1, int(most / MOST_PER_CHARACTER))
        for at in range(start, end, width):
            a, b = stripped(text, at, min(at + width, end))
            if a < b:
                # Part of a long run without spaces, though by itself it may be too short to be taken for one.
                yield a, b, min(most, estimate(text[a:b]) + math.ceil(LONG_MORE * (b - a)))
        return
    at, tokens, last = start, 0, start
    for found in _BREAKS[level].finditer(text, start, end):
        more = estimate(text[last : found.end()])
        if tokens + more > most and last > at:
            yield from _cut(text, at, last, most, level + (tokens > most))
            at, tokens = last, 0
        tokens += more
        last = found.end()
    more = estimate(text[last:end])
    if tokens + more > most and last > at:
        yield from _cut(text, at, last, most, level + (tokens > most))
        at, tokens = last, 0
    yield from _cut(text, at, end, most, level + 1)
