"""A document's text divided into passages, by how it is written."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ansambl.domain.knowledge import Form, Mark, Material, Passage
from ansambl.domain.languages import language_of_text
from ansambl.knowledge.passages import code, markdown
from ansambl.knowledge.passages.limits import DEFAULT, PassageLimits
from ansambl.knowledge.passages.packing import packed
from ansambl.knowledge.passages.tokens import estimate
from ansambl.knowledge.passages.units import Sort, Unit

_NO_MARK = Mark(0)
_SHORT_QUESTION = 48
"""Tokens of a question that stands in one passage with its answer where both fit."""
_BETWEEN = " › "
_LANGUAGE_READ = 600


@dataclass(frozen=True, slots=True)
class _Stretch:
    """What is divided by itself: a turn of a conversation (or a short pair), a sheet, or the whole text."""

    start: int
    end: int
    mark: Mark | None = None
    question: str = ""


def divide(material: Material, limits: PassageLimits = DEFAULT) -> tuple[Passage, ...]:
    """The passages of a material, in order. Together they hold all of its text that is not white space.

    `text` is exactly characters `start` to `end` of the material's. A passage takes its page and its speaker from the
    mark at its beginning, in a conversation of the turn that it is mainly of; no passage reaches over the end of a
    turn, but a short question stands together with its short answer, as the answer. Linear in the text's length.
    """
    made: list[Passage] = []
    starts = [mark.start for mark in material.marks]
    for stretch in _stretches(material, limits):
        units = list(_units(material, stretch, limits))
        for begin, first, stop in packed(units, limits):
            start, end = units[begin].start, units[stop - 1].end
            mark = stretch.mark or _mark_at(material.marks, starts, start)
            made.append(_passage(material, len(made), start, end, units[first:stop], mark, stretch.question, limits))
    return tuple(made)


def embedded_text(passage: Passage) -> str:
    """What is given to an embedding model: the context before the text."""
    return f"{passage.context}\n{passage.text}" if passage.context else passage.text


def _units(material: Material, stretch: _Stretch, limits: PassageLimits) -> Iterator[Unit]:
    if material.form is Form.CODE:
        return code.units(material.text, stretch.start, stretch.end, limits)
    if material.form is Form.PLAIN:
        return markdown.paragraphs(material.text, stretch.start, stretch.end, limits)
    return markdown.units(material.text, stretch.start, stretch.end, limits)


def _stretches(material: Material, limits: PassageLimits) -> Iterator[_Stretch]:
    if material.form is Form.CONVERSATION and material.marks:
        yield from _turns(material, limits)
        return
    at, label = 0, material.marks[0].label if material.marks else ""
    for mark in material.marks:
        # A sheet or a chapter, known by a name of its own, is a subject of its own; a page of a book is not.
        if mark.label != label:
            yield _Stretch(at, mark.start)
            at, label = mark.start, mark.label
    yield _Stretch(at, len(material.text))


def _turns(material: Material, limits: PassageLimits) -> Iterator[_Stretch]:
    text, marks = material.text, material.marks
    yield _Stretch(0, marks[0].start, _NO_MARK)
    ends = [*(mark.start for mark in marks[1:]), len(text)]
    question = ""
    at = 0
    while at < len(marks):
        mark, end = marks[at], ends[at]
        if mark.role == "user":
            question = " ".join(text[mark.start : min(end, mark.start + 2000)].split())
            if at + 1 < len(marks) and _is_short_pair(text, marks[at], marks[at + 1], ends[at + 1], limits):
                yield _Stretch(mark.start, ends[at + 1], marks[at + 1])
                at += 2
                continue
            yield _Stretch(mark.start, end, mark)
        else:
            yield _Stretch(mark.start, end, mark, question)
        at += 1


def _is_short_pair(text: str, asked: Mark, answered: Mark, end: int, limits: PassageLimits) -> bool:
    if answered.role != "assistant" or end - asked.start > 8 * limits.tokens:
        return False
    question = estimate(text[asked.start : answered.start])
    return question <= _SHORT_QUESTION and question + estimate(text[answered.start : end]) <= limits.tokens


def _mark_at(marks: Sequence[Mark], starts: Sequence[int], at: int) -> Mark:
    place = bisect_right(starts, at) - 1
    return marks[place] if place >= 0 else _NO_MARK


def _passage(
    material: Material, number: int, start: int, end: int, units: Sequence[Unit], mark: Mark, question: str,
    limits: PassageLimits,
) -> Passage:  # fmt: skip
    text = material.text[start:end]
    headings = next((unit.headings for unit in units if unit.sort is not Sort.HEADING), units[0].headings)
    return Passage(
        number=number, start=start, end=end, text=text, headings=headings,
        context=_context(material, text, headings, mark, question or units[0].repeat, limits),
        page=mark.page, label=mark.label, author=mark.author, role=mark.role,
        time=mark.time if mark.time is not None else material.time, turn=mark.turn,
        language=_language(material, text), tokens=estimate(text),
    )  # fmt: skip


def _language(material: Material, text: str) -> str | None:
    if material.form is Form.CODE:
        return material.language
    return language_of_text(text[:_LANGUAGE_READ]) or material.language


def _context(
    material: Material, text: str, headings: tuple[str, ...], mark: Mark, also: str, limits: PassageLimits
) -> str:  # fmt: skip
    names = [material.title.strip(), mark.label.strip(), *headings]
    shown = [name for name in dict.fromkeys(names) if name and name not in text]
    path = clipped(_BETWEEN.join(shown), limits.context // 2 if also else limits.context)
    if not also:
        return path
    rest = clipped(also, limits.context - estimate(path))
    return f"{path}\n{rest}" if path and rest else path or rest


@lru_cache(maxsize=1024)
def clipped(text: str, tokens: int) -> str:
    """The beginning of `text` that has at most so many tokens, to the end of a word, with ``…`` where it was cut."""
    if tokens <= 0:
        return ""
    if len(text) < 20 * tokens and estimate(text) <= tokens:
        return text
    size = min(len(text), 6 * tokens)
    while size > 0 and estimate(text[:size]) >= tokens:
        size = size * 9 // 10 if size > 10 else size - 1
    short = text[:size]
    word = short.rsplit(None, 1)[0] if " " in short.strip() else short
    return f"{word.rstrip()}…" if word.strip() else ""
