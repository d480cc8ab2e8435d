"""Passages to try an index with, and how its rankings are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ansambl.domain.knowledge import Kind
from ansambl.knowledge.embedding import Vectors, VectorSpace
from ansambl.knowledge.index.contract import Entry, Index, Ranked

SPACE = VectorSpace("a model of tests", 16)
LARGEST = 2**63 - 1

Open = Callable[[VectorSpace | None], Index]


def vector(seed: int, dimension: int = SPACE.dimension) -> Vectors:
    """A unit vector, the same for the same seed."""
    made = np.random.default_rng(seed).normal(size=dimension).astype(np.float32)
    return np.asarray(made / np.linalg.norm(made), np.float32)


def entry(number: int, terms: dict[str, int] | None = None, **others: Any) -> Entry:
    """A passage with a vector of its own; what is left out is plain."""
    given_ = {"document": number // 10, "collection": "notes", "kind": Kind.FILE, "vector": vector(number), **others}
    return Entry(number, terms=terms if terms is not None else {"word": 1, f"own{number}": 1}, **given_)


def ids(ranking: Sequence[Ranked]) -> list[int]:
    """The ids of a ranking, which must be one: best first, nobody twice."""
    scores = [one.score for one in ranking]
    if scores != sorted(scores, reverse=True):
        message = f"this ranking is not best first: {ranking}"
        raise AssertionError(message)
    found = [one.id for one in ranking]
    if len(set(found)) != len(found):
        message = f"this ranking holds a passage twice: {ranking}"
        raise AssertionError(message)
    return found
