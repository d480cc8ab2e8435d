"""An index as simple as it can be: what others are compared with, and a stand-in where speed does not matter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ansambl.domain.knowledge import Filters
from ansambl.knowledge.embedding import Vectors
from ansambl.knowledge.index.contract import Entry, IndexState, Ranked

_K1, _B = 1.2, 0.75


class NaiveIndex:
    """Fulfils `Index` in memory, looking at every entry each time."""

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        self._applied = 0

    def put(self, entries: Sequence[Entry]) -> None:
        """See `Index`."""
        self.entries.update({one.id: one for one in entries})

    def remove(self, ids: Sequence[int]) -> None:
        """See `Index`."""
        for one in ids:
            self.entries.pop(one, None)

    def commit(self, applied: int) -> None:
        """See `Index`."""
        self._applied = applied

    def by_vector(self, vector: Vectors, filters: Filters, limit: int) -> list[Ranked]:
        """See `Index`."""
        found = [
            Ranked(one.id, _cosine(one.vector, vector))
            for one in self.entries.values()
            if one.vector is not None and allowed(one, filters)
        ]
        return sorted(found, key=lambda one: (-one.score, one.id))[: max(0, limit)]

    def by_terms(self, terms: Mapping[str, float], filters: Filters, limit: int) -> list[Ranked]:
        """BM25 as it stands in Robertson and Zaragoza (2009), with the IDF that is never negative."""
        everything = list(self.entries.values())
        average = sum(sum(one.terms.values()) for one in everything) / max(1, len(everything)) or 1.0
        holding = {term: sum(term in one.terms for one in everything) for term in terms}
        found = []
        for one in everything:
            length = sum(one.terms.values())
            score = sum(
                weight
                * math.log(1 + (len(everything) - holding[term] + 0.5) / (holding[term] + 0.5))
                * one.terms[term]
                * (_K1 + 1)
                / (one.terms[term] + _K1 * (1 - _B + _B * length / average))
                for term, weight in terms.items()
                if term and weight > 0 and one.terms.get(term, 0) > 0
            )
            if score > 0 and allowed(one, filters):
                found.append(Ranked(one.id, score))
        return sorted(found, key=lambda one: (-one.score, one.id))[: max(0, limit)]

    def state(self) -> IndexState:
        """See `Index`."""
        return IndexState(
            len(self.entries), sum(one.vector is not None for one in self.entries.values()), self._applied
        )

    def clear(self) -> None:
        """See `Index`."""
        self.entries.clear()
        self._applied = 0

    def close(self) -> None:
        """Nothing is held."""


def allowed(entry: Entry, filters: Filters) -> bool:
    """Whether a search with these filters may find the entry."""
    for value, wanted in (
        (entry.collection, filters.collections), (entry.kind, filters.kinds), (entry.source, filters.sources),
        (entry.author, filters.authors), (entry.role, filters.roles), (entry.language, filters.languages),
        (entry.owner, filters.owners), (entry.document, filters.documents),
    ):  # fmt: skip
        if wanted is not None and value not in wanted:
            return False
    if filters.since is not None and (entry.time is None or entry.time < filters.since):
        return False
    return filters.until is None or (entry.time is not None and entry.time < filters.until)


def _cosine(one: Vectors, other: Vectors) -> float:
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / lengths if lengths > 0 else 0.0
