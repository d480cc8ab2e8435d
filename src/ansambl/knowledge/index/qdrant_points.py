"""How an entry becomes a point of Qdrant's data model: the same for the edge library and for a server. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from ansambl.domain.knowledge import Filters
from ansambl.knowledge.index.contract import Entry

DENSE, TERMS = "dense", "terms"
KEYWORDS = ("collection", "kind", "source", "author", "role", "language", "owner")
K1, B, AVERAGE = 1.2, 0.75, 110.0
"""BM25's parameters (Robertson and Zaragoza 2009, section 3.4), and the length that counts as average.

Constant, because a weight is written once and cannot follow a mean that moves; passages are of one size by design.
"""


@lru_cache(maxsize=200_000)
def dimension(term: str) -> int:
    """The sparse dimension of a term: 32 bits of its hash. Of 100,000 terms about one pair is expected to share one."""
    return int.from_bytes(blake2b(term.encode("utf-8", "surrogatepass"), digest_size=4).digest(), "big")


def sparse(terms: Mapping[str, int]) -> tuple[list[int], list[float]]:
    """An entry's terms as a sparse vector: BM25's part of the entry; the part of rarity comes with the search (IDF)."""
    counted: dict[int, int] = {}
    for term, count in terms.items():
        if term and count > 0:
            number = dimension(term)
            counted[number] = counted.get(number, 0) + count
    length = sum(counted.values())
    norm = K1 * (1 - B + B * length / AVERAGE)
    indices = sorted(counted)
    return indices, [count * (K1 + 1) / (count + norm) for count in (counted[one] for one in indices)]


def sparse_query(asked: Mapping[str, float]) -> tuple[list[int], list[float]]:
    """A query's terms as a sparse vector: their weights."""
    weights: dict[int, float] = {}
    for term, weight in asked.items():
        number = dimension(term)
        weights[number] = weights.get(number, 0.0) + weight
    indices = sorted(weights)
    return indices, [weights[one] for one in indices]


def payload(entry: Entry) -> dict[str, Any]:
    """What is filtered by. None is left out: no filter finds it."""
    found: dict[str, Any] = {
        "document": entry.document, "collection": entry.collection, "kind": str(entry.kind), "source": entry.source,
        "author": entry.author, "role": entry.role, "language": entry.language, "time": entry.time,
        "owner": entry.owner,
    }  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


def wanted_sets(filters: Filters) -> list[tuple[str, list[Any]]]:
    """The fields of which one of some values is wanted, with those values."""
    sets: tuple[tuple[str, Sequence[Any] | None], ...] = (
        ("collection", filters.collections), ("kind", filters.kinds), ("source", filters.sources),
        ("author", filters.authors), ("role", filters.roles), ("language", filters.languages),
        ("owner", filters.owners), ("document", filters.documents),
    )  # fmt: skip
    return [
        (name, [one if isinstance(one, int) else str(one) for one in wanted])
        for name, wanted in sets
        if wanted is not None
    ]
