"""The tables and the queries of `exact`."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from ansambl.domain.knowledge import Filters
from ansambl.knowledge.index.contract import Entry

COLUMNS = ("document", "collection", "kind", "source", "author", "role", "language", "time", "owner")

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY,
    row INTEGER,
    document INTEGER NOT NULL,
    collection TEXT NOT NULL,
    kind TEXT NOT NULL,
    source TEXT NOT NULL,
    author TEXT,
    role TEXT,
    language TEXT,
    time REAL,
    owner TEXT NOT NULL,
    terms TEXT NOT NULL
);
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(terms, content='entries', content_rowid='id', tokenize='ascii');
"""

INSERT = "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
ROWS = f"SELECT row, id, {', '.join(COLUMNS)} FROM entries WHERE row IS NOT NULL"  # noqa: S608 - our own names

MOST_REPEATS = 32
"""How often a term is stored at most: with k1 = 1.2 a further one changes its part of a score by less than 4 %."""

_FINEST = 4
"""Into how many steps the lightest and the heaviest term of a query are divided."""


@lru_cache(maxsize=200_000)
def token(term: str) -> str:
    """A term as FTS5 sees it: 40 bits of its hash in eight letters and digits.

    Among a million different terms fewer than one pair is expected to fall together.
    """
    return base64.b32encode(blake2b(term.encode("utf-8", "surrogatepass"), digest_size=5).digest()).decode().lower()


def stored_terms(terms: Mapping[str, int]) -> str:
    """Each term as often as it was counted, up to `MOST_REPEATS`, in an order that does not depend on the mapping's."""
    counted = sorted((token(term), count) for term, count in terms.items() if term and count > 0)
    return " ".join(" ".join([one] * min(count, MOST_REPEATS)) for one, count in counted)


def values_of(entry: Entry, row: int | None) -> tuple[Any, ...]:
    """The values of an entry in the order of the table, but for its terms."""
    return (
        entry.id, row, entry.document, entry.collection, str(entry.kind), entry.source, entry.author, entry.role,
        entry.language, entry.time, entry.owner,
    )  # fmt: skip


def match_query(asked: Mapping[str, float]) -> str:
    """The query for FTS5: all terms joined by OR, a heavier one repeated in proportion to the lightest.

    FTS5's bm25 adds each phrase of the query for itself, so a phrase that stands twice counts twice.
    """
    lightest = min(asked.values())
    # Where all weigh the same nothing is repeated, which is the usual case and the quickest one.
    scale = 1.0 if max(asked.values()) < lightest * 1.05 else max(1.0, _FINEST * lightest / max(asked.values()))
    phrases = []
    for term, weight in sorted(asked.items()):
        times = min(_FINEST, max(1, round(weight / lightest * scale)))
        phrases.extend([token(term)] * times)
    return " OR ".join(phrases)


def condition(filters: Filters) -> tuple[str, list[Any]]:
    """The filters as an SQL condition on ``e`` with its values; an empty one where all may be found."""
    parts: list[str] = []
    values: list[Any] = []
    for column, wanted in (
        ("collection", filters.collections), ("kind", filters.kinds), ("source", filters.sources),
        ("author", filters.authors), ("role", filters.roles), ("language", filters.languages),
        ("owner", filters.owners), ("document", filters.documents),
    ):  # fmt: skip
        if wanted is not None:
            # One value for the whole list, because SQLite allows a limited number of them.
            parts.append(f"e.{column} IN (SELECT value FROM json_each(?))")  # noqa: S608 - our own names
            values.append(json.dumps([one if isinstance(one, int) else str(one) for one in wanted]))
    if filters.since is not None:
        parts.append("e.time >= ?")
        values.append(filters.since)
    if filters.until is not None:
        parts.append("e.time < ?")
        values.append(filters.until)
    return " AND ".join(parts), values
