"""Documents, conversations and passages by their numbers and names."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import partial

from ansambl.domain.errors import NotFoundError, UsageError
from ansambl.domain.knowledge import Document, Passage
from ansambl.domain.text import text
from ansambl.knowledge.store.packing import marks_of, storable
from ansambl.knowledge.store.records import DOCUMENT_COLUMNS, document_of, passage_of
from ansambl.knowledge.store.texts import text_of

_FROM = (
    f"SELECT {DOCUMENT_COLUMNS}, coalesce(e.passages, 0) AS embedded FROM documents d "
    "JOIN collections c ON c.id = d.collection LEFT JOIN embedded e ON e.document = d.id AND e.space = :space"
)


def documents_of(
    connection: sqlite3.Connection, space: int, *, collection: int | None, after: int, limit: int, holds: str,
    owner: str | None,
) -> list[Document]:  # fmt: skip
    """Documents by their numbers, behind `after`; `holds` stands in the title or the place."""
    connection.create_function("holds", 2, lambda one, needle: needle in one.casefold(), deterministic=True)
    rows = connection.execute(
        f"{_FROM} WHERE d.id > :after AND (:collection IS NULL OR d.collection = :collection) "
        "AND (:owner IS NULL OR d.owner = :owner) "
        "AND (:needle = '' OR holds(d.title, :needle) OR holds(d.place, :needle)) ORDER BY d.id LIMIT :limit",
        {
            "space": space, "after": after, "collection": collection, "owner": owner,
            "needle": storable(holds).casefold(), "limit": max(0, limit),
        },
    )  # fmt: skip
    return [document_of(row, row["embedded"]) for row in rows]


def document_row(connection: sqlite3.Connection, space: int, wanted: int) -> Document:
    """One document.

    Raises:
        NotFoundError: there is none of this number.
    """
    row = None
    if 0 <= wanted < 2**63:
        row = connection.execute(f"{_FROM} WHERE d.id = :id", {"space": space, "id": wanted}).fetchone()
    if row is None:
        raise NotFoundError(text("There is no document with the number {number}", number=wanted))
    return document_of(row, row["embedded"])


def passages_of(connection: sqlite3.Connection, document: int) -> list[Passage]:
    """The passages of a document, in its order."""
    whole = text_of(connection, document)
    rows = connection.execute("SELECT * FROM passages WHERE document = ? ORDER BY number", (document,))
    return [passage_of(row, partial(whole.__getitem__, slice(row["start"], row["stop"]))) for row in rows]


def conversation_bytes(connection: sqlite3.Connection, wanted: str, owners: Sequence[str] | None = None) -> bytes:
    """A conversation by its document's number, its own id, a beginning of that, or its exact title.

    Only those of `owners` are looked at, where they are given: the words of an error must not name others either.

    Raises:
        NotFoundError: there is none.
        UsageError: there are several.
    """
    wanted = storable(wanted.strip())
    theirs = "" if owners is None else f"AND d.owner IN ({marks_of(owners)}) "
    for condition, value in (
        ("d.id = CAST(? AS INTEGER) AND CAST(d.id AS TEXT) = ?1", wanted),
        ("d.conversation = ?", wanted),
        ("d.title = ?", wanted),
        ("substr(d.conversation, 1, length(?)) = ?1", wanted),
    ):
        rows = connection.execute(
            "SELECT b.bytes, d.conversation, d.title FROM documents d JOIN conversations b ON b.document = d.id "
            f"WHERE {condition} {theirs}ORDER BY d.id DESC LIMIT 4",
            (value, *(owners or ())),
        ).fetchall()
        # The same one in several collections is one.
        if wanted and len({row["conversation"] for row in rows}) == 1:
            return bytes(rows[0]["bytes"])
        if wanted and rows:
            several = ", ".join(f"{row['conversation']} ({row['title']})" for row in rows)
            message = text("“{wanted}” may be several conversations: {several}", wanted=wanted, several=several)
            raise UsageError(message)
    raise NotFoundError(text("There is no conversation “{wanted}”", wanted=wanted))


def candidates(connection: sqlite3.Connection, ids: Sequence[int]) -> dict[int, sqlite3.Row]:
    """Of these passages those that exist, without their texts: what decides between them."""
    rows = connection.execute(
        "SELECT p.id, p.document, p.start, p.stop, p.fingerprint, d.owner, d.language, c.name AS collection "
        "FROM passages p JOIN documents d ON d.id = p.document JOIN collections c ON c.id = d.collection "
        f"WHERE p.id IN ({marks_of(ids)})",
        list(ids),
    )
    return {row["id"]: row for row in rows}


def full(connection: sqlite3.Connection, space: int, ids: Sequence[int]) -> dict[int, tuple[Passage, Document]]:
    """Passages with their texts and their documents."""
    found: dict[int, tuple[Passage, Document]] = {}
    rows = connection.execute(f"SELECT * FROM passages WHERE id IN ({marks_of(ids)})", list(ids)).fetchall()
    documents = {number: document_row(connection, space, number) for number in {row["document"] for row in rows}}
    for row in rows:
        passage = passage_of(row, partial(text_of, connection, row["document"], row["start"], row["stop"]))
        found[row["id"]] = passage, documents[row["document"]]
    return found
