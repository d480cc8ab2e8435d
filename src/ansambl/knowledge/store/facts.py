"""Numbers of the whole store: its revision and what indexes need to know of it. All in one's transaction."""

from __future__ import annotations

import sqlite3


def fact(connection: sqlite3.Connection, name: str) -> str:
    """One fact; all of them exist from the first migration on."""
    return str(connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()[0])


def note(connection: sqlite3.Connection, name: str, value: object) -> None:
    """Set a fact."""
    connection.execute("UPDATE facts SET value = ? WHERE name = ?", (str(value), name))


def revision(connection: sqlite3.Connection) -> int:
    """The revision of the newest change."""
    return int(fact(connection, "revision"))


def next_revision(connection: sqlite3.Connection) -> int:
    """The revision of the change that is being made."""
    row = connection.execute(
        "UPDATE facts SET value = CAST(value AS INTEGER) + 1 WHERE name = 'revision' RETURNING value"
    ).fetchone()
    return int(row[0])
