r"""Voting on short answers: which answers are the same, and which one wins. Pure.

What counts as a member's short answer, the first that there is:

1. what follows the last ``Answer:`` (``Final answer:``, ``Ответ:``, ``Итог:``) at the beginning of a line: the rest of
   that line, or the next line that holds something;
2. what stands in the last ``\boxed{…}``;
3. the last line that holds something.

It must be one line of at most `SHORT` characters, else the answer is free text, which cannot be voted on.

Two short answers are the same when these forms of them are equal: Unicode compatibility forms, letter case, white
space, and quotation marks, emphasis, brackets and full stops around them do not matter; an introduction
(``the answer is``, ``ответ —``) is dropped; a choice (``(b)``, ``b.``, ``B) Paris``) is its letter; a number loses its
thousands separators, its zeros at the end and its plus sign (``1,000.50`` and ``1 000,5`` are equal), and what stands
before or after it (a currency, a unit) stays, so ``5 km`` is not ``5 m``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

SHORT = 80
"""The longest answer, in characters, that can be voted on."""

_MARKED = re.compile(
    # What stands before it ends with its line: a model that got stuck writes thousands of empty ones.
    r"^(?:[^\S\n]|[>*_#-])*(?:the\s+)?(?:final\s+)?(?:answer|ответ|итог|итоговый\s+ответ)[*_]*\s*[:：][*_]*[ \t]*(.*)$",
    re.IGNORECASE | re.MULTILINE,
)
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
_INTRODUCED = re.compile(r"^(?:so |thus |therefore |итак,? )?(?:the )?(?:final )?(?:answer is|ответ)[ :—–-]+")
_CHOICE = re.compile(r"^\(?([a-zа-яё])(?:[).:](?:\s.*)?)?$")
_NUMBER = re.compile(r"^([^\d\s+-]{0,4}\s?)([+-]?)\s?(\d[\d\s.,_']*)(.*)$")
_EDGES = " \t\r\n\"'«»“”‘’`*_[]{}<>!;,.…"


@dataclass(frozen=True, slots=True)
class Ballot:
    """One answer and who gave it; `answer` is the short answer as it was written, None for free text."""

    voter: str
    answer: str | None

    @property
    def counted_as(self) -> str | None:
        """What the answer is compared by."""
        return None if self.answer is None else normalise(self.answer)


@dataclass(frozen=True, slots=True)
class Count:
    """How many gave one answer; `answer` is as its first voter wrote it."""

    answer: str
    voters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """The counts, the most frequent first; the first one has won. `tied` tells whether another had as many votes."""

    counts: tuple[Count, ...]
    tied: bool

    @property
    def winner(self) -> str:
        """The answer that won."""
        return self.counts[0].answer


def short_answer(said: str) -> str | None:
    """The short answer of what a member said; None when it is free text."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if not lines:
        return None
    found = lines[-1]
    marked = list(_MARKED.finditer(said))
    boxed = _BOXED.findall(said)
    if marked:
        after = [marked[-1][1], *said[marked[-1].end() :].splitlines()]
        found = next((line.strip() for line in after if line.strip(_EDGES)), "")
    elif boxed:
        found = boxed[-1].strip()
    found = found.strip("*_` ")
    return found if 0 < len(found) <= SHORT and normalise(found) else None


def normalise(answer: str) -> str:
    """The form by which short answers are compared."""
    form = " ".join(unicodedata.normalize("NFKC", answer).casefold().split())
    boxed = _BOXED.search(form)
    form = (boxed[1] if boxed else form).strip(_EDGES)
    form = _INTRODUCED.sub("", form).strip(_EDGES)
    if choice := _CHOICE.match(form):
        return choice[1]
    if form.startswith("(") and form.endswith(")"):
        form = form[1:-1].strip(_EDGES)
    if number := _NUMBER.match(form):
        before, sign, digits, after = number.groups()
        value = _value(digits.strip())
        if value is not None:
            written = ("-" if sign == "-" else "") + value
            return " ".join(one for one in (before.strip(), written, after.strip()) if one)
    return form


def _value(digits: str) -> str | None:
    """A number without separators and without zeros at its ends; None when it is none, such as a date."""
    compact = re.sub(r"[\s_']", "", digits).rstrip(".,")
    marks = [one for one in compact if one in ".,"]
    point = ""
    if len(set(marks)) == 2:
        # The last one is the decimal mark: 1,000.5 and 1.000,5.
        point = marks[-1]
        if marks.count(point) > 1:
            return None
    elif marks:
        groups = re.split(r"[.,]", compact)
        grouped = 1 <= len(groups[0]) <= 3 and all(len(one) == 3 for one in groups[1:]) and groups[0] != "0"
        if len(marks) > 1 and not grouped:
            return None
        # A single comma before three digits separates thousands; a single point never does.
        point = "" if len(marks) > 1 or (marks[0] == "," and grouped) else marks[0]
    whole, _, part = compact.rpartition(point) if point else (compact, "", "")
    whole = re.sub(r"[.,]", "", whole).lstrip("0") or "0"
    part = part.rstrip("0")
    return f"{whole}.{part}" if part else whole


def count(ballots: Sequence[Ballot], *, deciding: str) -> Result | None:
    """Count the short answers; None when more than half of all are free text, or there is none.

    Among those with the most votes, the answer of the voter `deciding` wins, else the one that came first.
    """
    votes: dict[str, list[Ballot]] = {}
    for ballot in ballots:
        form = ballot.counted_as
        if form is not None:
            votes.setdefault(form, []).append(ballot)
    voted = sum(map(len, votes.values()))
    if voted * 2 < len(ballots) or not voted:
        return None

    def rank(cast: list[Ballot]) -> tuple[int, bool]:
        return -len(cast), all(one.voter != deciding for one in cast)

    # Sorting keeps the order of arrival among equals.
    ranked = sorted(votes.values(), key=rank)
    tied = len(ranked) > 1 and len(ranked[0]) == len(ranked[1])
    return Result(tuple(Count(cast[0].answer or "", tuple(one.voter for one in cast)) for cast in ranked), tied)
