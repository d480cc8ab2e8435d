"""What goes between us and the process of an index: frames of MessagePack, vectors and rankings as raw bytes."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, cast

import msgspec
import numpy as np

from ansambl.domain.errors import AnsamblError
from ansambl.domain.knowledge import Filters, Kind
from ansambl.domain.text import Text, text
from ansambl.foundation.child_process import read_frame, with_length
from ansambl.knowledge.embedding import Vectors, VectorSpace
from ansambl.knowledge.index.contract import Entry, IndexPlace, IndexState, Ranked
from ansambl.knowledge.index.errors import KINDS, EntryRefusedError, IndexFailedError

LARGEST_FRAME = 1 << 30
READY = 0
"""The number of the first frame that a child sends: its index is open, or why it is not."""


class Frame(msgspec.Struct, array_like=True):
    """A request, or its answer. `what` is the method, or ``"ok"`` or ``"error"``; `body` is MessagePack."""

    number: int
    what: str
    body: bytes


class SentEntry(msgspec.Struct, array_like=True):
    """An `Entry` whose vector is raw bytes."""

    id: int
    document: int
    collection: str
    kind: str
    terms: dict[str, int]
    vector: bytes | None
    source: str
    author: str | None
    role: str | None
    language: str | None
    time: float | None
    owner: str


class SentError(msgspec.Struct, array_like=True):
    """An error whose sentence can still be translated."""

    kind: str
    template: str
    values: dict[str, Any]


class Opening(msgspec.Struct, array_like=True):
    """The first frame that a child gets: which index to open, and where."""

    maker: str
    folder: str
    model: str
    dimension: int
    address: str
    name: str

    @classmethod
    def of(cls, maker: str, place: IndexPlace) -> Opening:
        """`maker` is ``"module:class"``."""
        space = place.space
        return cls(maker, place.folder, space.model if space else "", space.dimension if space else 0,
                   place.address, place.name)  # fmt: skip

    def place(self) -> IndexPlace:
        """The place again."""
        space = VectorSpace(self.model, self.dimension) if self.dimension else None
        return IndexPlace(self.folder, space, self.address, self.name)


_encoder = msgspec.msgpack.Encoder()
_frames = msgspec.msgpack.Decoder(Frame)
_entries = msgspec.msgpack.Decoder(list[SentEntry])
_by_vector = msgspec.msgpack.Decoder(tuple[bytes, Filters, int])
_by_terms = msgspec.msgpack.Decoder(tuple[dict[str, float], Filters, int])
_ranking = msgspec.msgpack.Decoder(tuple[bytes, bytes])
_states = msgspec.msgpack.Decoder(IndexState)
_errors = msgspec.msgpack.Decoder(SentError)
_ids = msgspec.msgpack.Decoder(list[int])
_openings = msgspec.msgpack.Decoder(Opening)


def packed(value: Any) -> bytes:
    """Any of the records here as bytes.

    Raises:
        EntryRefusedError: it holds a number or a text that cannot be sent: over 64 bits, or half a character.
    """
    try:
        return _encoder.encode(value)
    except (OverflowError, UnicodeEncodeError, ValueError) as error:
        raise EntryRefusedError(text("an entry cannot be sent to the index: {reason}", reason=str(error))) from error


def framed(number: int, what: str, body: bytes) -> bytes:
    """A frame with its length before it."""
    content = _encoder.encode(Frame(number, what, body))
    if len(content) > LARGEST_FRAME:
        message = text("a message of {size} bytes is too large for the index", size=len(content))
        raise EntryRefusedError(message)
    return with_length(content)


def frames(connection: socket.socket) -> Iterator[Frame]:
    """Frames until the other side ends. A frame that is cut off in the middle ends it, too.

    Raises:
        OSError: the connection broke.
        msgspec.DecodeError: what came is no frame.
    """
    buffer = cast("IO[bytes]", connection.makefile("rb", buffering=1 << 16))
    with buffer:
        while (content := read_frame(buffer, LARGEST_FRAME)) is not None:
            yield _frames.decode(content)


def pack_entries(entries: Sequence[Entry]) -> bytes:
    """Entries as one body."""
    return packed([
        SentEntry(
            one.id, one.document, one.collection, str(one.kind), dict(one.terms),
            None if one.vector is None else np.ascontiguousarray(one.vector, np.float32).tobytes(), one.source,
            one.author, one.role, one.language, one.time, one.owner,
        )
        for one in entries
    ])  # fmt: skip


def unpack_entries(body: bytes) -> list[Entry]:
    """What `pack_entries` packed."""
    return [
        Entry(
            one.id, one.document, one.collection, Kind(one.kind), one.terms,
            None if one.vector is None else np.frombuffer(one.vector, np.float32), one.source, one.author, one.role,
            one.language, one.time, one.owner,
        )
        for one in _entries.decode(body)
    ]  # fmt: skip


def pack_by_vector(vector: Vectors, filters: Filters, limit: int) -> bytes:
    """The arguments of `by_vector`."""
    return packed((np.ascontiguousarray(vector, np.float32).tobytes(), filters, limit))


def unpack_by_vector(body: bytes) -> tuple[Vectors, Filters, int]:
    """What `pack_by_vector` packed."""
    vector, filters, limit = _by_vector.decode(body)
    return np.frombuffer(vector, np.float32), filters, limit


def pack_by_terms(terms: Mapping[str, float], filters: Filters, limit: int) -> bytes:
    """The arguments of `by_terms`."""
    return packed((dict(terms), filters, limit))


def unpack_by_terms(body: bytes) -> tuple[dict[str, float], Filters, int]:
    """What `pack_by_terms` packed."""
    return _by_terms.decode(body)


def pack_ranking(ranking: Sequence[Ranked]) -> bytes:
    """A ranking as two columns."""
    ids = np.fromiter((one.id for one in ranking), np.int64, len(ranking))
    scores = np.fromiter((one.score for one in ranking), np.float64, len(ranking))
    return packed((ids.tobytes(), scores.tobytes()))


def unpack_ranking(body: bytes) -> list[Ranked]:
    """What `pack_ranking` packed."""
    ids, scores = _ranking.decode(body)
    pairs = zip(np.frombuffer(ids, np.int64).tolist(), np.frombuffer(scores, np.float64).tolist(), strict=True)
    return [Ranked(one, score) for one, score in pairs]


def unpack_ids(body: bytes) -> list[int]:
    """A list of ids, or of one number."""
    return _ids.decode(body)


def unpack_state(body: bytes) -> IndexState:
    """A state."""
    return _states.decode(body)


def unpack_opening(body: bytes) -> Opening:
    """The first frame's body."""
    return _openings.decode(body)


def pack_error(error: BaseException) -> bytes:
    """An error of ours as itself, any other as `IndexFailedError` in one line."""
    if isinstance(error, AnsamblError):
        known = next((one.__name__ for one in type(error).__mro__ if one.__name__ in KINDS), AnsamblError.__name__)
        return packed(SentError(known, error.message.template, _plain(error.message)))
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return packed(SentError(IndexFailedError.__name__, "the index could not do it: {reason}", {"reason": reason}))


def unpack_error(body: bytes) -> AnsamblError:
    """What `pack_error` packed."""
    sent = _errors.decode(body)
    return KINDS.get(sent.kind, IndexFailedError)(Text(sent.template, _texts(sent.values)))


def _plain(message: Text) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in message.values.items():
        if isinstance(value, Text):
            found[name] = {"template": value.template, "values": _plain(value)}
        else:
            found[name] = value if isinstance(value, int | float | str) else str(value)
    return found


def _texts(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: Text(value["template"], _texts(value["values"])) if isinstance(value, dict) else value
        for name, value in values.items()
    }
