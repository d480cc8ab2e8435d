"""What every dialect of the chat holds, whatever its shapes are. A new dialect needs one row in `WORLDS`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from dialect_inputs import FRAME, deltas, grown, stream_events
from hypothesis import given, settings

from ansambl.dialects.openai_chat import Answer, ChatRequest, Delta, completion, read_answer
from ansambl.dialects.openai_chat import Envelope as ChatEnvelope
from ansambl.dialects.translation import Asked
from ansambl.domain.errors import EngineError, RequestError, UnavailableError
from ansambl.domain.text import text
from ansambl.gateway.dialect_routes import DIALECTS, EVERY, Dialect, error_object_of
from ansambl.roles.turns import Note, TurnMemory

NOTE = Note("coder", "[Role: coder] …")


@dataclass(frozen=True)
class World:
    """How a client of a dialect writes: a conversation, what it adds after an answer, a field of the sampling.

    `sentence` is where an error has its words.
    """

    ask: Callable[[list[Any]], dict[str, Any]]
    user: Callable[[str], Any]
    sent_back: Callable[[Mapping[str, Any]], list[Any]]
    said: Callable[[Mapping[str, Any]], str]
    system: str
    warm: Mapping[str, Any] = field(default_factory=lambda: {"temperature": 0.5})
    sentence: Callable[[Mapping[str, Any]], str] = lambda error: _sentence(error["error"])


def _sentence(error: Mapping[str, Any]) -> str:
    assert isinstance(error["type"], str)
    return str(error["message"])


def _chat_message(whole: Mapping[str, Any]) -> list[Any]:
    return [whole["choices"][0]["message"]]


WORLDS = {
    "/v1/chat/completions": World(
        lambda messages: {"messages": messages}, lambda words: {"role": "user", "content": words}, _chat_message,
        lambda whole: whole["choices"][0]["message"]["content"], "",
    ),
    "/v1/messages": World(
        lambda messages: {"messages": messages, "max_tokens": 9}, lambda words: {"role": "user", "content": words},
        lambda whole: [{"role": "assistant", "content": whole["content"]}],
        lambda whole: "".join(one["text"] for one in whole["content"] if one["type"] == "text"), "system",
    ),
    "/v1/responses": World(
        lambda items: {"input": items}, lambda words: {"role": "user", "content": words},
        lambda whole: whole["output"],
        lambda whole: "".join(
            part["text"] for one in whole["output"] if one["type"] == "message" for part in one["content"]
        ),
        "instructions",
    ),
    "/api/chat": World(
        lambda messages: {"messages": messages, "stream": False}, lambda words: {"role": "user", "content": words},
        lambda whole: [whole["message"]], lambda whole: whole["message"]["content"], "",
        {"options": {"temperature": 0.5}}, lambda error: error["error"],
    ),
}  # fmt: skip


CHATS = tuple(one for one in EVERY if one.path in WORLDS)


def test_every_dialect_of_conversations_is_tried() -> None:
    assert {one.path for one in EVERY} - {one.path for one in CHATS} == {"/api/generate"}


@pytest.fixture(params=CHATS, ids=[one.path for one in CHATS])
def dialect(request: pytest.FixtureRequest) -> Dialect:
    found: Dialect = request.param
    return found


@pytest.fixture
def world(dialect: Dialect) -> World:
    return WORLDS[dialect.path]


def request_of(dialect: Dialect, conversation: list[Any], **fields: Any) -> ChatRequest | Asked:
    body = {"model": "coder", **WORLDS[dialect.path].ask(conversation), **fields}
    return dialect.parse(json.dumps(body).encode())


def chat_of(asked: ChatRequest | Asked) -> ChatRequest:
    return asked if isinstance(asked, ChatRequest) else asked.chat


def answered(asked: ChatRequest | Asked, parts: list[Delta]) -> tuple[Answer, dict[str, Any]]:
    """What is remembered of an answer, and what the client gets."""
    if isinstance(asked, ChatRequest):
        whole = completion(ChatEnvelope("c", 1, "coder"), grown(parts))
        return read_answer(json.dumps(whole).encode()), whole
    rendering = asked.rendering(FRAME)
    for one in parts:
        rendering.feed(one)
    return rendering.answer, rendering.whole()


def test_the_same_question_is_the_same_chat(dialect: Dialect, world: World) -> None:
    found = chat_of(request_of(dialect, [world.user("Hi")], ansambl={"layout": "classic"}, **world.warm))
    assert found.model == "coder"
    assert found.messages() == [{"role": "user", "content": "Hi"}]
    assert (found.value("ansambl"), found.value("temperature")) == ({"layout": "classic"}, 0.5)
    assert not found.stream
    if world.system:
        first = chat_of(request_of(dialect, [world.user("Hi")], **{world.system: "Be kind."})).messages()[0]
        assert first == {"role": "system", "content": "Be kind."}


def test_a_stream_is_asked_for_with_its_usage(dialect: Dialect, world: World) -> None:
    wanted = {"stream": True, "stream_options": {"include_usage": True}}
    found = chat_of(request_of(dialect, [world.user("Hi")], **wanted))
    assert found.stream
    assert found.includes_usage


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"{}", b'{"model": 1}', b"[" * 100_000])
def test_what_is_no_request_is_refused_in_one_line(dialect: Dialect, body: bytes) -> None:
    with pytest.raises(RequestError) as raised:
        _ = chat_of(dialect.parse(body)).model
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "error", [RequestError(text("x")), UnavailableError(text("x")), EngineError(text("x"))], ids=["400", "503", "502"]
)
def test_errors_carry_the_sentence(dialect: Dialect, world: World, error: Any) -> None:
    assert world.sentence(dialect.error_object(error, "Так нельзя.")) == "Так нельзя."
    assert error_object_of(dialect.path) is dialect.error_object
    assert error_object_of(f"{dialect.path}/more") is dialect.error_object


@pytest.mark.parametrize("dialect", CHATS, ids=[one.path for one in CHATS])
@settings(max_examples=30)
@given(parts=deltas())
def test_an_answer_that_goes_back_is_known_again(dialect: Dialect, parts: list[Delta]) -> None:
    world, memory = WORLDS[dialect.path], TurnMemory()
    conversation = [world.user("How many?")]
    asked = request_of(dialect, conversation)
    answer, whole = answered(asked, parts)
    assert world.said(whole) == grown(parts).content
    memory.remember(memory.recall("k", "h", chat_of(asked).messages()), answer, NOTE)
    readable = all(_is_object(one["function"]["arguments"]) for one in answer.tool_calls)
    if len(memory) and readable:
        continued = chat_of(request_of(dialect, [*conversation, *world.sent_back(whole), world.user("Why?")]))
        assert memory.recall("k", "h", continued.messages()).texts == {0: NOTE.text}


def _is_object(arguments: str) -> bool:
    try:
        return isinstance(json.loads(arguments), dict)
    except ValueError:
        return False


@pytest.mark.parametrize("dialect", [one for one in DIALECTS if one.path != "/v1/chat/completions"],
                         ids=lambda one: one.path)  # fmt: skip
@settings(max_examples=30)
@given(parts=deltas())
def test_a_stream_begins_grows_and_ends_in_named_events(dialect: Dialect, parts: list[Delta]) -> None:
    asked = request_of(dialect, [WORLDS[dialect.path].user("Hi")], stream=True)
    assert not isinstance(asked, ChatRequest)
    rendering = asked.rendering(FRAME)
    start = stream_events(rendering.start())
    between = b"".join(map(rendering.feed, parts)) + rendering.progress("work")
    end = stream_events(rendering.finish({"ansambl": {"a": 1}}))
    for name, data in [*start, *(stream_events(between)), *end]:
        assert data["type"] == name
    assert any('"ansambl": {"a": 1}' in json.dumps(data) for _, data in end)
    broken = stream_events(asked.rendering(FRAME).broken(EngineError(text("x")), "It broke."))
    assert broken[-1][0] == "error"
    assert "It broke." in json.dumps(broken[-1][1])
