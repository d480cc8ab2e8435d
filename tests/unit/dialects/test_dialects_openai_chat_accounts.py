"""What an answer cost is the same, whether the whole answer is read for it or not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansambl.dialects.openai_chat import Usage, read_answer, read_stream
from ansambl.dialects.openai_chat.accounts import usage_of_answer, usage_of_stream

USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}
TIMINGS = {"prompt_n": 3, "predicted_n": 5, "cache_n": 2}
EVENTS = [
    {"choices": [{"delta": {"content": 'she said "usage"'}}]},
    {"choices": [], "usage": USAGE},
    {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 9}},
    {"choices": [], "usage": None},
    {"choices": [], "usage": None, "timings": TIMINGS},
    {"choices": [], "timings": {"prompt_n": 1}},
    {"error": "out of memory"},
    ["usage"],
]


@settings(max_examples=60)
@given(st.lists(st.sampled_from(EVENTS), max_size=6), st.sampled_from([None, (",", ":")]), st.booleans())
def test_the_usage_of_a_stream_is_what_its_reader_finds(events, separators, ends):
    stream = b"".join(b"data: %b\n\n" % json.dumps(one, separators=separators).encode() for one in events)
    stream += b"data: [DONE]\n\n" if ends else b'data: {"usage": {"prom'
    assert usage_of_stream(stream) == read_stream(stream).usage


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"choices": [{"message": {"content": "hi"}}], "usage": USAGE}).encode(),
        json.dumps({"choices": [], "usage": "much"}).encode(),
        b'{"choices": []}',
        b"[]",
        b"no JSON",
        b"\xff",
        b"",
    ],
)
def test_the_usage_of_a_whole_answer_is_what_its_reader_finds(body):
    assert usage_of_answer(body) == read_answer(body).usage


def test_what_it_reads():
    assert usage_of_answer(json.dumps({"usage": USAGE}).encode()) == Usage(7, 2, 4)
    assert usage_of_stream(b'data: {"usage":{"prompt_tokens":7,"completion_tokens":2}}\n\ndata: [DONE]\n\n') == Usage(
        7, 2
    )
