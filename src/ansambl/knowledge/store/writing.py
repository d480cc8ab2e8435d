"""Keeping and removing documents, inside one transaction: all of a document, or nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable

from ansambl.domain.knowledge import Passage
from ansambl.knowledge.store.facts import next_revision
from ansambl.knowledge.store.packing import (
    DocumentRecord,
    embedded_hash,
    pack_record,
    pack_terms,
    passage_record,
    storable,
)
from ansambl.knowledge.store.records import Kept, NewDocument
from ansambl.knowledge.store.spaces import copy_vectors, count_embedded, space_numbers
from ansambl.knowledge.store.texts import put_text, remove_text

_Key = tuple[bytes, bytes, int]


def put_document(
    connection: sqlite3.Connection, new: NewDocument, now: float, embedded_text: Callable[[Passage], str]
) -> Kept:
    """Keep a document in place of the one that is known by the same place there.

    Passages that have not changed keep their numbers, and with them their vectors and their place in the index; a
    passage whose text has a vector anywhere gets it at once.
    """
    material = new.prepared.material
    place = storable(new.place)
    earlier = connection.execute(
        "SELECT * FROM documents WHERE collection = ? AND owner = ? AND place = ?", (new.collection, new.owner, place)
    ).fetchone()
    # The title counts, too: it may be the file's name, and stands in the context of every passage.
    told = (new.prepared.digest, new.analysis, storable(material.title))
    if earlier is not None and (earlier["digest"], earlier["analysis"], earlier["title"]) == told:
        if earlier["origin"] != storable(new.origin):
            connection.execute("UPDATE documents SET origin = ? WHERE id = ?", (storable(new.origin), earlier["id"]))
        return Kept(earlier["id"], before=True, changed=False, passages=0)
    revision = next_revision(connection)
    record = DocumentRecord(
        tuple(storable(one) for one in material.authors), dict(material.facts),
        tuple(str(one) for one in material.warnings), material.marks,
    )  # fmt: skip
    conversation = new.prepared.conversation
    values = {
        "origin": storable(new.origin), "kind": str(material.kind), "title": storable(material.title),
        "source": storable(material.source), "form": str(material.form), "time": material.time,
        "language": material.language, "digest": new.prepared.digest, "characters": len(material.text),
        "passages": len(new.prepared.passages), "record": pack_record(record),
        "conversation": None if conversation is None else storable(conversation.id), "analysis": new.analysis,
        "revision": revision,
    }  # fmt: skip
    if earlier is None:
        values |= {"collection": new.collection, "owner": new.owner, "place": place, "added": now}
        columns, marks = ", ".join(values), ", ".join(f":{name}" for name in values)
        cursor = connection.execute(f"INSERT INTO documents ({columns}) VALUES ({marks})", values)
        document = int(cursor.lastrowid or 0)
    else:
        document = earlier["id"]
        pairs = ", ".join(f"{name} = :{name}" for name in values)
        connection.execute(f"UPDATE documents SET {pairs} WHERE id = :id", {**values, "id": document})
    put_text(connection, document, material.text)
    connection.execute("DELETE FROM conversations WHERE document = ?", (document,))
    if new.conversation is not None:
        connection.execute("INSERT INTO conversations (document, bytes) VALUES (?, ?)", (document, new.conversation))
    # What an index keeps of a document beside its passages, or how words became terms.
    facts = ("kind", "source", "time", "language", "analysis")
    all_anew = earlier is None or any(earlier[name] != values[name] for name in facts)
    added = _put_passages(connection, document, new, revision, all_anew, embedded_text)
    count_embedded(connection, document)
    return Kept(document, before=earlier is not None, changed=True, passages=added)


def _put_passages(
    connection: sqlite3.Connection, document: int, new: NewDocument, revision: int, all_anew: bool,
    embedded_text: Callable[[Passage], str],
) -> int:  # fmt: skip
    known: dict[_Key, list[int]] = {}
    for row in connection.execute(
        "SELECT id, hash, record, fingerprint FROM passages WHERE document = ? ORDER BY number DESC", (document,)
    ):
        known.setdefault((row["hash"], row["record"], row["fingerprint"]), []).append(row["id"])
    fresh = 0
    text = new.prepared.material.text
    for passage, terms in zip(new.prepared.passages, new.prepared.terms, strict=True):
        own = None if text[passage.start : passage.end] == passage.text else storable(passage.text)
        key = (
            embedded_hash(embedded_text(passage)),
            pack_record(passage_record(passage)),
            _signed(passage.fingerprint),
        )
        same = known.get(key)
        if same:
            number = same.pop()
            connection.execute(
                "UPDATE passages SET number = ?, start = ?, stop = ?, text = ? WHERE id = ?",
                (passage.number, passage.start, passage.end, own, number),
            )
            if not all_anew:
                continue
            connection.execute("UPDATE passages SET revision = ? WHERE id = ?", (revision, number))
        else:
            cursor = connection.execute(
                "INSERT INTO passages (document, number, start, stop, text, hash, record, fingerprint, revision) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (document, passage.number, passage.start, passage.end, own, *key, revision),
            )
            number = int(cursor.lastrowid or 0)
            fresh += 1
        connection.execute("INSERT OR REPLACE INTO terms (passage, data) VALUES (?, ?)", (number, pack_terms(terms)))
    if fresh:
        copy_vectors(connection, document, revision)
    _remove_passages(connection, (one for same in known.values() for one in same), revision)
    return fresh


def _signed(number: int) -> int:
    """64 bits as SQLite keeps them."""
    return (number & (2**64 - 1)) - (2**64 if number & 2**63 else 0)


def _remove_passages(connection: sqlite3.Connection, ids: Iterable[int], revision: int) -> None:
    gone = [(one,) for one in ids]
    if not gone:
        return
    connection.executemany("DELETE FROM passages WHERE id = ?", gone)
    connection.executemany("DELETE FROM terms WHERE passage = ?", gone)
    for space in space_numbers(connection):
        connection.executemany(f"DELETE FROM vectors_{space:d} WHERE passage = ?", gone)
    connection.executemany(
        "INSERT OR REPLACE INTO tombstones (passage, revision) VALUES (?, ?)", ((one, revision) for (one,) in gone)
    )


def remove_documents(connection: sqlite3.Connection, ids: Iterable[int]) -> int:
    """Remove documents with all that belongs to them; how many there were."""
    removed = 0
    for document in ids:
        passages = connection.execute("SELECT id FROM passages WHERE document = ?", (document,)).fetchall()
        _remove_passages(connection, [row[0] for row in passages], next_revision(connection))
        remove_text(connection, document)
        connection.execute("DELETE FROM conversations WHERE document = ?", (document,))
        connection.execute("DELETE FROM embedded WHERE document = ?", (document,))
        removed += connection.execute("DELETE FROM documents WHERE id = ?", (document,)).rowcount
    return removed
