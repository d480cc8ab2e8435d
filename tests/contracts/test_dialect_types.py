"""Whatever we write in another dialect is what the official clients' own types say: every event, whole answers.

The clients read leniently. Here every field has to be known, of its type, and all that must be there has to be.
"""

from __future__ import annotations

import json
from typing import Any

import anthropic.types
import openai.types.chat
import pytest
from dialect_inputs import FRAME, deltas, stream_events
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseFunctionCallArgumentsDoneEvent, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from ansambl.dialects.anthropic_messages import requests as messages
from ansambl.dialects.openai_chat import Delta, Usage, chunk, completion, read_answer
from ansambl.dialects.openai_chat import Envelope as ChatEnvelope
from ansambl.dialects.openai_responses import requests as responses
from ansambl.dialects.translation import Asked
from ansambl.domain.errors import EngineError
from ansambl.domain.text import text

RESPONSE_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
MESSAGE_EVENT: TypeAdapter[Any] = TypeAdapter(anthropic.types.RawMessageStreamEvent)

EXTRAS: dict[type, set[str]] = {Response: {"store"}, ResponseFunctionCallArgumentsDoneEvent: {"name"}}
"""What the API has, and its types of this version have not."""

TOKENS = (
    {"id": 5, "token": "a", "bytes": [97], "logprob": -0.5, "top_logprobs": [{"id": 5, "token": "a", "logprob": -0.5}]},
    {"token": "é", "logprob": None, "prob": 1.0},
    {"logprob": "x", "top_logprobs": ["y"]},
)
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}
ASKED: dict[str, dict[str, Any]] = {
    "plain": {},
    "everything": {
        "instructions": "Be kind.", "max_output_tokens": 9, "temperature": 0.5, "top_p": 0.9, "metadata": {"a": "b"},
        "tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False, "max_tool_calls": 3, "user": "u",
        "reasoning": {"effort": "high", "summary": "auto"}, "truncation": "auto", "store": True, "top_logprobs": 2,
        "text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}}, "verbosity": "low"},
        "include": ["message.output_text.logprobs", "reasoning.encrypted_content"], "service_tier": "auto",
    },
    "another summary": {"reasoning": {"generate_summary": "detailed"}, "tools": [TOOL], "tool_choice": {
        "type": "function", "name": "f"}},
}  # fmt: skip


def known(found: Any) -> None:
    """Every field of `found`, and of what is in it, is one that its type has."""
    if isinstance(found, BaseModel):
        extra = set(found.model_extra or ()) - EXTRAS.get(type(found), set())
        assert not extra, f"{type(found).__name__} has no {extra}"
        for value in found.__dict__.values():
            known(value)
    elif isinstance(found, list):
        for one in found:
            known(one)


def check(adapter: TypeAdapter[Any], event: dict[str, Any]) -> None:
    known(adapter.validate_python(event, strict=False))


def response(**fields: Any) -> Asked:
    return responses.parse_request(json.dumps({"model": "coder", "input": "Hi", **fields}).encode())


def message(**fields: Any) -> Asked:
    body = {"model": "coder", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], **fields}
    return messages.parse_request(json.dumps(body).encode())


def stream(asked: Asked, parts: list[Delta]) -> list[dict[str, Any]]:
    rendering = asked.rendering(FRAME)
    found = rendering.start() + rendering.progress("") + b"".join([rendering.feed(one) for one in parts])
    return [data for _, data in stream_events(found + rendering.finish())]


@pytest.mark.parametrize("fields", ASKED.values(), ids=ASKED)
@settings(max_examples=10, deadline=None)
@given(parts=deltas(), tokens=st.sampled_from([(), TOKENS]))
def test_every_event_of_a_response(
    fields: dict[str, Any], parts: list[Delta], tokens: tuple[dict[str, Any], ...]
) -> None:
    parts = [*parts, Delta(content="x", logprobs=tokens), Delta(usage=Usage(7, 5, 2, 3))]
    events = stream(response(**fields), parts)
    for one in events:
        check(RESPONSE_EVENT, one)
    assert [one["sequence_number"] for one in events] == list(range(len(events)))
    rendering = response(**fields).rendering(FRAME)
    for part in parts:
        rendering.feed(part)
    whole = rendering.whole()
    check(TypeAdapter(Response), whole)
    assert whole == events[-1]["response"], "a whole response is what a stream ends with"


@settings(max_examples=10, deadline=None)
@given(parts=deltas())
def test_every_event_of_a_message(parts: list[Delta]) -> None:
    parts = [*parts, Delta(usage=Usage(7, 5, 2, 3))]
    for one in stream(message(thinking={"type": "enabled", "budget_tokens": 1024}), parts):
        check(MESSAGE_EVENT, one)
    rendering = message().rendering(FRAME)
    for part in parts:
        rendering.feed(part)
    rendering.progress("Hm.")
    check(TypeAdapter(anthropic.types.Message), rendering.whole())


def test_a_broken_response_is_of_its_types_too() -> None:
    rendering = response().rendering(FRAME)
    begun = rendering.start() + rendering.feed(Delta(content="Half"))
    error = EngineError(text("It broke."))
    for _, one in stream_events(begun + rendering.broken(error, "It broke.")):
        found = RESPONSE_EVENT.validate_python(one)
        assert found.type == one["type"]


def test_reasoning_and_probabilities_of_a_response_are_told() -> None:
    parts = [Delta(reasoning="Snow "), Delta(reasoning="falls."), Delta(content="a", logprobs=TOKENS[:1]),
             Delta(content="é", logprobs=TOKENS[1:2]), Delta(finish_reason="stop")]  # fmt: skip
    events = stream(response(**ASKED["everything"]), parts)
    named = {one["type"]: one for one in events}
    assert named["response.reasoning_summary_text.done"]["text"] == "Snow falls."
    assert named["response.reasoning_summary_part.added"]["summary_index"] == 0
    assert "response.reasoning_text.delta" not in named
    deltas_ = [one for one in events if one["type"] == "response.output_text.delta"]
    assert [[token["token"] for token in one["logprobs"]] for one in deltas_] == [["a"], ["é"]]
    thoughts, said = named["response.completed"]["response"]["output"][:2]
    assert (thoughts["summary"], thoughts["content"]) == ([{"type": "summary_text", "text": "Snow falls."}], [])
    assert thoughts["encrypted_content"], "clients send no reasoning back without it"
    (part,) = said["content"]
    assert [(one["token"], one["bytes"]) for one in part["logprobs"]] == [("a", [97]), ("é", [195, 169])]
    assert part["logprobs"][0]["top_logprobs"] == [{"token": "a", "bytes": [97], "logprob": -0.5}]
    plain = stream(response(), parts)
    assert "response.reasoning_text.delta" in {one["type"] for one in plain}


def test_what_we_write_in_chat_completions() -> None:
    envelope = ChatEnvelope("chatcmpl-1", 1, "coder")
    body = {
        "choices": [
            {"message": {"content": "a", "reasoning_content": "b", "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
             "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 3}},
    }  # fmt: skip
    whole = completion(envelope, read_answer(json.dumps(body).encode()))
    found = openai.types.chat.ChatCompletion.model_validate(whole)
    assert found.usage is not None
    assert found.usage.completion_tokens_details is not None
    assert found.usage.completion_tokens_details.reasoning_tokens == 3
    # The one field that OpenAI's types lack; llama.cpp and DeepSeek have it.
    assert found.choices[0].message.model_extra == {"reasoning_content": "b"}
    known(openai.types.chat.ChatCompletionChunk.model_validate(chunk(envelope, {"content": "a"}, finish_reason="stop")))
