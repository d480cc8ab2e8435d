"""What is written in the database comes back as it was."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansambl.domain.knowledge import Mark, Passage
from ansambl.knowledge.store.packing import (
    BLOCK,
    DocumentRecord,
    embedded_hash,
    pack_bytes,
    pack_record,
    pack_terms,
    pack_vector,
    passage_record,
    storable,
    unpack_bytes,
    unpack_document,
    unpack_passage,
    unpack_terms,
    unpack_vector,
)
from ansambl.knowledge.store.texts import put_text, remove_text, text_of

WORDS = st.text(st.characters(exclude_characters="\n\t", exclude_categories=["Cc"]), min_size=1, max_size=12)


@given(st.binary(max_size=500))
@settings(max_examples=40)
def test_bytes_come_back(data: bytes) -> None:
    assert unpack_bytes(pack_bytes(data)) == data
    assert len(pack_bytes(data)) <= len(data) + 1


@given(st.dictionaries(WORDS, st.integers(1, 10_000), max_size=20))
@settings(max_examples=40)
def test_terms_come_back(terms: dict[str, int]) -> None:
    assert unpack_terms(pack_terms(terms)) == terms


def test_vectors_keep_their_cosines() -> None:
    some = np.random.default_rng(1).standard_normal((50, 384)).astype(np.float32)
    some /= np.linalg.norm(some, axis=1, keepdims=True)
    back = np.stack([unpack_vector(pack_vector(one)) for one in some])
    assert np.allclose(np.linalg.norm(back, axis=1), 1.0, atol=1e-6)
    assert np.max(np.abs(some @ some.T - back @ back.T)) < 1e-3
    assert len(pack_vector(some[0])) == 768


def test_records_come_back_and_half_pairs_are_written_out() -> None:
    record = DocumentRecord(("Анна",), {"url": "x"}, ("w",), (Mark(0, page=1), Mark(9, author="b", time=2.5)))
    assert unpack_document(pack_record(record)) == record
    passage = Passage(3, 5, 9, "text", ("A", "Б"), "context", 7, "sheet", "who", "user", 1.5, "t", "ru", 4, -9)
    assert unpack_passage(pack_record(passage_record(passage))) == passage_record(passage)
    odd = DocumentRecord(facts={"name": "a\udcff"})
    assert unpack_document(pack_record(odd)).facts == {"name": storable("a\udcff")} == {"name": "a\\udcff"}
    assert embedded_hash("a") != embedded_hash("b")


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    one = sqlite3.connect(":memory:")
    one.execute("CREATE TABLE texts (id INTEGER PRIMARY KEY, data BLOB NOT NULL)")
    yield one
    one.close()


def test_any_stretch_of_a_long_text_is_read(connection: sqlite3.Connection) -> None:
    whole = "".join(chr(0x410 + number % 64) + str(number) for number in range(12_000))
    assert len(whole) > 3 * BLOCK
    put_text(connection, 7, whole)
    put_text(connection, 8, "other")
    edges = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, len(whole) - 1, len(whole)]
    for start in edges:
        for stop in edges:
            assert text_of(connection, 7, start, stop) == whole[start:stop]
    assert text_of(connection, 7) == whole
    remove_text(connection, 7)
    assert (text_of(connection, 7), text_of(connection, 8)) == ("", "other")
