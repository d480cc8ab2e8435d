"""Files that were read, so that unchanged ones are not read again."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ansambl.knowledge.contract import Refused
from ansambl.knowledge.store.packing import storable

_refused = msgspec.msgpack.Decoder(list[Refused])


@dataclass(frozen=True, slots=True)
class Signature:
    """What of a file changes when it is written: a look at it costs no reading."""

    modified: int
    size: int
    inode: int


def signature_of(path: Path) -> Signature:
    """The signature of a file.

    Raises:
        OSError: it cannot be looked at.
    """
    found = path.stat()
    return Signature(found.st_mtime_ns, found.st_size, found.st_ino)


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file as it was when it was read to its end."""

    id: int
    place: str
    signature: Signature
    digest: str
    refused: Sequence[Refused]


def _file(row: sqlite3.Row) -> KeptFile:
    return KeptFile(
        row["id"], row["place"], Signature(row["modified"], row["size"], row["inode"]), row["digest"],
        _refused.decode(row["refused"]) if row["refused"] else (),
    )  # fmt: skip


def file_at(connection: sqlite3.Connection, collection: int, place: str) -> KeptFile | None:
    """The file of this place."""
    row = connection.execute(
        "SELECT * FROM files WHERE collection = ? AND place = ?", (collection, storable(place))
    ).fetchone()
    return None if row is None else _file(row)


def files_below(connection: sqlite3.Connection, collection: int, folder: str) -> list[KeptFile]:
    """The files of a folder and of the folders in it."""
    start = storable(folder).rstrip("/") + "/"
    rows = connection.execute(
        "SELECT * FROM files WHERE collection = ? AND substr(place, 1, length(?2)) = ?2 ORDER BY place",
        (collection, start),
    )
    return [_file(row) for row in rows]


def files_of_digest(connection: sqlite3.Connection, collection: int, digest: str) -> list[KeptFile]:
    """Files with these contents."""
    rows = connection.execute("SELECT * FROM files WHERE collection = ? AND digest = ?", (collection, digest))
    return [_file(row) for row in rows]


def put_file(
    connection: sqlite3.Connection, collection: int, place: str, signature: Signature, digest: str,
    refused: Sequence[Refused],
) -> None:  # fmt: skip
    """Note that a file was read to its end."""
    data = msgspec.msgpack.encode([Refused(storable(one.place), one.reason) for one in refused]) if refused else b""
    connection.execute(
        "INSERT OR REPLACE INTO files (collection, place, modified, size, inode, digest, refused) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            collection, storable(place), signature.modified, signature.size, signature.inode, digest, data,
        ),
    )  # fmt: skip


def documents_of_file(connection: sqlite3.Connection, collection: int, place: str) -> list[int]:
    """The documents that a file, page or export gave."""
    rows = connection.execute(
        "SELECT id FROM documents WHERE collection = ? AND origin = ?", (collection, storable(place))
    )
    return [row[0] for row in rows]


def remove_file(connection: sqlite3.Connection, collection: int, place: str) -> None:
    """Forget a file; its documents are another matter."""
    connection.execute("DELETE FROM files WHERE collection = ? AND place = ?", (collection, storable(place)))


def move_file(connection: sqlite3.Connection, collection: int, old: str, new: str) -> None:
    """A file has another name now, and so have the places of its documents."""
    old, new = storable(old), storable(new)
    connection.execute("DELETE FROM files WHERE collection = ? AND place = ?", (collection, new))
    connection.execute("UPDATE files SET place = ? WHERE collection = ? AND place = ?", (new, collection, old))
    connection.execute(
        "UPDATE OR IGNORE documents SET origin = ?1, place = ?1 || substr(place, length(?2) + 1) "
        "WHERE collection = ?3 AND origin = ?2 AND substr(place, 1, length(?2)) = ?2",
        (new, old, collection),
    )
