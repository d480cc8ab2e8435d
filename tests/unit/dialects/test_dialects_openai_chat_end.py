"""The end of a stream, into whose usage our account goes."""

from __future__ import annotations

import json

import pytest

from ansambl.dialects.openai_chat import DONE_EVENT, Usage
from ansambl.dialects.openai_chat_additions import split_end, with_account

SAID = b'data: {"id":"a","choices":[{"index":0,"delta":{"content":"b"}}]}\n\n'
USED = b'data: {"id":"a","choices": [],"usage":{"prompt_tokens":1,"completion_tokens":2},"timings":{"x":1.50}}\n\n'


@pytest.mark.parametrize(
    ("events", "end"),
    [(b"", b""), (SAID, b""), (SAID + SAID, b""), (SAID + DONE_EVENT, DONE_EVENT), (DONE_EVENT, DONE_EVENT),
     (SAID + USED, USED), (USED, USED), (SAID + USED + DONE_EVENT, USED + DONE_EVENT), (USED + SAID, b"")],
)  # fmt: skip
def test_the_end_is_the_usage_and_the_end_mark(events, end):
    before, found = split_end(events)
    assert before + found == events
    assert found == end


@pytest.mark.parametrize(
    "last",
    [b'data: {"choices":[],"usage":null}\n\n', b'data: {"usage":{}}\n\n', b'data: {"choices":[],"usage"\n\n',
     b'data: {"choices":[{"index":0,"delta":{}}],"usage":{"prompt_tokens":1}}\n\n', b': "usage"\n\n'],
)  # fmt: skip
def test_what_is_more_or_less_than_the_usage_goes_on_as_it_is(last):
    assert split_end(SAID + last) == (SAID + last, b"")
    assert with_account(last + DONE_EVENT, {"a": 1}, None) is None


def test_the_account_stands_beside_what_the_engine_said():
    found = with_account(USED + DONE_EVENT, {"route": "b"}, None)
    assert found is not None
    assert found.endswith(b"\n\n" + DONE_EVENT)
    said = json.loads(found.removesuffix(DONE_EVENT).removeprefix(b"data:"))
    assert said == {"id": "a", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2},
                    "timings": {"x": 1.5}, "ansambl": {"route": "b"}}  # fmt: skip
    assert b'"x":1.50' in found
    more = with_account(USED, {}, Usage(prompt_tokens=11, completion_tokens=2))
    assert more is not None
    assert b'"prompt_tokens":11' in more
