"""From a question to passages: by words and by meaning, fused, near-duplicates folded, ranked again where one can.

A hit's score: how near it is to the best possible place. 1 is first by words and first by meaning; a passage that is
found in one way alone has about half of it at most; with a reranker it is that one's score, brought between 0 and 1.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ansambl.domain.errors import AnsamblError
from ansambl.domain.knowledge import EVERYBODY, Filters, Found, Hit
from ansambl.domain.languages import NOT_IN_LATIN
from ansambl.foundation.logging import get_logger
from ansambl.knowledge.analysis.likeness import alike
from ansambl.knowledge.analysis.terms import in_latin_letters, names_exactly, query_terms
from ansambl.knowledge.embedding import Embedder, Vectors
from ansambl.knowledge.index.contract import Index, Ranked
from ansambl.knowledge.index.fusion import fused
from ansambl.knowledge.ingest.index_care import IndexCare, OpenIndex
from ansambl.knowledge.passages.dividing import embedded_text
from ansambl.knowledge.store.collections import unknown_collection
from ansambl.knowledge.store.database import KnowledgeDatabase
from ansambl.knowledge.store.finding import candidates, full

log = get_logger(__name__)

LONGEST_QUERY = 4_000
"""Characters of a question that are read; models of vectors read less than that anyway."""

_DEPTH = 50
_MOST_DEPTH = 500
_MOST_TERMS = 64
_MOST_HITS = 200
_RERANKED = 30
_OVERLAPPING = 0.5
_SHORT = 200
_FREQUENT = 0.15
_ELSEWHERE = 0.1


class Reranker(Protocol):
    """Scores how well texts answer a question: an engine with a model for it."""

    def scores(self, question: str, texts: Sequence[str]) -> list[float]:
        """One for each text, higher is better, on any scale.

        Raises:
            AnsamblError: it cannot be asked.
        """
        ...


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each ranking counts: chosen on the labelled sets of ``benchmarks/knowledge.py``.

    More for words finds a little more in one language and much less across two.
    """

    vector: float = 1.0
    text: float = 0.7
    exact: float = 2.0
    """Of words, where the question names something exact: no model of vectors knows an error code or a version.

    With the weight of other questions, the only passage with the code that is asked for came fourth or fifth.
    """

    def of_words(self, question: str) -> float:
        """The weight of the ranking by words for a question."""
        return max(self.text, self.exact) if names_exactly(question) else self.text

    def where(self, share: float) -> Weights:
        """The weights where this share of the passages has vectors, 0 to 1.

        The nearest of a few vectors is near by chance. With vectors for 85 of 5,319 passages and the full weight, 18 of
        76 questions found their conversation among the first three; words alone found 26.
        """
        return replace(self, vector=self.vector * share)


def embedded_share(counted: Iterable[tuple[int, int]]) -> float:
    """The share of passages that have vectors, of pairs of both counts; 1 where there are no passages."""
    pairs = list(counted)
    passages = sum(one for one, _ in pairs)
    return sum(embedded for _, embedded in pairs) / passages if passages else 1.0


def parts_by_words(question: str, by_words: Sequence[Ranked], languages: Mapping[int, str | None]) -> dict[int, float]:
    """How much the ranking by words counts for its passages, which are in these languages (see ``fusion.Parts``).

    Where the question names something exact, as much as the passage's score is of the best one: those that hold the
    other words alone stay behind. Otherwise a tenth where the question has Latin letters alone and the passage is in a
    language that is written in others: what that holds of the question are names of functions and keys that happen to
    be the same words. With the full weight an English question found less among Russian passages than vectors alone
    did (``benchmarks/knowledge.py``).
    """
    if names_exactly(question):
        best = max((one.score for one in by_words), default=0.0)
        return {one.id: max(0.0, one.score / best) for one in by_words} if best > 0 else {}
    if not in_latin_letters(question):
        return {}
    return {one.id: _ELSEWHERE for one in by_words if languages.get(one.id) in NOT_IN_LATIN}


@dataclass(slots=True)
class _Chosen:
    """A passage that stays, with those that were folded into it."""

    id: int
    score: float
    by: tuple[str, ...]
    likeness: float | None
    row: sqlite3.Row
    duplicates: list[int]


@dataclass(frozen=True, slots=True)
class _Counts:
    """Passages and vectors by collection, and whether any document has an owner, at one `state` of the store."""

    state: tuple[int, ...]
    collections: Mapping[str, tuple[int, int]]
    owned: bool


_STATE = (
    "SELECT CAST(value AS INTEGER), (SELECT count(*) FROM collections), (SELECT coalesce(max(id), 0) FROM collections) "
    "FROM facts WHERE name = 'revision'"
)
"""What changes whenever the counts do."""


class Search:
    """Answers searches. From any thread, as many at once as come."""

    def __init__(
        self, database: KnowledgeDatabase, care: IndexCare, embedder_for: Callable[[OpenIndex], Embedder | None],
        reranker: Reranker | None, weights: Weights = Weights(),
    ) -> None:  # fmt: skip
        """`embedder_for` gives the model whose vectors an index holds, None where there is none."""
        self._database, self._care, self._embedder_for = database, care, embedder_for
        self._reranker, self._weights = reranker, weights
        self._known: _Counts | None = None

    def find(self, query: str, filters: Filters, limit: int, *, vectors: bool) -> Found:
        """What answers `query`, best first.

        Raises:
            NotFoundError: a collection of the filters does not exist.
            UnavailableError: the index cannot be asked.
        """
        query = query.replace("\0", " ").strip()[:LONGEST_QUERY]
        limit = max(0, min(limit, _MOST_HITS))
        seconds: dict[str, float] = {}
        with self._care.using() as one:
            counts = self._counts(one.number)
            counted = self._counted(filters, counts).values()
            pending = sum(passages - embedded for passages, embedded in counted)
            weights = self._weights.where(embedded_share(counted))
            if not query or not limit:
                return Found(pending=pending)
            vector = self._vector(query, one, seconds) if vectors else None
            asked = _telling(filters, counts)
            rankings = self._rankings(
                one, query, vector, asked, weights, min(_MOST_DEPTH, max(_DEPTH, 4 * limit)), seconds
            )
            space = one.space.model if one.space is not None and vector is not None else ""
        began = time.perf_counter()
        hits = self._hits(query, rankings, filters, limit, seconds)
        seconds["fuse"] = time.perf_counter() - began - seconds.get("rerank", 0.0)
        return Found(hits, vectors=vector is not None, pending=pending, seconds=seconds, space=space)

    def _counted(self, filters: Filters, counts: _Counts) -> Mapping[str, tuple[int, int]]:
        """Passages and vectors by the searched collections."""
        if filters.collections is None:
            return counts.collections
        for name in filters.collections:
            if name not in counts.collections:
                raise unknown_collection(name, list(counts.collections))
        return {name: counts.collections[name] for name in filters.collections}

    def _counts(self, space: int) -> _Counts:
        """What there is, counted once for each state of the store: a sum over all documents takes milliseconds."""
        with self._database.snapshot() as connection:
            state = (space, *connection.execute(_STATE).fetchone())
            known = self._known
            if known is not None and known.state == state:
                return known
            rows = connection.execute(
                "SELECT c.name, coalesce(sum(d.passages), 0), coalesce(sum(e.passages), 0) FROM collections c "
                "LEFT JOIN documents d ON d.collection = c.id "
                "LEFT JOIN embedded e ON e.document = d.id AND e.space = ? GROUP BY c.id",
                (space,),
            )
            collections = {row[0]: (row[1], row[2]) for row in rows}
            owned = connection.execute("SELECT EXISTS (SELECT 1 FROM documents WHERE owner <> '')").fetchone()[0]
        self._known = _Counts(state, collections, owned=bool(owned))
        return self._known

    def _vector(self, query: str, one: OpenIndex, seconds: dict[str, float]) -> Vectors | None:
        """The question's vector; None where its model cannot be asked now."""
        embedder = self._embedder_for(one)
        if embedder is None:
            return None
        began = time.perf_counter()
        try:
            found = embedder.query(query)
        except AnsamblError as error:
            log.warning("question_not_embedded", reason=str(error))
            return None
        finally:
            seconds["embed"] = time.perf_counter() - began
        return found if one.space is not None and found.shape == (one.space.dimension,) else None

    def _rankings(
        self, one: OpenIndex, query: str, vector: Vectors | None, filters: Filters, weights: Weights, depth: int,
        seconds: dict[str, float],
    ) -> list[tuple[str, float, list[Ranked]]]:  # fmt: skip
        rankings = []
        if vector is not None:
            began = time.perf_counter()
            ranked = _asked(one.index, lambda index: index.by_vector(vector, filters, depth))
            rankings.append(("vector", weights.vector, ranked))
            seconds["vector"] = time.perf_counter() - began
        began = time.perf_counter()
        terms = most_telling(query_terms(query))
        if terms:
            ranked = _asked(one.index, lambda index: index.by_terms(terms, filters, depth))
            rankings.append(("text", weights.of_words(query), ranked))
        seconds["text"] = time.perf_counter() - began
        return rankings

    def _hits(
        self, query: str, rankings: Sequence[tuple[str, float, list[Ranked]]], filters: Filters, limit: int,
        seconds: dict[str, float],
    ) -> tuple[Hit, ...]:  # fmt: skip
        near = {one.id: one.score for name, _, ranking in rankings if name == "vector" for one in ranking}
        ids = dict.fromkeys(one.id for _, _, ranking in rankings for one in ranking)
        with self._database.snapshot() as connection:
            rows = candidates(connection, list(ids))
            languages = {one: row["language"] for one, row in rows.items()}
            parts = {
                # Where words are alone, nothing else would find what counts for less.
                name: parts_by_words(query, ranking, languages)
                for name, _, ranking in rankings
                if name == "text" and near
            }
            everything = fused(rankings, _MOST_DEPTH, parts=parts)
            chosen: list[_Chosen] = []
            wanted = max(limit, _RERANKED) if self._reranker is not None else limit
            for one in everything:
                row = rows.get(one.id)
                # The index may know passages that were removed a moment ago; and whose they are is not its word alone.
                if row is None or not _allowed(row, filters):
                    continue
                into = next((other for other in chosen if _says_the_same(row, other.row)), None)
                if into is not None:
                    into.duplicates.append(one.id)
                    continue
                if len(chosen) == wanted:
                    break
                chosen.append(_Chosen(one.id, one.score, one.by, near.get(one.id), row, []))
            with self._care.using() as serving:
                found = full(connection, serving.number, [one.id for one in chosen])
        hits = [
            Hit(one.id, one.score, *found[one.id], one.by, tuple(one.duplicates), one.likeness)
            for one in chosen
            if one.id in found
        ]
        return tuple(self._reranked(query, hits, seconds)[:limit])

    def _reranked(self, query: str, hits: list[Hit], seconds: dict[str, float]) -> list[Hit]:
        if self._reranker is None or len(hits) < 2:
            return hits
        began = time.perf_counter()
        try:
            scores = self._reranker.scores(query, [embedded_text(hit.passage) for hit in hits])
        except AnsamblError as error:
            log.warning("not_reranked", reason=str(error))
            return hits
        finally:
            seconds["rerank"] = time.perf_counter() - began
        if len(scores) != len(hits) or not all(math.isfinite(score) for score in scores):
            log.warning("not_reranked", reason="the scores do not fit the passages")
            return hits
        # Some models give probabilities, others any number: those are brought between 0 and 1.
        plain = all(0.0 <= score <= 1.0 for score in scores)
        ordered = sorted(zip(scores, hits, strict=True), key=lambda pair: -pair[0])
        return [
            replace(hit, score=score if plain else _squeezed(score), by=(*hit.by, "rerank")) for score, hit in ordered
        ]


def _asked(index: Index, ask: Callable[[Index], list[Ranked]]) -> list[Ranked]:
    """Ask once more where the index's process went away in between: the second call waits until it is up again."""
    try:
        return ask(index)
    except AnsamblError as error:
        log.warning("index_asked_again", reason=str(error))
        return ask(index)


def _telling(filters: Filters, counts: _Counts) -> Filters:
    """Without the filters that hold for everything: an index takes four times as long to check them (measured)."""
    if filters.collections is not None and set(filters.collections) == set(counts.collections):
        filters = replace(filters, collections=None)
    if filters.owners is not None and EVERYBODY in filters.owners and not counts.owned:
        filters = replace(filters, owners=None)
    return filters


def most_telling(terms: Mapping[str, float]) -> dict[str, float]:
    """The terms of a question that say what it is about, those that weigh most where there are many.

    Frequent words are left out beside others: a passage that holds "where" and "the" alone would be first by words, and
    above the one that is nearest by meaning and in another language.
    """
    highest = max(terms.values(), default=0.0)
    telling = {term: weight for term, weight in terms.items() if weight > _FREQUENT * highest}
    if len(telling) <= _MOST_TERMS:
        return telling
    return dict(sorted(telling.items(), key=lambda one: (-one[1], -len(one[0]), one[0]))[:_MOST_TERMS])


def _allowed(row: sqlite3.Row, filters: Filters) -> bool:
    return (filters.owners is None or row["owner"] in filters.owners) and (
        filters.collections is None or row["collection"] in filters.collections
    )


def _says_the_same(one: sqlite3.Row, other: sqlite3.Row) -> bool:
    """Nearly the same words, or more than half of the same stretch of one document."""
    if one["document"] == other["document"]:
        shared = min(one["stop"], other["stop"]) - max(one["start"], other["start"])
        shorter = min(one["stop"] - one["start"], other["stop"] - other["start"])
        if shared > _OVERLAPPING * shorter:
            return True
    shortest = min(one["stop"] - one["start"], other["stop"] - other["start"])
    if shortest < _SHORT:
        # In a line or two, one other word is another fact.
        return bool(one["fingerprint"] and one["fingerprint"] == other["fingerprint"])
    return alike(one["fingerprint"], other["fingerprint"])


def _squeezed(score: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(-50.0, min(50.0, score))))
