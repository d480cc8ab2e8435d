"""Collections and the folders that they are kept in step with."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from ansambl.domain.errors import NotFoundError, UsageError
from ansambl.domain.knowledge import Collection
from ansambl.domain.text import text
from ansambl.knowledge.store.packing import storable
from ansambl.knowledge.store.writing import remove_documents

LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder kept in step with the collection of this name and number; patterns as of ``.gitignore``."""

    path: str
    collection: str
    number: int
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


def checked_name(name: str) -> str:
    """A name that a collection may have.

    Raises:
        UsageError: it is empty, too long, or cannot be written in a line.
    """
    found = name.strip()
    if not found or len(found) > LONGEST_NAME or not found.isprintable() or "/" in found:
        message = text(
            "A collection's name has 1 to {longest} letters, digits or signs, no line breaks and no '/'; "
            "this one does not: {name}",
            longest=LONGEST_NAME, name=repr(name[:LONGEST_NAME]),
        )  # fmt: skip
        raise UsageError(message)
    return found


def ensure_collection(connection: sqlite3.Connection, name: str, description: str, now: float) -> int:
    """The number of a collection, which is made where there is none of this name."""
    connection.execute(
        "INSERT INTO collections (name, description, created) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
        "description = CASE excluded.description WHEN '' THEN description ELSE excluded.description END",
        (checked_name(name), storable(description), now),
    )
    return int(connection.execute("SELECT id FROM collections WHERE name = ?", (name.strip(),)).fetchone()[0])


def has_collection(connection: sqlite3.Connection, name: str) -> bool:
    """Whether there is one of this name."""
    found = connection.execute("SELECT EXISTS (SELECT 1 FROM collections WHERE name = ?)", (name.strip(),))
    return bool(found.fetchone()[0])


def drop_if_empty(connection: sqlite3.Connection, number: int) -> None:
    """Remove a collection that has no document, no folder and no description."""
    connection.execute(
        "DELETE FROM collections WHERE id = ?1 AND description = '' "
        "AND NOT EXISTS (SELECT 1 FROM documents WHERE collection = ?1) "
        "AND NOT EXISTS (SELECT 1 FROM folders WHERE collection = ?1)",
        (number,),
    )


def collection_number(connection: sqlite3.Connection, name: str) -> int:
    """The number of a collection.

    Raises:
        NotFoundError: there is none of this name; says which ones are like it.
    """
    row = connection.execute("SELECT id FROM collections WHERE name = ?", (storable(name),)).fetchone()
    if row is None:
        raise unknown_collection(name, [row[0] for row in connection.execute("SELECT name FROM collections")])
    return int(row[0])


def unknown_collection(name: str, known: Sequence[str]) -> NotFoundError:
    """The error for a collection that does not exist."""
    name = storable(name)[:LONGEST_NAME]
    near = get_close_matches(name, known, 3, 0.5) or sorted(known)[:5]
    if not near:
        return NotFoundError(text("There is no collection “{name}”, and no other one yet.", name=name))
    return NotFoundError(text("There is no collection “{name}”. There is: {near}", name=name, near=", ".join(near)))


def collections_of(connection: sqlite3.Connection, space: int, only: str | None = None) -> list[Collection]:
    """All collections by name, or the one of this name, with what they hold; vectors are those of `space`."""
    folders: dict[int, list[str]] = {}
    for row in connection.execute("SELECT collection, path FROM folders ORDER BY path"):
        folders.setdefault(row[0], []).append(row[1])
    rows = connection.execute(
        "SELECT c.*, count(d.id) AS documents, coalesce(sum(d.passages), 0) AS passages, "
        "coalesce(sum(e.passages), 0) AS embedded, coalesce(sum(d.characters), 0) AS characters "
        "FROM collections c LEFT JOIN documents d ON d.collection = c.id "
        "LEFT JOIN embedded e ON e.document = d.id AND e.space = ? WHERE ? IS NULL OR c.name = ? "
        "GROUP BY c.id ORDER BY c.name",
        (space, only, only),
    )
    return [
        Collection(
            row["name"], row["description"], row["created"], tuple(folders.get(row["id"], ())), row["documents"],
            row["passages"], row["embedded"], row["characters"],
        )
        for row in rows
    ]  # fmt: skip


def remove_collection(connection: sqlite3.Connection, number: int) -> int:
    """Remove a collection with its documents, folders and files; how many documents there were."""
    documents = connection.execute("SELECT id FROM documents WHERE collection = ?", (number,)).fetchall()
    removed = remove_documents(connection, [row[0] for row in documents])
    connection.execute("DELETE FROM collections WHERE id = ?", (number,))
    return removed


def keep_folder(
    connection: sqlite3.Connection, number: int, path: str, include: Sequence[str], exclude: Sequence[str]
) -> None:
    """Note a folder that the collection is kept in step with."""
    connection.execute(
        "INSERT OR REPLACE INTO folders (collection, path, include, exclude) VALUES (?, ?, ?, ?)",
        (number, path, json.dumps(list(include)), json.dumps(list(exclude))),
    )


def leave_folder(connection: sqlite3.Connection, path: str, number: int | None) -> bool:
    """Keep a folder in step no more; whether it was."""
    return bool(
        connection.execute(
            "DELETE FROM folders WHERE path = ? AND (? IS NULL OR collection = ?)", (path, number, number)
        ).rowcount
    )


def folders_of(connection: sqlite3.Connection) -> list[Folder]:
    """All folders that are kept in step, by path."""
    rows = connection.execute(
        "SELECT f.*, c.name FROM folders f JOIN collections c ON c.id = f.collection ORDER BY f.path, c.name"
    )
    return [
        Folder(
            row["path"], row["name"], row["collection"], tuple(json.loads(row["include"])),
            tuple(json.loads(row["exclude"])),
        )
        for row in rows
    ]  # fmt: skip
