"""What an answer cost, as the commands say it."""

from ansambl.cli.answer import print_answer
from ansambl.dialects.openai_chat import Delta, Usage


def deltas(*given):
    yield from given


def test_a_councils_heading_is_no_token():
    headings = Delta(reasoning="**coder**\n\n"), Delta(reasoning="\n\n**reasoner**\n\n")
    assert print_answer(deltas(*headings), quiet=True).first_token is None
    assert print_answer(deltas(*headings, Delta(reasoning="I")), quiet=True).first_token is not None
    assert print_answer(deltas(*headings, Delta(content="**Yes**")), quiet=True).first_token is not None


def test_a_whole_answer_is_gathered():
    answer = print_answer(
        deltas(
            Delta(reasoning="hm"),
            Delta(content="a"),
            Delta(content="b", finish_reason="stop"),
            Delta(usage=Usage(3, 2, 1)),
        ),
        quiet=True,
    )
    assert (answer.content, answer.reasoning, answer.finish_reason) == ("ab", "hm", "stop")
    assert answer.as_json()["usage"]["prompt_tokens_details"] == {"cached_tokens": 1}
