"""What every index checks before it takes something in, so that all of them refuse the same in the same words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ansambl.domain.knowledge import Filters
from ansambl.domain.text import text
from ansambl.knowledge.embedding import Vectors, VectorSpace
from ansambl.knowledge.index.contract import Entry
from ansambl.knowledge.index.errors import EntryRefusedError

LARGEST_ID = 2**63 - 1
MOST_RESULTS = 10_000
"""A ranking is never longer: nobody fuses more, and a wrong limit must not take all memory."""

_SETS = ("collections", "kinds", "sources", "authors", "roles", "languages", "owners", "documents")


def check_entries(entries: Sequence[Entry], space: VectorSpace | None) -> None:
    """Raises EntryRefusedError for the first entry that cannot be taken."""
    for one in entries:
        if not 0 <= one.id <= LARGEST_ID:
            message = text("the passage's id {id} is not between 0 and 2^63-1", id=one.id)
            raise EntryRefusedError(message)
        if not 0 <= one.document <= LARGEST_ID:
            message = text("the document's id {id} is not between 0 and 2^63-1", id=one.document)
            raise EntryRefusedError(message)
        if one.vector is not None:
            check_vector(one.vector, space)


def check_vector(vector: Vectors, space: VectorSpace | None) -> None:
    """Raises EntryRefusedError for a vector of another length, or with a number in it that is none."""
    if space is None:
        message = text("this index holds words alone, so it takes no vectors")
        raise EntryRefusedError(message)
    if vector.shape != (space.dimension,):
        message = text(
            "a vector of the shape {shape} does not fit the space of {model}, which has {dimension} dimensions",
            shape="x".join(str(one) for one in vector.shape), model=space.model, dimension=space.dimension,
        )  # fmt: skip
        raise EntryRefusedError(message)
    # One sum instead of a look at every number: it is finite only where all of them are, and small enough.
    if not np.isfinite(np.dot(vector, vector)):
        message = text("a vector of {model} holds a number that is not finite", model=space.model)
        raise EntryRefusedError(message)


def asked_terms(terms: Mapping[str, float]) -> dict[str, float]:
    """The terms that a query is really about: those of a positive, finite weight."""
    return {term: float(weight) for term, weight in terms.items() if term and 0 < weight < float("inf")}


def bounded(limit: int) -> int:
    """A limit between 0 and `MOST_RESULTS`."""
    return max(0, min(limit, MOST_RESULTS))


def finds_nothing(filters: Filters) -> bool:
    """Whether no passage can fulfil `filters`: one of its sets is empty, or its time ends before it begins."""
    if any(getattr(filters, name) is not None and not getattr(filters, name) for name in _SETS):
        return True
    return filters.since is not None and filters.until is not None and filters.since >= filters.until


def filters_nothing(filters: Filters) -> bool:
    """Whether every passage fulfils `filters`."""
    return filters.since is None and filters.until is None and all(getattr(filters, name) is None for name in _SETS)
