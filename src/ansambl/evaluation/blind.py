"""A blind choice between answers to the same questions: who stands where is hidden until the end. Pure.

Every choice is one task in which the chosen one is right and the others are wrong; "as good" makes all right, "none"
makes all wrong. So the paired statistics of `statistics` hold for it as for graded answers.
"""

from __future__ import annotations

import random
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansambl.domain.errors import UsageError
from ansambl.domain.text import text
from ansambl.evaluation.statistics import Difference, Share, difference_of, share_of

DETECT = 0.2
"""The difference that "how many questions are needed" is worked out for."""
TIE, NONE, SKIP = "=", "0", "s"


@dataclass(frozen=True, slots=True)
class Ballot:
    """One question with its answers in the order in which they are shown: pairs of who gave it and what it says."""

    question: str
    answers: tuple[tuple[str, str], ...]

    @property
    def letters(self) -> str:
        """The letters that stand for the answers."""
        return string.ascii_lowercase[: len(self.answers)]


@dataclass(frozen=True, slots=True)
class Standing:
    """How often one was chosen, and how it compares with the first one (None for that itself)."""

    name: str
    chosen: Share
    against_first: Difference | None


def ballot(number: int, question: str, answers: Mapping[str, str], seed: int) -> Ballot:
    """The answers to question `number` in the order that `seed` gives; the same call gives the same order."""
    order = sorted(answers)
    random.Random(f"{seed}/{number}").shuffle(order)  # noqa: S311 - an order, no secret
    return Ballot(question, tuple((name, answers[name]) for name in order))


def read_choice(word: str, shown: Ballot) -> tuple[str, ...] | None:
    """Who is right by what a person typed: letters (several may be as good), ``=`` for all, ``0`` for none.

    None means that the question is skipped.

    Raises:
        UsageError: it is no choice.
    """
    word = word.strip().casefold()
    if word == SKIP:
        return None
    if word == TIE:
        return tuple(name for name, _ in shown.answers)
    if word == NONE:
        return ()
    if word and all(letter in shown.letters for letter in word):
        return tuple(shown.answers[shown.letters.index(letter)][0] for letter in dict.fromkeys(word))
    raise UsageError(
        text("'{word}' is no choice; type one of {letters}, = for as good, 0 for none, s to skip",
             word=word[:20], letters=", ".join(shown.letters))
    )  # fmt: skip


def standings(names: Sequence[str], choices: Sequence[tuple[str, ...]]) -> list[Standing]:
    """How each of `names` did; each choice names those that were right. The first is what others are compared with."""
    right = {name: [[name in one] for one in choices] for name in names}
    found = []
    for name in names:
        pairs = [(a, b) for a, b in zip(right[name], right[names[0]], strict=True)]
        compared = difference_of(pairs, detect=DETECT) if name != names[0] else None
        found.append(Standing(name, share_of(right[name]), compared))
    return found
