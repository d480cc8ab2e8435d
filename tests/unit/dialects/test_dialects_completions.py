"""Text completions that a chat answers: the request as a chat, and the answer as a completion."""

from __future__ import annotations

import json

import pytest

from ansambl.dialects.openai_chat import Delta, Usage, parse_request
from ansambl.dialects.openai_completions import prompt_of, translate_request
from ansambl.dialects.translation import Frame
from ansambl.domain.errors import EngineError, RequestError
from ansambl.domain.text import text

FRAME = Frame("id1", 7, "coder")
DELTAS = (
    Delta(reasoning="hm"), Delta(content="a"), Delta(content="b"), Delta(tool_calls=({"index": 0},)),
    Delta(finish_reason="tool_calls"), Delta(usage=Usage(3, 2, 1)),
)  # fmt: skip


def asked(**fields):
    return translate_request(parse_request(json.dumps({"model": "coder", "prompt": "go on", **fields}).encode()))


def test_the_prompt_becomes_a_message_and_all_else_stays():
    chat = asked(stop=["x"], max_tokens=3, unknown={"a": 1}, n=1, best_of=1, echo=False, logprobs=None).chat
    assert json.loads(chat.encode()) == {
        "model": "coder", "stop": ["x"], "max_tokens": 3, "unknown": {"a": 1},
        "messages": [{"role": "user", "content": "go on"}],
    }  # fmt: skip
    assert json.loads(asked(stream=True).chat.encode())["stream_options"] == {"include_usage": True}


def test_a_whole_completion():
    rendering = asked().rendering(FRAME)
    for one in DELTAS:
        rendering.feed(one)
    assert rendering.whole({"ansambl": 1}) == {
        "id": "cmpl-id1", "object": "text_completion", "created": 7, "model": "coder", "ansambl": 1,
        "choices": [{"text": "ab", "index": 0, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5,
                  "prompt_tokens_details": {"cached_tokens": 1}},
    }  # fmt: skip
    assert rendering.answer.content == "ab"


@pytest.mark.parametrize("wanted", [True, False])
def test_a_streamed_completion(wanted):
    rendering = asked(stream=True, stream_options={"include_usage": wanted}).rendering(FRAME)
    stream = rendering.start() + rendering.progress("at work") + b"".join(map(rendering.feed, DELTAS))
    stream += rendering.finish()
    assert stream.endswith(b"data: [DONE]\n\n")
    events = [json.loads(one[6:]) for one in stream.split(b"\n\n")[:-2]]
    assert all(one["object"] == "text_completion" for one in events)
    assert [one["choices"][0]["text"] for one in events if one["choices"]] == ["a", "b", ""]
    assert events[2]["choices"][0]["finish_reason"] == "stop"
    assert ("usage" in events[-1]) is wanted


def test_an_error_ends_a_stream_in_the_shape_that_clients_know():
    broken = asked(stream=True).rendering(FRAME).broken(EngineError(text("no")), "no")
    assert json.loads(broken.removeprefix(b"data: "))["error"]["message"] == "no"


@pytest.mark.parametrize(
    ("prompt", "words"), [(["a"], "a"), ("a", "a")]
)  # fmt: skip
def test_prompts(prompt, words):
    assert prompt_of(parse_request(json.dumps({"prompt": prompt}).encode())) == words


@pytest.mark.parametrize("prompt", [None, "", [], [""], [1, 2], [[1]], ["a", "b"], {"a": 1}, 7])
def test_prompts_that_a_chat_cannot_answer(prompt):
    with pytest.raises(RequestError, match="'prompt'"):
        asked(prompt=prompt)
