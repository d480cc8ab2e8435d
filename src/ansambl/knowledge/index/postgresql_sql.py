"""The tables and the queries of `postgresql`, and how entries become their rows. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ansambl.domain.knowledge import Filters
from ansambl.knowledge.embedding import Vectors
from ansambl.knowledge.index import qdrant_points as points
from ansambl.knowledge.index.contract import Entry
from ansambl.knowledge.index.exact_sql import token

SPARSE_DIMENSIONS = 1_000_000_000
"""The most that pgvector's sparsevec can have (its README, "Sparse Vectors")."""

_MOST_NONZERO = 16_000
"""Elements of a sparsevec that are not zero: the same source. A passage of more different words keeps the heaviest."""

_MOST_LEXEMES = 60_000
"""A tsvector must stay below one megabyte (PostgreSQL's manual, 12.11)."""

LARGEST_INDEXED = 4000
"""Dimensions of a halfvec that HNSW takes: the same README. Longer vectors are searched exactly."""

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE entries (
        id bigint PRIMARY KEY,
        document bigint NOT NULL,
        collection text NOT NULL,
        kind text NOT NULL,
        source text NOT NULL,
        author text,
        role text,
        language text,
        time float8,
        owner text NOT NULL,
        words tsvector NOT NULL,
        weights sparsevec NOT NULL,
        vector {vector}
    );
    -- What ranks by words is read for every candidate and stays in the row; the rest is read through its index.
    ALTER TABLE entries ALTER COLUMN weights SET STORAGE MAIN, ALTER COLUMN words SET STORAGE EXTENDED,
        ALTER COLUMN vector SET STORAGE EXTERNAL;
    CREATE INDEX entries_words ON entries USING gin (words);
    CREATE INDEX entries_document ON entries (document);
    CREATE INDEX entries_collection ON entries (collection, owner);
    CREATE INDEX entries_time ON entries (time) WHERE time IS NOT NULL;
    CREATE TABLE frequencies (term text PRIMARY KEY, entries bigint NOT NULL) WITH (fillfactor = 70);
    """,
)
"""Each step of the schema, run with the search path at the index's own schema; a released one is never edited."""

VECTOR_INDEX = "CREATE INDEX entries_vector ON entries USING hnsw (vector halfvec_cosine_ops)"

COPY = (
    "COPY entries (id, document, collection, kind, source, author, role, language, time, owner, words, weights, vector)"
    " FROM STDIN"
)

REMOVE = """
WITH gone AS (DELETE FROM entries WHERE id = ANY(%s) RETURNING words),
counted AS (
    SELECT lexeme, count(*) AS n FROM gone CROSS JOIN LATERAL unnest(tsvector_to_array(gone.words)) AS lexeme GROUP BY 1
),
lessened AS (
    UPDATE frequencies AS f SET entries = f.entries - counted.n FROM counted WHERE f.term = counted.lexeme
)
SELECT count(*) FROM gone
"""

COUNT_TERMS = """
INSERT INTO frequencies AS f (term, entries) SELECT * FROM unnest(%s::text[], %s::bigint[])
ON CONFLICT (term) DO UPDATE SET entries = f.entries + excluded.entries
"""


def row_of(entry: Entry) -> tuple[list[Any], set[str]]:
    """The values for `COPY`, and the lexemes to count."""
    kept = [term for term, count in entry.terms.items() if term and count > 0]
    if len(kept) > _MOST_LEXEMES:
        kept = sorted(kept, key=lambda term: (-entry.terms[term], term))[:_MOST_LEXEMES]
    lexemes = {token(term) for term in kept}
    indices, values = points.sparse(entry.terms)
    weights: dict[int, float] = {}
    for index, value in zip(indices, values, strict=True):
        place = index % SPARSE_DIMENSIONS + 1
        weights[place] = weights.get(place, 0.0) + value
    if len(weights) > _MOST_NONZERO:
        weights = dict(sorted(weights.items(), key=lambda pair: (-pair[1], pair[0]))[:_MOST_NONZERO])
    row = [
        entry.id, entry.document, entry.collection, str(entry.kind), entry.source, entry.author, entry.role,
        entry.language, entry.time, entry.owner, " ".join(sorted(lexemes)), sparse_text(weights),
        None if entry.vector is None else vector_text(entry.vector),
    ]  # fmt: skip
    return row, lexemes


def sparse_text(weights: Mapping[int, float]) -> str:
    """A sparsevec as pgvector reads it."""
    return "{" + ",".join(f"{one}:{weights[one]:.5g}" for one in sorted(weights)) + f"}}/{SPARSE_DIMENSIONS}"


def vector_text(vector: Vectors) -> str:
    """A halfvec as pgvector reads it, of unit length so that half precision can hold it."""
    length = float(np.linalg.norm(vector))
    scaled = vector / length if length > 0 else vector
    return "[" + ",".join(f"{one:.5g}" for one in scaled.tolist()) + "]"


def query_weights(asked: Mapping[str, float], holding: Mapping[str, int], entries: int) -> str:
    """The query as a sparsevec: weight times the rarity of each term (BM25's IDF that is never negative)."""
    weights: dict[int, float] = {}
    for term, weight in asked.items():
        n = min(holding.get(token(term), 0), entries)
        rarity = math.log(1 + (entries - n + 0.5) / (n + 0.5))
        place = points.dimension(term) % SPARSE_DIMENSIONS + 1
        weights[place] = weights.get(place, 0.0) + weight * rarity
    return sparse_text(weights)


def telling(asked: Mapping[str, float], holding: Mapping[str, int], enough: int) -> list[str]:
    """The lexemes, rarest first, that together are held by at least `enough` passages; the others only add to scores.

    Passages that hold nothing but the most frequent words of a query are not looked at: reading all of them took most
    of a search's time, and they stand behind those that hold a rarer one.
    """
    known = sorted({token(term) for term in asked} & {term for term, n in holding.items() if n > 0})
    known.sort(key=lambda one: holding[one])
    chosen, reached = [], 0
    for one in known:
        if reached >= enough:
            break
        chosen.append(one)
        reached += holding[one]
    return chosen


def condition(filters: Filters) -> tuple[str, list[Any]]:
    """The filters as conditions, each beginning with AND, with their values."""
    parts: list[str] = []
    values: list[Any] = []
    sets: tuple[tuple[str, Sequence[Any] | None], ...] = (
        ("collection", filters.collections), ("kind", filters.kinds), ("source", filters.sources),
        ("author", filters.authors), ("role", filters.roles), ("language", filters.languages),
        ("owner", filters.owners),
    )  # fmt: skip
    for column, wanted in sets:
        if wanted is not None:
            parts.append(f"AND {column} = ANY(%s::text[])")
            values.append([str(one) for one in wanted])
    if filters.documents is not None:
        parts.append("AND document = ANY(%s::bigint[])")
        values.append(list(filters.documents))
    if filters.since is not None:
        parts.append("AND time >= %s")
        values.append(filters.since)
    if filters.until is not None:
        parts.append("AND time < %s")
        values.append(filters.until)
    return " ".join(parts), values
