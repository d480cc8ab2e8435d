"""Tokens read from answers of every dialect that were handed on untouched."""

from __future__ import annotations

import json

import pytest

from ansambl.dialects.openai_chat import Usage
from ansambl.dialects.usage_reading import read_any_usage, usage_of_answer, usage_of_stream


@pytest.mark.parametrize(
    ("found", "usage"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}, Usage(5, 2, None)),
        ({"prompt_tokens": 5, "total_tokens": 5, "prompt_tokens_details": {"cached_tokens": 3}}, Usage(5, 0, 3)),
        ({"total_tokens": 8}, Usage(8, 0, None)),
        ({"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}, Usage(3, 2, None)),
        ({"input_tokens": 3, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 1}}, Usage(3, 2, 1)),
        # A message counts what came from the cache apart.
        ({"input_tokens": 3, "output_tokens": 2, "cache_read_input_tokens": 4}, Usage(7, 2, 4)),
        ({"input_tokens": 3, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 0}, Usage(5, 0, 0)),
        ({"type": "duration", "seconds": 4.5}, None),
        ({"prompt_tokens": "many", "completion_tokens": -1, "total_tokens": True}, Usage(0, 0, None)),
        (None, None),
        ([1], None),
    ],
)
def test_usage_objects(found, usage):
    assert read_any_usage(found) == usage


def test_whole_answers():
    assert usage_of_answer(b'{"text":"\\"usage\\"","usage":{"input_tokens":1,"output_tokens":2}}') == Usage(1, 2, None)
    for body in (b'{"text":"usage"}', b'"usage"', b'{"usage":', b'{"usage":"x"}', b'\xff"usage"'):
        assert usage_of_answer(body) is None


def event(payload):
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def test_a_message_tells_its_prompt_first_and_its_answer_last():
    head = event({"message": {"usage": {"input_tokens": 3, "output_tokens": 1, "cache_read_input_tokens": 4}}})
    tail = event({"delta": {"text": '"usage": {"output_tokens": 99}'}}) + event({"usage": {"output_tokens": 8}})
    assert usage_of_stream(head, tail) == Usage(7, 8, 4)
    # An engine that tells all of it at the end is believed there.
    tail = event({"usage": {"input_tokens": 2, "output_tokens": 8, "cache_read_input_tokens": 0}})
    assert usage_of_stream(head, tail) == Usage(2, 8, 0)


def test_a_responses_usage_stands_at_the_end_of_an_event_whose_beginning_is_not_at_hand():
    whole = event(
        {"response": {"output": ["x" * 9000], "usage": {"input_tokens": 1, "output_tokens": 2}, "user": None}}
    )
    assert usage_of_stream(b"", whole[-4096:]) == Usage(1, 2, None)


def test_a_stream_without_usage_may_end_with_the_engines_timings():
    tail = event({"choices": [], "usage": None, "timings": {"prompt_n": 3, "cache_n": 2, "predicted_n": 4}})
    assert usage_of_stream(b"", tail) == Usage(5, 4, 2)
    for nothing in (b"", b'"usage": {', b'data: {"usage": [1]}', b'"usage": {"prompt_tokens": 1'):
        assert usage_of_stream(b"", nothing) is None


def test_many_brackets_take_no_stack():
    assert usage_of_stream(b"", b'"usage": ' + b'{"a":' * 20_000) is None
