"""What an answer cost, as the commands say it."""

from ansambl.cli.answer import print_answer, print_sources
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


def source(number, *, cited, citation="ChatGPT, 07.08.2025; past conversation: Trees"):
    return {"number": number, "title": "Trees", "cited": cited, "citation": citation}


def test_sources_stand_below_an_answer_and_those_that_it_cites_alone(capsys):
    print_sources([source(1, cited=False), source(2, cited=True, citation="a\x1b[31m\nb")])
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines()[0] == "Sources:"
    assert "[2] a" in shown.err
    assert "[1]" not in shown.err
    assert "\x1b[31m" not in shown.err
    assert len(shown.err.splitlines()) == 2
    print_sources([source(1, cited=False)])
    assert "[1] ChatGPT, 07.08.2025; past conversation: Trees" in capsys.readouterr().err
    print_sources([])
    assert capsys.readouterr().err == ""
