"""Embeddings: numbers as base64, and requests that no engine can answer."""

from __future__ import annotations

import base64
import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansambl.dialects.openai_chat import parse_request
from ansambl.dialects.openai_embeddings import check_request, wants_base64, with_base64
from ansambl.domain.errors import RequestError

NUMBERS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=8)


@settings(max_examples=60)
@given(st.lists(NUMBERS, max_size=4))
def test_numbers_become_the_bytes_that_clients_unpack(vectors):
    rows = [{"object": "embedding", "index": place, "embedding": one} for place, one in enumerate(vectors)]
    answer = json.loads(with_base64(json.dumps({"model": "m", "data": rows, "usage": {"x": 1}}).encode()))
    assert answer["usage"] == {"x": 1}
    for row, vector in zip(answer["data"], vectors, strict=True):
        content = base64.b64decode(row["embedding"])
        assert list(struct.unpack(f"<{len(content) // 4}f", content)) == vector
        assert row["object"] == "embedding"


@pytest.mark.parametrize(
    "body",
    [
        b'{"data": [{"embedding": "AAAA", "index": 0}] }',
        b'{"data": [{"embedding": {"int8": [1]}}]}',
        b'{"data": [{"embedding": [1, "x"]}]}',
        b'{"data": [{"embedding": [1e300]}]}',
        b'{"data": {"embedding": [1]}}',
        b'{"embedding": [1]}',
        b'{"data": []}',
        b'{"data": [{"embedding": [1',
        b'\xff"embedding"',
    ],
)
def test_what_is_no_list_of_numbers_keeps_its_bytes(body):
    assert with_base64(body) == body


def test_what_is_asked_for():
    assert wants_base64(parse_request(b'{"encoding_format":"base64"}'))
    for other in (b"{}", b'{"encoding_format":"float"}', b'{"encoding_format":null}'):
        assert not wants_base64(parse_request(other))
    for body in (b'{"input":"a"}', b'{"input":["a"],"encoding_format":"float"}', b'{"input":[[1,2]],"dimensions":8}'):
        check_request(parse_request(body))


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{}", "input"),
        (b'{"input": [ ]}', "input"),
        (b'{"input":""}', "input"),
        (b'{"input":"a","encoding_format":"hex"}', "encoding_format"),
        (b'{"input":"a","encoding_format":[]}', "encoding_format"),
    ],
)
def test_what_cannot_be_answered(body, param):
    with pytest.raises(RequestError) as refusal:
        check_request(parse_request(body))
    assert refusal.value.param == param
