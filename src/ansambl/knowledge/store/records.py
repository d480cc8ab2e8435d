"""Rows of the database as records, and what is written into them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from ansambl.domain.knowledge import EVERYBODY, Document, Form, Kind, Passage
from ansambl.knowledge.prepared import Prepared
from ansambl.knowledge.store.packing import unpack_document, unpack_passage

DOCUMENT_COLUMNS = (
    "d.id, c.name AS collection, d.owner, d.place, d.kind, d.title, d.source, d.form, d.time, d.added, d.language, "
    "d.digest, d.characters, d.passages, d.record"
)
"""What `document_of` needs, of `documents d` and `collections c`."""


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document to be kept in `collection` (its number), for `owner`.

    `place` is what it is known by there; `origin` is the file, page or export that it came from. `analysis` says how it
    was divided and analysed: another one makes the same digest new again. `conversation` are the bytes of the whole.
    """

    collection: int
    prepared: Prepared
    analysis: str
    place: str
    origin: str
    owner: str = EVERYBODY
    conversation: bytes | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a document: its `id`; `before` is whether there was one at its place; passages that are new."""

    id: int
    before: bool
    changed: bool
    passages: int


def document_of(row: sqlite3.Row, embedded: int = 0) -> Document:
    """The document of a row with `DOCUMENT_COLUMNS`."""
    record = unpack_document(row["record"])
    return Document(
        id=row["id"], collection=row["collection"], kind=Kind(row["kind"]), place=row["place"], title=row["title"],
        source=row["source"], form=Form(row["form"]), time=row["time"], added=row["added"], language=row["language"],
        authors=record.authors, facts=record.facts, warnings=record.warnings, digest=row["digest"], owner=row["owner"],
        characters=row["characters"], passages=row["passages"], embedded=embedded,
    )  # fmt: skip


def passage_of(row: sqlite3.Row, text: Callable[[], str]) -> Passage:
    """The passage of a row of `passages`; `text` gives what stands between its ends."""
    record = unpack_passage(row["record"])
    own = row["text"]
    return Passage(
        row["number"], row["start"], row["stop"], text() if own is None else own, record.headings, record.context,
        record.page, record.label, record.author, record.role, record.time, record.turn, record.language, record.tokens,
        row["fingerprint"],
    )  # fmt: skip
