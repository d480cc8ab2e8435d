"""Markdown cut into units: sentences, list items, whole code blocks and tables, with the headings above each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ansambl.knowledge.passages.limits import PassageLimits
from ansambl.knowledge.passages.tokens import estimate
from ansambl.knowledge.passages.units import Joint, Sort, Unit, pieces, sentences, stripped

_FENCE = re.compile(r"[ \t>]*(?:[-*+]\s+|\d{1,9}[.)]\s+)?(`{3,}|~{3,})")
_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_SETEXT = re.compile(r" {0,3}(=+|-{2,})[ \t]*$")
_DELIMITER = re.compile(r"[ \t>]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
_ITEM = re.compile(r"[ \t>]*(?:[-*+•]|\d{1,9}[.)])[ \t]+\S")
_BLANK = re.compile(r"\n(?:[ \t\r]*+\n)++")
_MARKUP = re.compile(r"\[([^\]\n]{0,300})\]\([^)\n]{0,2000}\)|[*_`]{1,3}")
_LONGEST_HEADING = 200
_LONGEST_HEADER = 400


@dataclass(slots=True)
class _Block:
    sort: Sort
    start: int
    end: int
    headings: tuple[str, ...]
    header: str = ""
    body: int = 0
    level: int = 0


def units(text: str, start: int, end: int, limits: PassageLimits) -> Iterator[Unit]:
    """The units of characters `start` to `end` of a Markdown text, in order; they hold all that is not white space."""
    for block in _blocks(text, start, end):
        if block.sort is Sort.HEADING:
            yield from _heading(text, block, limits)
        elif block.sort is Sort.PROSE:
            yield from prose(text, block.start, block.end, limits, block.headings)
        elif block.sort is Sort.CODE:
            yield from _code(text, block, limits)
        else:
            yield from _table(text, block, limits)


def paragraphs(text: str, start: int, end: int, limits: PassageLimits) -> Iterator[Unit]:
    """The units of a plain text: paragraphs between blank lines, nothing in them has a meaning."""
    at = start
    for found in _BLANK.finditer(text, start, end):
        yield from prose(text, at, found.start(), limits)
        at = found.end()
    yield from prose(text, at, end, limits)


def prose(
    text: str, start: int, end: int, limits: PassageLimits, headings: tuple[str, ...] = (), first: Joint = Joint.BLOCK
) -> Iterator[Unit]:
    """The sentences of a paragraph or of a list; what is longer than half a passage is cut further.

    Half, so that the sentence before it can be repeated and passages are filled well.
    """
    joint = first
    at = start
    while at < end:
        stop = _item_end(text, at, end)
        for a, b in sentences(text, at, stop):
            tokens = estimate(text[a:b])
            if tokens <= limits.tokens // 2:
                yield Unit(a, b, tokens, joint, Sort.PROSE, headings)
                joint = Joint.SENTENCE
                continue
            for x, y, some in pieces(text, a, b, limits.tokens // 2):
                yield Unit(x, y, some, joint, Sort.PROSE, headings)
                joint = Joint.INSIDE
            joint = Joint.SENTENCE
        joint = Joint.LINE
        at = stop


def _item_end(text: str, at: int, end: int) -> int:
    """Where the list item or the paragraph that begins at `at` ends: before the next line that begins an item."""
    line = text.find("\n", at, end)
    while line >= 0:
        if _ITEM.match(text, line + 1, end):
            return line + 1
        line = text.find("\n", line + 1, end)
    return end


def _heading(text: str, block: _Block, limits: PassageLimits) -> Iterator[Unit]:
    joint = Joint.SECTION
    for a, b, tokens in pieces(text, block.start, block.end, limits.tokens // 2):
        yield Unit(a, b, tokens, joint, Sort.HEADING, block.headings)
        joint = Joint.INSIDE


def _code(text: str, block: _Block, limits: PassageLimits) -> Iterator[Unit]:
    a, b = stripped(text, block.start, block.end)
    tokens = estimate(text[a:b])
    if tokens <= limits.whole:
        yield Unit(a, b, tokens, Joint.BLOCK, Sort.CODE, block.headings)
        return
    yield from cut_code(text, a, b, limits, block.headings)


def cut_code(
    text: str, start: int, end: int, limits: PassageLimits, headings: tuple[str, ...], first: Joint = Joint.BLOCK
) -> Iterator[Unit]:
    """Code that is too long for one passage: cut at blank lines, where that is not enough between lines."""
    joint = first
    at = start
    for stop in [*(found.end() for found in _BLANK.finditer(text, start, end)), end]:
        a, b = stripped(text, at, stop)
        at = stop
        for x, y, tokens in pieces(text, a, b, limits.tokens):
            yield Unit(x, y, tokens, joint, Sort.CODE, headings)
            joint = Joint.INSIDE
        joint = Joint.LINE


def _table(text: str, block: _Block, limits: PassageLimits) -> Iterator[Unit]:
    a, b = stripped(text, block.start, block.end)
    tokens = estimate(text[a:b])
    if tokens <= limits.whole:
        yield Unit(a, b, tokens, Joint.BLOCK, Sort.TABLE, block.headings)
        return
    header = block.header[:_LONGEST_HEADER]
    first = next(pieces(text, block.start, block.body, limits.tokens))
    yield Unit(*first, joint=Joint.BLOCK, sort=Sort.TABLE, headings=block.headings)
    at = first[1]
    while at < block.end:
        line = text.find("\n", at + 1, block.end)
        stop = block.end if line < 0 else line
        joint = Joint.LINE
        for x, y, some in pieces(text, at, stop, limits.tokens // 2):
            yield Unit(x, y, some, joint, Sort.TABLE, block.headings, header)
            joint = Joint.INSIDE
        at = stop


def plain_heading(title: str) -> str:
    """A heading without marks of Markdown, on one line."""
    return " ".join(_MARKUP.sub(lambda found: found.group(1) or "", title).split())[:_LONGEST_HEADING]


class _Reader:
    """Goes through lines once and tells blocks apart."""

    def __init__(self, text: str, start: int, end: int) -> None:
        self.text = text
        self.at = start
        self.end = end
        self.path: list[tuple[int, str]] = []

    def headings(self) -> tuple[str, ...]:
        return tuple(title for _, title in self.path if title)

    def enter(self, level: int, title: str) -> None:
        while self.path and self.path[-1][0] >= level:
            self.path.pop()
        self.path.append((level, plain_heading(title)))

    def line_end(self, at: int) -> int:
        found = self.text.find("\n", at, self.end)
        return self.end if found < 0 else found + 1

    def line(self, at: int) -> str:
        return self.text[at : self.line_end(at)].rstrip("\r\n")


def _blocks(text: str, start: int, end: int) -> Iterator[_Block]:
    reader = _Reader(text, start, end)
    open_at = -1
    while reader.at < end:
        at = reader.at
        stop = reader.line_end(at)
        line = text[at:stop].rstrip("\r\n")
        begun = _begun(reader, at, stop, line) if line.strip() else None
        if begun is None and line.strip() and open_at >= 0 and _SETEXT.match(line):
            begun = _setext(reader, open_at, at, stop, line)
            open_at = -1 if begun is not None else open_at
        if begun is not None or not line.strip():
            if open_at >= 0:
                yield _Block(Sort.PROSE, open_at, at, reader.headings())
                open_at = -1
            if begun is None:
                reader.at = stop
                continue
            if begun.sort is Sort.HEADING:
                reader.enter(begun.level, begun.header)
                begun.headings = reader.headings()
            yield begun
            reader.at = begun.end
            continue
        if open_at < 0:
            open_at = at
        reader.at = stop
    if open_at >= 0:
        yield _Block(Sort.PROSE, open_at, end, reader.headings())


def _begun(reader: _Reader, at: int, stop: int, line: str) -> _Block | None:
    """The heading, code block or table that begins with this line."""
    heading = _HEADING.match(line)
    if heading:
        level, title = len(heading.group(1)), heading.group(2) or ""
        return _Block(Sort.HEADING, at, stop, (), header=title, level=level)
    fence = _FENCE.match(line)
    if fence and "`" not in line[fence.end() :]:
        return _Block(Sort.CODE, at, _fence_end(reader, stop, fence.group(1)), reader.headings())
    if "|" in line and stop < reader.end:
        under = reader.line(stop)
        if "|" in under and "-" in under and _DELIMITER.match(under):
            body = reader.line_end(stop)
            return _Block(Sort.TABLE, at, _table_end(reader, body), reader.headings(), header=line.strip(), body=body)
    return None


def _fence_end(reader: _Reader, at: int, mark: str) -> int:
    while at < reader.end:
        stop = reader.line_end(at)
        line = reader.text[at:stop].strip(" \t\r\n>")
        if len(line) >= len(mark) and not line.strip(mark[0]):
            return stop
        at = stop
    return reader.end


def _table_end(reader: _Reader, at: int) -> int:
    while at < reader.end:
        stop = reader.line_end(at)
        line = reader.text[at:stop]
        if "|" not in line or not line.strip():
            return at
        at = stop
    return reader.end


def _setext(reader: _Reader, start: int, at: int, stop: int, line: str) -> _Block | None:
    title = reader.text[start : min(at, start + 2 * _LONGEST_HEADING)].strip()
    if not title or "\n" in title or _ITEM.match(title) or at - start > _LONGEST_HEADING:
        return None
    return _Block(Sort.HEADING, start, stop, (), header=title, level=1 if "=" in line else 2)
