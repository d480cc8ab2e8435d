"""How much a question is like the members' examples: by words, or by an embeddings model's vectors."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansambl.domain.code_in_text import holds_code
from ansambl.domain.errors import EngineError
from ansambl.domain.text import text
from ansambl.roles.routing.concepts import concepts
from ansambl.roles.routing.records import Member, plain, searched

if TYPE_CHECKING:
    # Imported where vectors are compared: it takes 11 MB, and few routes have an embeddings model.
    import numpy as np
    from numpy.typing import NDArray

LONGEST_COMPARED = 600
"""Characters of a question that are compared: its beginning and its end, where the wish stands beside a pasted text."""

BEST_EXAMPLES = 3
"""A member's likeness is the mean of that of its most alike examples, because one lucky word in one example is not
enough; or the square of the best one's, if that is more, because a question that is an example is meant for its member
however different the member's other examples are."""

_WORD_WEIGHT, _PART_WEIGHT, _CONCEPT_WEIGHT, _FORM_WEIGHT = 0.5, 0.2, 2.0, 0.5
"""How much words, parts of words, concepts and the form of a sentence say; found by leaving out one shipped example
after another (`benchmarks/routing.py` measures on questions that had no part in it)."""

_PART = 3
_SMOOTHING = 1.0
_WORD = re.compile(r"[^\W_]+")
_DIGITS = re.compile(r"\d+")
_CYRILLIC, _LATIN = re.compile(r"[а-я]{2}"), re.compile(r"[a-z]{2}")
_LENGTHS = (4, 7, 12, 40)


@dataclass(frozen=True, slots=True)
class Alike:
    """A member's likeness to a question (0 to 1), and its most alike example."""

    role: str
    score: float
    example: str


def examples_of(members: Iterable[Member]) -> tuple[str, ...]:
    """All examples of all members, in the order in which `VectorLikeness` wants their vectors."""
    return tuple(example for member in members for example in member.examples)


class WordLikeness:
    """Likeness by words, without a model: cosine between weighted features of the question and of each example.

    Features are words, parts of words of three letters (so that endings, of which Russian has many, matter little),
    concepts (`concepts`: what makes a few examples go a long way, and over both languages) and the form of the sentence
    (length, question, digits, two scripts, code). Each is weighted by its inverse document frequency over all examples
    (Spärck Jones 1972); what no example holds counts as rare, so an unfamiliar question is like nobody.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self._examples = [(member.name, example) for member in members for example in member.examples]
        counted = [_features(example) for _, example in self._examples]
        frequency = Counter(feature for features in counted for feature in features)
        total = len(counted) + 1
        self._rarity = {feature: _rarity(total, count) for feature, count in frequency.items()}
        self._unknown = _rarity(total, 0)
        self._holders: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
        for index, features in enumerate(counted):
            for feature, weight in self._weighted(features).items():
                self._holders[feature].append((index, weight))

    def of(self, question: str) -> tuple[Alike, ...]:
        """The members that have examples, the most alike first; of equal ones the member that is listed first."""
        scores = [0.0] * len(self._examples)
        for feature, weight in self._weighted(_features(question)).items():
            for index, other in self._holders.get(feature, ()):
                scores[index] += weight * other
        return _ranked(self._examples, scores)

    def _weighted(self, features: Counter[str]) -> dict[str, float]:
        """The features' weights as a vector of length 1."""
        found = {
            feature: weight * (1.0 + math.log(count)) * self._rarity.get(feature, self._unknown)
            for feature, count in features.items()
            for weight in (_WEIGHTS[feature[0]],)
        }
        length = math.sqrt(sum(weight * weight for weight in found.values())) or 1.0
        return {feature: weight / length for feature, weight in found.items()}


class VectorLikeness:
    """Likeness by an embeddings model.

    Vectors of all texts have much in common, which differs from model to model (unrelated sentences have cosines of
    0.1 with one and 0.7 with another). The examples' mean is therefore taken from all of them first: what is like
    nobody then lies near 0 and one threshold means about the same for all models.
    """

    def __init__(self, members: Sequence[Member], vectors: Sequence[Sequence[float]]) -> None:
        """Keep the vectors of ``examples_of(members)``, in that order.

        Raises:
            EngineError: they are not as many, not of one length, or not numbers.
        """
        import numpy as np

        self._examples = [(member.name, example) for member in members for example in member.examples]
        found = _matrix(vectors)
        if len(found) != len(self._examples):
            raise EngineError(
                text(
                    "The embeddings model answered with {got} vectors for {wanted} texts.",
                    got=len(found),
                    wanted=len(self._examples),
                )
            )
        self._mean = found.mean(axis=0) if len(found) > 1 else np.zeros(found.shape[1:])
        self._vectors = _unit(found - self._mean)

    def of(self, vector: Sequence[float]) -> tuple[Alike, ...]:
        """The members that have examples, the most alike to the question with this vector first.

        Raises:
            EngineError: the vector is not of the examples' length, or not of numbers.
        """
        if not self._examples:
            return ()
        question = _matrix([vector])
        if question.shape[1:] != self._vectors.shape[1:]:
            raise _unusable()
        scores = self._vectors @ _unit(question - self._mean)[0]
        return _ranked(self._examples, [min(1.0, max(0.0, float(score))) for score in scores])


def _matrix(vectors: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    import numpy as np

    try:
        found = np.asarray(vectors, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise _unusable() from None
    if not len(found):
        return np.zeros((0, 0))
    if found.ndim != 2 or not np.isfinite(found).all() or np.abs(found).max(initial=0.0) > 1e100:
        raise _unusable()
    return found


def _unusable() -> EngineError:
    return EngineError(
        text("The embeddings model answered with vectors that are not of one length, or not of numbers.")
    )


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths > 1e-12, lengths, np.inf)


def _ranked(examples: Sequence[tuple[str, str]], scores: Sequence[float]) -> tuple[Alike, ...]:
    by_role: dict[str, list[tuple[float, str]]] = {}
    for (role, example), score in zip(examples, scores, strict=True):
        by_role.setdefault(role, []).append((score, example))
    found = []
    for role, each in by_role.items():
        each.sort(key=lambda one: -one[0])
        best = each[:BEST_EXAMPLES]
        mean = math.fsum(score for score, _ in best) / len(best)
        found.append(Alike(role, min(1.0, max(0.0, mean, best[0][0] ** 2)), best[0][1]))
    return tuple(sorted(found, key=lambda one: -one.score))


def _rarity(total: int, holding: int) -> float:
    return math.log(total / (holding + 1)) + _SMOOTHING


_WEIGHTS = {"w": _WORD_WEIGHT, "p": _PART_WEIGHT, "c": _CONCEPT_WEIGHT, "f": _FORM_WEIGHT}
"""Weights by a feature's first letter."""


def _features(written: str) -> Counter[str]:
    said = plain(searched(written, LONGEST_COMPARED))
    words = _WORD.findall(said)
    found: Counter[str] = Counter()
    for word in words:
        found["w" + word] += 1
        edged = f"<{word}>"
        found.update("p" + edged[at : at + _PART] for at in range(len(edged) - _PART + 1))
        found.update("c" + concept for concept in concepts(word))
    found.update(_form(said, words, written))
    return found


def _form(said: str, words: Sequence[str], written: str) -> Iterable[str]:
    yield f"fwords{sum(len(words) > most for most in _LENGTHS)}"
    if said.rstrip().endswith("?"):
        yield "fquestion"
    numbers = len(_DIGITS.findall(said))
    if numbers:
        yield f"fnumbers{min(numbers, 2)}"
    if _CYRILLIC.search(said) and _LATIN.search(said):
        yield "fscripts"
    if words:
        yield from (f"ffirst{concept}" for concept in concepts(words[0]))
    if holds_code(written[: 10 * LONGEST_COMPARED]):
        yield "fcode"
