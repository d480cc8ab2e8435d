"""How texts, terms, vectors and small records are written in the database.

Measured on 1.2 M characters of Markdown: a text in blocks of 16,384 characters takes 0.38 of its bytes and a block is
unpacked in 0.08 ms, while a compressed copy of each passage would take 0.63 (1.18 as it stands, because of the
overlap). Terms take 370 bytes for a passage of 1,000 characters.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from ansambl.domain.knowledge import Mark, Passage
from ansambl.knowledge.embedding import Vectors

BLOCK = 16_384
"""Characters of a block of text."""

BLOCK_BITS = 20
"""A block's id is its document's, shifted by this, and its number: texts of 2^34 characters fit."""

_LEVEL = 6
_PLAIN, _PACKED = b"\0", b"\1"


class DocumentRecord(msgspec.Struct, array_like=True):
    """What of a document nobody looks for by itself."""

    authors: tuple[str, ...] = ()
    facts: dict[str, str] = {}
    warnings: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = ()


class PassageRecord(msgspec.Struct, array_like=True):
    """What of a passage nobody looks for by itself: the fields of `Passage` of the same names."""

    headings: tuple[str, ...] = ()
    context: str = ""
    page: int | None = None
    label: str = ""
    author: str | None = None
    role: str | None = None
    time: float | None = None
    turn: str | None = None
    language: str | None = None
    tokens: int = 0


_encoder = msgspec.msgpack.Encoder()
_document = msgspec.msgpack.Decoder(DocumentRecord)
_passage = msgspec.msgpack.Decoder(PassageRecord)


def pack_record(record: DocumentRecord | PassageRecord) -> bytes:
    """A record as bytes."""
    try:
        return pack_bytes(_encoder.encode(record))
    except UnicodeEncodeError:
        return pack_bytes(_encoder.encode(_storable(msgspec.to_builtins(record))))


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {storable(name): _storable(one) for name, one in value.items()}
    return [_storable(one) for one in value] if isinstance(value, list | tuple) else value


def unpack_document(data: bytes) -> DocumentRecord:
    """The record of a document."""
    return _document.decode(unpack_bytes(data))


def unpack_passage(data: bytes) -> PassageRecord:
    """The record of a passage."""
    return _passage.decode(unpack_bytes(data))


def passage_record(passage: Passage) -> PassageRecord:
    """The record of a passage that was read."""
    return PassageRecord(
        passage.headings, passage.context, passage.page, passage.label, passage.author, passage.role, passage.time,
        passage.turn, passage.language, passage.tokens,
    )  # fmt: skip


def pack_bytes(data: bytes) -> bytes:
    """Bytes, compressed where that makes them shorter."""
    if len(data) > 64:
        packed = zlib.compress(data, _LEVEL)
        if len(packed) < len(data):
            return _PACKED + packed
    return _PLAIN + data


def unpack_bytes(data: bytes) -> bytes:
    """What `pack_bytes` was given."""
    return zlib.decompress(memoryview(data)[1:]) if data[:1] == _PACKED else data[1:]


def storable(text: str) -> str:
    """A text that SQLite takes: a name with odd bytes comes with lone surrogates, which are written out."""
    return text.encode("utf-8", "backslashreplace").decode()


def blocks(text: str) -> Iterator[bytes]:
    """A text in packed blocks."""
    for start in range(0, len(text), BLOCK):
        yield pack_bytes(text[start : start + BLOCK].encode("utf-8", "surrogatepass"))


def block_text(data: bytes) -> str:
    """The text of a block."""
    return unpack_bytes(data).decode("utf-8", "surrogatepass")


def pack_terms(terms: Mapping[str, int]) -> bytes:
    """Counted terms as bytes; a term holds no line feed, because words have none."""
    lines = [word if count == 1 else f"{word}\t{count}" for word, count in sorted(terms.items()) if "\n" not in word]
    return pack_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))


def unpack_terms(data: bytes) -> dict[str, int]:
    """The terms again."""
    found = {}
    for line in unpack_bytes(data).decode("utf-8", "surrogatepass").split("\n"):
        word, _, count = line.partition("\t")
        if word:
            found[word] = int(count) if count else 1
    return found


def pack_vector(vector: Vectors) -> bytes:
    """Half precision: a unit vector of 384 numbers keeps its cosines to about 1e-4, in half the bytes."""
    return vector.astype(np.float16).tobytes()


def unpack_vector(data: bytes) -> Vectors:
    """The vector again, of unit length."""
    vector = np.frombuffer(data, dtype=np.float16).astype(np.float32)
    length = float(np.linalg.norm(vector))
    return vector / np.float32(length) if length else vector


def embedded_hash(text: str) -> bytes:
    """What vectors are known by: the same text has the same vector."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def marks_of(values: Sequence[object]) -> str:
    """As many question marks, for a query with a list."""
    return ",".join("?" * len(values))


def encoded(value: Any) -> bytes:
    """Any record of ours as bytes."""
    return _encoder.encode(value)
