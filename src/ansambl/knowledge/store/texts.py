"""Texts of documents in blocks."""

from __future__ import annotations

import sqlite3

from ansambl.knowledge.store.packing import BLOCK, BLOCK_BITS, block_text, blocks


def put_text(connection: sqlite3.Connection, document: int, text: str) -> None:
    """Keep a document's text in place of an earlier one."""
    remove_text(connection, document)
    first = document << BLOCK_BITS
    connection.executemany(
        "INSERT INTO texts (id, data) VALUES (?, ?)",
        ((first + number, data) for number, data in enumerate(blocks(text))),
    )


def remove_text(connection: sqlite3.Connection, document: int) -> None:
    """Forget a document's text."""
    first = document << BLOCK_BITS
    connection.execute("DELETE FROM texts WHERE id >= ? AND id < ?", (first, first + (1 << BLOCK_BITS)))


def text_of(connection: sqlite3.Connection, document: int, start: int = 0, stop: int | None = None) -> str:
    """Characters `start` to `stop` of a document's text."""
    if stop is not None and stop <= start:
        return ""
    first = (document << BLOCK_BITS) + start // BLOCK
    last = (document << BLOCK_BITS) + ((1 << BLOCK_BITS) - 1 if stop is None else (stop - 1) // BLOCK)
    rows = connection.execute("SELECT data FROM texts WHERE id >= ? AND id <= ? ORDER BY id", (first, last))
    found = "".join(block_text(row[0]) for row in rows)
    offset = start % BLOCK
    return found[offset:] if stop is None else found[offset : offset + stop - start]
