"""What every index fulfils. The shared suite of `ansambl.testing.index_suite` holds all of them to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ansambl.domain.knowledge import EVERYBODY, Filters, Kind
from ansambl.knowledge.embedding import Vectors, VectorSpace


@dataclass(frozen=True, slots=True)
class Entry:
    """A passage as an index sees it. `terms` are counted normalised words (`analysis`), of its context and its text.

    `vector` is None while it was not computed: the passage is found by its words until it comes.
    """

    id: int
    document: int
    collection: str
    kind: Kind
    terms: Mapping[str, int]
    vector: Vectors | None = None
    source: str = ""
    author: str | None = None
    role: str | None = None
    language: str | None = None
    time: float | None = None
    owner: str = EVERYBODY


@dataclass(frozen=True, slots=True)
class Ranked:
    """One passage in a ranking: `score` is the index's own, higher is better."""

    id: int
    score: float


@dataclass(frozen=True, slots=True)
class IndexState:
    """`entries` and of them `vectors`; `applied` is the revision of the store up to which it is complete."""

    entries: int
    vectors: int
    applied: int
    facts: Mapping[str, str] = field(default_factory=dict)


class Index(Protocol):
    """Finds passages. Calls block, come from any thread, and searches go on while something is written.

    What `put` and `remove` have done is durable when `commit` returns, not before, and is found by then at the latest;
    after a crash an index is at some commit or later, and applying the same again changes nothing. Where one of them
    raises, what was done since the last commit may be lost: whoever writes begins again from ``state().applied``.
    One at a time writes. Ids are between 0 and 2^63-1. A ranking holds 10,000 passages at most.
    """

    def put(self, entries: Sequence[Entry]) -> None:
        """Add passages, or replace those of the same id.

        Raises:
            EntryRefusedError: a vector of another length or with a number that is none, an id out of bounds.
            IndexGoneError: see `errors`.
        """
        ...

    def remove(self, ids: Sequence[int]) -> None:
        """Remove passages; unknown ids are ignored."""
        ...

    def commit(self, applied: int) -> None:
        """Make durable what was done, and note that the store's revision `applied` has been reached."""
        ...

    def by_vector(self, vector: Vectors, filters: Filters, limit: int) -> list[Ranked]:
        """The passages whose vectors are nearest (cosine, 1 is equal), best first."""
        ...

    def by_terms(self, terms: Mapping[str, float], filters: Filters, limit: int) -> list[Ranked]:
        """The passages that hold the most telling terms (BM25), best first; the values weigh the terms of the query."""
        ...

    def state(self) -> IndexState:
        """How much is in it, and up to which revision."""
        ...

    def clear(self) -> None:
        """Make it empty, at revision 0."""
        ...

    def close(self) -> None:
        """Give back what it holds. Nothing may be called afterwards."""
        ...


@dataclass(frozen=True, slots=True)
class IndexPlace:
    """Where an index lives: a folder of its own, or a server's `address` and a `name` of its own there."""

    folder: str
    space: VectorSpace | None
    address: str = ""
    name: str = "ansambl"
