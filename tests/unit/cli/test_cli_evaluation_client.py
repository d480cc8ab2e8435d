"""What an evaluation reads out of an answer; the requests are tried in the integration tests."""

import pytest

from ansambl.cli.evaluation_client import read_reply
from ansambl.evaluation.records import AskError, Cost

CHOICE = {"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "length"}


def test_an_answer_with_its_cost_and_branches():
    usage = {"prompt_tokens": 30, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 20}}
    reply = read_reply({"choices": [CHOICE], "usage": usage, "ansambl": {"branches": [{"role": "coder"}, 5]}}, 1.5)
    assert (reply.content, reply.finish_reason, reply.branches) == ("Hi", "length", ({"role": "coder"},))
    assert reply.cost == Cost(30, 2, 20, 1.5)
    assert (reply.cost.prefilled_tokens, reply.cost.computed_tokens) == (10, 12)


def test_what_is_not_told_is_not_made_up():
    reply = read_reply({"choices": [{"message": {"content": None}}]}, 1.0)
    assert (reply.content, reply.finish_reason, reply.branches, reply.cost) == ("", None, (), Cost(seconds=1.0))


def test_half_a_character_can_be_sent_back():
    reply = read_reply({"choices": [{"message": {"content": "a\ud800"}}]}, 1.0)
    assert reply.content.encode() == b"a?"


@pytest.mark.parametrize(
    "found", [{}, {"choices": []}, {"choices": [5]}, {"choices": [{"message": "x"}]}, {"choices": {}}]
)
def test_an_answer_without_a_message_is_an_error(found):
    with pytest.raises(AskError, match="no message"):
        read_reply(found, 1.0)
