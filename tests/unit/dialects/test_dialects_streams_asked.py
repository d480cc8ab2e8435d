"""Whether a stream is asked for, in the dialects that no engine reads."""

import json

import pytest

from ansambl.dialects.anthropic_messages.requests import parse_request as parse_message
from ansambl.dialects.openai_responses.requests import parse_request as parse_response
from ansambl.domain.errors import RequestError

ASKED = {parse_message: {"messages": [{"role": "user", "content": "hi"}]}, parse_response: {"input": "hi"}}


@pytest.mark.parametrize("parse", ASKED)
@pytest.mark.parametrize("value", [{}, 1, 0, "true", []])
def test_it_is_asked_for_with_yes_or_no(parse, value):
    with pytest.raises(RequestError) as wrong:
        parse(json.dumps({"model": "big", **ASKED[parse], "stream": value}).encode())
    assert wrong.value.param == "stream"


@pytest.mark.parametrize("parse", ASKED)
@pytest.mark.parametrize(("value", "streams"), [(True, True), (False, False), (None, False)])
def test_yes_no_and_nothing(parse, value, streams):
    asked = parse(json.dumps({"model": "big", **ASKED[parse], "stream": value}).encode())
    assert asked.chat.stream is streams
