"""What an index has not heard of yet, in the order of revisions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ansambl.domain.knowledge import Kind
from ansambl.knowledge.index.contract import Entry
from ansambl.knowledge.store.facts import fact, note, revision
from ansambl.knowledge.store.packing import marks_of, unpack_passage, unpack_terms, unpack_vector

STEP = 2_000
"""Changes in one step: an index commits after each, so that a crash costs no more than one."""

_CHUNK = 256


@dataclass(frozen=True, slots=True)
class Changes:
    """Passages that are `gone`, and those that came, changed or got a vector, up to the revision `until`."""

    gone: Sequence[int]
    put: Sequence[int]
    until: int


def changes_after(connection: sqlite3.Connection, applied: int, space: int) -> Changes:
    """The next step of changes after the revision `applied`; whole revisions only."""
    tables = ["SELECT revision, id FROM passages", "SELECT revision, passage FROM tombstones"]
    if space:
        tables.append(f"SELECT revision, passage FROM vectors_{space:d}")
    until = revision(connection)
    found = [
        connection.execute(f"{one} WHERE revision > ? ORDER BY revision LIMIT {STEP + 1}", (applied,)).fetchall()
        for one in tables
    ]
    cut = [rows[-1][0] for rows in found if len(rows) > STEP]
    if cut:
        until = min(cut) - 1
        if all(rows[0][0] > until for rows in found if rows):
            # One revision alone, of a long document, is longer than a step.
            until = min(rows[0][0] for rows in found if rows)
            found = [connection.execute(f"{one} WHERE revision = ?", (until,)).fetchall() for one in tables]
    passages, gone, *vectors = ([row[1] for row in rows if row[0] <= until] for rows in found)
    put = dict.fromkeys([*passages, *(one for rows in vectors for one in rows)])
    return Changes(gone, list(put), until)


def entries(connection: sqlite3.Connection, ids: Sequence[int], space: int) -> Iterator[list[Entry]]:
    """Passages as an index takes them, in lists; those that are gone are left out."""
    vector = "v.vector" if space else "NULL"
    join = f"LEFT JOIN vectors_{space:d} v ON v.passage = p.id" if space else ""
    for start in range(0, len(ids), _CHUNK):
        some = ids[start : start + _CHUNK]
        rows = connection.execute(
            f"SELECT p.id, p.document, p.record, t.data, {vector} AS vector, d.kind, d.source, d.language, d.time, "
            "d.owner, c.name AS collection FROM passages p JOIN documents d ON d.id = p.document "
            f"JOIN collections c ON c.id = d.collection JOIN terms t ON t.passage = p.id {join} "
            f"WHERE p.id IN ({marks_of(some)})",
            list(some),
        )
        yield [_entry(row) for row in rows]


def _entry(row: sqlite3.Row) -> Entry:
    record = unpack_passage(row["record"])
    return Entry(
        row["id"], row["document"], row["collection"], Kind(row["kind"]), unpack_terms(row["data"]),
        None if row["vector"] is None else unpack_vector(row["vector"]), row["source"], record.author, record.role,
        record.language or row["language"], row["time"] if record.time is None else record.time, row["owner"],
    )  # fmt: skip


def drop_tombstones(connection: sqlite3.Connection, applied: int) -> None:
    """Forget deletions that all indexes have applied."""
    if connection.execute("DELETE FROM tombstones WHERE revision <= ?", (applied,)).rowcount:
        note(connection, "floor", max(applied, int(fact(connection, "floor"))))
