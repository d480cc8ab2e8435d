"""Vectors, by the space that they belong to: a table for each, so that a new one grows beside the old one."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from ansambl.knowledge.embedding import Vectors, VectorSpace
from ansambl.knowledge.store.facts import fact, next_revision
from ansambl.knowledge.store.packing import marks_of, pack_vector

KEPT_SPACES = 2
"""Vectors of so many spaces stay: going back to the one before computes nothing again."""


def space_numbers(connection: sqlite3.Connection) -> list[int]:
    """The spaces that have tables, oldest first."""
    return [row[0] for row in connection.execute("SELECT id FROM spaces ORDER BY id")]


def space_of(connection: sqlite3.Connection, number: int) -> VectorSpace | None:
    """A space by its number; None for 0, which is words alone."""
    row = connection.execute("SELECT model, dimension FROM spaces WHERE id = ?", (number,)).fetchone()
    return None if row is None else VectorSpace(row["model"], row["dimension"])


def number_of(connection: sqlite3.Connection, space: VectorSpace) -> int:
    """The number of a space, which gets its table where it is new."""
    values = (space.model, space.dimension)
    row = connection.execute("SELECT id FROM spaces WHERE model = ? AND dimension = ?", values).fetchone()
    if row is not None:
        return int(row[0])
    number = int(connection.execute("INSERT INTO spaces (model, dimension) VALUES (?, ?)", values).lastrowid or 0)
    columns = "passage INTEGER PRIMARY KEY, vector BLOB NOT NULL, revision INTEGER NOT NULL"
    connection.execute(f"CREATE TABLE vectors_{number:d} ({columns})")
    connection.execute(f"CREATE INDEX vectors_{number:d}_revision ON vectors_{number:d} (revision)")
    return number


def drop_old_spaces(connection: sqlite3.Connection, wanted: int) -> None:
    """Drop the vectors of spaces that neither serve, nor are `wanted`, nor were the newest before."""
    keep = {int(fact(connection, "serving")), wanted}
    for number in reversed(space_numbers(connection)):
        if number in keep or len(keep - {0}) < KEPT_SPACES:
            keep.add(number)
            continue
        connection.execute(f"DROP TABLE vectors_{number:d}")
        connection.execute("DELETE FROM embedded WHERE space = ?", (number,))
        connection.execute("DELETE FROM spaces WHERE id = ?", (number,))


def copy_vectors(connection: sqlite3.Connection, document: int, revision: int) -> None:
    """Give a document's passages the vectors that the same texts have elsewhere."""
    for space in space_numbers(connection):
        connection.execute(
            f"INSERT OR IGNORE INTO vectors_{space:d} (passage, vector, revision) "
            "SELECT new.id, other.vector, ? FROM passages new JOIN passages old ON old.hash = new.hash "
            f"JOIN vectors_{space:d} other ON other.passage = old.id "
            "WHERE new.document = ? AND new.id <> old.id GROUP BY new.id",
            (revision, document),
        )


def count_embedded(connection: sqlite3.Connection, document: int) -> None:
    """Note how many of a document's passages have a vector, in every space."""
    for space in space_numbers(connection):
        connection.execute(
            "INSERT OR REPLACE INTO embedded (space, document, passages) SELECT ?, ?, count(*) "
            f"FROM passages p JOIN vectors_{space:d} v ON v.passage = p.id WHERE p.document = ?",
            (space, document, document),
        )


def without_vector(connection: sqlite3.Connection, space: int, below: int, limit: int) -> list[sqlite3.Row]:
    """Passages with no vector, newest first, those with numbers below `below`: with their documents and hashes."""
    return connection.execute(
        f"SELECT * FROM passages p WHERE id < ? AND NOT EXISTS (SELECT 1 FROM vectors_{space:d} v "
        "WHERE v.passage = p.id) ORDER BY id DESC LIMIT ?",
        (below, limit),
    ).fetchall()


def put_vectors(connection: sqlite3.Connection, space: int, found: Sequence[tuple[bytes, Vectors]]) -> int:
    """Keep vectors by the hashes of their texts, for every passage of that text that still is there; how many."""
    revision = next_revision(connection)
    put = 0
    for digest, vector in found:
        put += connection.execute(
            f"INSERT OR IGNORE INTO vectors_{space:d} (passage, vector, revision) "
            "SELECT id, ?, ? FROM passages WHERE hash = ?",
            (pack_vector(vector), revision, digest),
        ).rowcount
    hashes = [digest for digest, _ in found]
    documents = connection.execute(
        f"SELECT DISTINCT document FROM passages WHERE hash IN ({marks_of(hashes)})",
        hashes,
    ).fetchall()
    for row in documents:
        count_embedded(connection, row[0])
    return put
