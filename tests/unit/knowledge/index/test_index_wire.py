"""What goes between us and the process of an index comes out as it went in."""

from __future__ import annotations

import socket
import struct

import numpy as np
import pytest

from ansambl.domain.errors import AnsamblError
from ansambl.domain.knowledge import Filters, Kind
from ansambl.domain.text import text
from ansambl.knowledge.embedding import VectorSpace
from ansambl.knowledge.index import wire
from ansambl.knowledge.index.contract import Entry, IndexPlace, IndexState, Ranked
from ansambl.knowledge.index.errors import EntryRefusedError, IndexDamagedError, IndexFailedError
from ansambl.testing.index_samples import LARGEST, entry, vector


def test_entries() -> None:
    """All of an entry, in any script, with and without a vector."""
    full = Entry(
        LARGEST,
        7,
        "заметки",
        Kind.CONVERSATION,
        {"ёж": 3, "": 1},
        vector(1),
        "chatgpt",
        "Анна",
        "user",
        "ru",
        -1.5,
        "k",
    )
    bare = entry(0, {}, vector=None)
    one, other = wire.unpack_entries(wire.pack_entries([full, bare]))
    assert one.vector is not None
    assert np.array_equal(one.vector, vector(1))
    for sent, got in ((full, one), (bare, other)):
        for name in ("id", "document", "collection", "kind", "terms", "source", "author", "role", "language", "time",
                     "owner"):  # fmt: skip
            assert getattr(got, name) == getattr(sent, name)
    assert other.vector is None


def test_vectors_that_are_not_in_one_piece() -> None:
    """A column of a matrix, and other kinds of numbers."""
    matrix = np.arange(12, dtype=np.float64).reshape(3, 4)
    sent, filters, limit = wire.unpack_by_vector(wire.pack_by_vector(matrix[:, 1], Filters(), 5))  # type: ignore[arg-type]
    assert sent.tolist() == [1.0, 5.0, 9.0]
    assert (filters, limit) == (Filters(), 5)


def test_queries_rankings_states_and_places() -> None:
    """The other bodies."""
    filters = Filters(collections=("a",), kinds=(Kind.PAGE,), since=1.5, owners=(), documents=(LARGEST,))
    assert wire.unpack_by_terms(wire.pack_by_terms({"кот": 0.5}, filters, 9)) == ({"кот": 0.5}, filters, 9)
    ranking = [Ranked(LARGEST, 1.25), Ranked(0, -3.0)]
    assert wire.unpack_ranking(wire.pack_ranking(ranking)) == ranking
    state = IndexState(1, 2, 3, {"kind": "x"})
    assert wire.unpack_state(wire.packed(state)) == state
    for place in (IndexPlace("/f", VectorSpace("m", 4), "http://x", "n"), IndexPlace("/f", None)):
        assert wire.Opening.of("a:b", place).place() == place


@pytest.mark.parametrize("wrong", [{"id": 2**64}, {"terms": {"\ud800": 1}}])
def test_what_cannot_be_sent(wrong: dict[str, object]) -> None:
    """Refused in words."""
    with pytest.raises(EntryRefusedError):
        wire.pack_entries(
            [Entry(**{"id": 1, "document": 1, "collection": "a", "kind": Kind.FILE, "terms": {}, **wrong})]
        )  # type: ignore[arg-type]


def test_errors_keep_their_kind_and_their_sentence() -> None:
    """So that they are shown in the reader's language here; an unknown one becomes a failure of the index."""
    sent = IndexDamagedError(text("outer {inner} {n}", inner=text("inner {x}", x="y"), n=2))
    got = wire.unpack_error(wire.pack_error(sent))
    assert type(got) is IndexDamagedError
    assert str(got) == "outer inner y 2"
    translated = {"outer {inner} {n}": "{n} {inner}", "inner {x}": "<{x}>"}
    assert got.message.render(lambda one: translated.get(one, one)) == "2 <y>"

    class UnknownError(AnsamblError):
        pass

    assert type(wire.unpack_error(wire.pack_error(UnknownError(text("a"))))) is AnsamblError
    failed = wire.unpack_error(wire.pack_error(ValueError("first\nsecond")))
    assert type(failed) is IndexFailedError
    assert "first" in str(failed)
    assert "second" not in str(failed)


def test_frames_end_with_the_connection() -> None:
    """Whole ones come out; one that was cut off ends it; one that is far too long is refused."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        content = wire.framed(3, "put", b"body") + wire.framed(LARGEST, "ok", b"")
        ours.sendall(content + content[:9])
        ours.shutdown(socket.SHUT_WR)
        assert [(one.number, one.what, one.body) for one in wire.frames(theirs)] == [
            (3, "put", b"body"), (LARGEST, "ok", b""),
        ]  # fmt: skip
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(struct.pack("<I", wire.LARGEST_FRAME + 1))
        with pytest.raises(OSError, match="longer"):
            next(wire.frames(theirs))
