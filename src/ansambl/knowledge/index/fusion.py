"""Several rankings of the same passages made into one. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansambl.knowledge.index.contract import Ranked

RRF_K = 5.0
"""How little the first places stand out.

Cormack, Clarke and Büttcher (2009) took 60 for rankings of a thousand places; ours have fifty. On the labelled sets of
``benchmarks/knowledge.py`` 2 to 10 find more than 60 does, in English, in Russian and across the two.
"""


@dataclass(frozen=True, slots=True)
class FusedHit:
    """A passage of a fused ranking: `score` is between 0 and 1; `by` names the rankings that hold it."""

    id: int
    score: float
    by: tuple[str, ...]


Rankings = Sequence[tuple[str, float, Sequence[Ranked]]]
"""Each a name (``"vector"``, ``"text"``), a weight and the ranking, best first."""


Parts = Mapping[str, Mapping[int, float]]
"""By a ranking's name and a passage's id: the part of the ranking's weight that counts for it, 0 to 1; 1 if absent."""


def fused(rankings: Rankings, limit: int, *, k: float = RRF_K, parts: Parts | None = None) -> list[FusedHit]:
    """Reciprocal rank fusion: each ranking gives ``weight / (k + place)``, places counting from 1, or a part of that.

    A passage that is first in all of them has the score 1. Equal scores are ordered by the id.
    """
    sums: dict[int, float] = {}
    by: dict[int, list[str]] = {}
    for name, weight, ranking in rankings:
        seen: set[int] = set()
        part = (parts or {}).get(name, {})
        for place, one in enumerate(ranking, 1):
            if weight > 0 and one.id not in seen:
                seen.add(one.id)
                _count(sums, by, one.id, part.get(one.id, 1.0) * weight / (k + place), name)
    best = sum(weight for _, weight, _ in rankings if weight > 0) / (k + 1)
    return _sorted(sums, by, best, limit)


def fused_by_score(rankings: Rankings, limit: int) -> list[FusedHit]:
    """Weighted sum of scores, each ranking's own being brought between 0 (its last) and 1 (its best).

    A ranking whose scores are all the same gives 1 to each of them.
    """
    sums: dict[int, float] = {}
    by: dict[int, list[str]] = {}
    for name, weight, ranking in rankings:
        if weight <= 0 or not ranking:
            continue
        highest, lowest = max(one.score for one in ranking), min(one.score for one in ranking)
        seen: set[int] = set()
        for one in ranking:
            if one.id not in seen:
                seen.add(one.id)
                part = (one.score - lowest) / (highest - lowest) if highest > lowest else 1.0
                _count(sums, by, one.id, weight * part, name)
    return _sorted(sums, by, sum(weight for _, weight, _ in rankings if weight > 0), limit)


def _count(sums: dict[int, float], by: dict[int, list[str]], one: int, part: float, name: str) -> None:
    sums[one] = sums.get(one, 0.0) + part
    by.setdefault(one, []).append(name)


def _sorted(sums: dict[int, float], by: dict[int, list[str]], best: float, limit: int) -> list[FusedHit]:
    ordered = sorted(sums, key=lambda one: (-sums[one], one))[: max(0, limit)]
    return [FusedHit(one, min(1.0, sums[one] / best) if best > 0 else 0.0, tuple(by[one])) for one in ordered]
