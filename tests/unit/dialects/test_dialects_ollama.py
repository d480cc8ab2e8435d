"""Ollama's requests as chat completion requests, and answers as its objects and lines."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import pytest
from dialect_inputs import FRAME, deltas, grown, json_values
from hypothesis import given, settings
from hypothesis import strategies as st

from ansambl.dialects.ollama import listing, vectors
from ansambl.dialects.ollama.answers import Moments, residence_object, silence_line
from ansambl.dialects.ollama.context import pack, unpack
from ansambl.dialects.ollama.requests import AskedOllama, parse_chat, parse_generate
from ansambl.dialects.openai_chat import ChatRequest, Delta, Usage
from ansambl.domain.errors import EngineError, RequestError
from ansambl.domain.model_details import ModelDetails
from ansambl.domain.text import text

USER = {"role": "user", "content": "Hi"}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40)).decode()
TOOL = {"type": "function", "function": {"name": "count", "description": "Counts.", "parameters": {"type": "object"}}}


def chat(messages: list[Any] | None = None, **fields: Any) -> AskedOllama:
    return parse_chat(
        json.dumps({"model": "m", "messages": [USER] if messages is None else messages, **fields}).encode()
    )


def generate(**fields: Any) -> AskedOllama:
    return parse_generate(json.dumps({"model": "m", **fields}).encode())


def fields_of(request: ChatRequest) -> dict[str, Any]:
    return {name: request.value(name) for name in request.fields}


def lines(stream: bytes) -> list[dict[str, Any]]:
    return [json.loads(one) for one in stream.splitlines()]


# --- requests --------------------------------------------------------------------------------------------------------


def test_a_chat_streams_unless_it_is_told_not_to() -> None:
    assert fields_of(chat().chat) == {
        "model": "m", "messages": [USER], "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip
    assert fields_of(chat(stream=False).chat) == {"model": "m", "messages": [USER]}
    assert chat(stream=True).chat.includes_usage


def test_options_that_sample_go_on_and_those_that_load_do_not() -> None:
    options = {
        "temperature": 0.5, "top_k": 40.0, "top_p": 0.9, "min_p": 0, "seed": 7, "stop": ["a", ""], "num_predict": 9,
        "repeat_penalty": 1.1, "presence_penalty": 0.1, "frequency_penalty": 0.2, "mirostat": 2,
        "num_ctx": 4096, "num_gpu": 99, "num_thread": 4, "use_mmap": False, "numa": True, "num_keep": 5, "low_vram": 1,
    }  # fmt: skip
    found = fields_of(chat(stream=False, options=options).chat)
    assert {name: value for name, value in found.items() if name not in ("model", "messages")} == {
        "temperature": 0.5, "top_k": 40, "top_p": 0.9, "min_p": 0, "seed": 7, "stop": ["a"], "max_tokens": 9,
        "repeat_penalty": 1.1, "presence_penalty": 0.1, "frequency_penalty": 0.2, "mirostat": 2,
    }  # fmt: skip


@pytest.mark.parametrize("options", [{"num_predict": -1}, {"num_predict": -2}, {"num_predict": 0}, {"seed": -1}, {},
                                     {"stop": []}, {"temperature": None}])  # fmt: skip
def test_options_that_ask_for_nothing(options: dict[str, Any]) -> None:
    assert fields_of(chat(stream=False, options=options).chat) == {"model": "m", "messages": [USER]}


@pytest.mark.parametrize(("fields", "param"), [
    ({"options": {"temperature": "hot"}}, "options.temperature"),
    ({"options": {"top_k": 1.5}}, "options.top_k"),
    ({"options": {"seed": True}}, "options.seed"),
    ({"options": {"stop": [1]}}, "options.stop[0]"),
    ({"options": []}, "options"),
    ({"stream": "yes"}, "stream"),
    ({"format": "xml"}, "format"),
    ({"think": "hard"}, "think"),
    ({"keep_alive": "soon"}, "keep_alive"),
    ({"keep_alive": True}, "keep_alive"),
    ({"logprobs": 1}, "logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"tools": [{"type": "web"}]}, "tools[0].type"),
    ({"tools": [{"function": {}}]}, "tools[0].function.name"),
    ({"model": ""}, "model"),
    ({"messages": {}}, "messages"),
    ({"messages": [{"role": "robot"}]}, "messages[0].role"),
    ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "images": ["?"]}]}, "messages[0].images[0]"),
    ({"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}]},
     "messages[0].tool_calls[0].function.arguments"),
])  # fmt: skip
def test_what_cannot_be_used_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as raised:
        chat(**fields)
    assert raised.value.param == param
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("fields", "param"), [
    ({"suffix": "end"}, "suffix"), ({"template": "{{ .Prompt }}"}, "template"), ({"raw": True}, "raw"),
    ({"prompt": 1}, "prompt"), ({"context": [1, 2]}, "context"), ({"context": "x"}, "context"),
])  # fmt: skip
def test_what_a_generation_cannot_use_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as raised:
        generate(**{"prompt": "Hi", **fields})
    assert raised.value.param == param


def test_formats() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert chat(format="json").chat.value("response_format") == {"type": "json_object"}
    assert chat(format=schema).chat.value("response_format") == {
        "type": "json_schema", "json_schema": {"name": "answer", "schema": schema},
    }  # fmt: skip
    assert "response_format" not in chat(format="").chat.fields


@pytest.mark.parametrize(("think", "kwargs", "effort", "shown"), [
    (None, None, None, True), (True, {"enable_thinking": True}, None, True),
    (False, {"enable_thinking": False}, None, False), ("low", {"enable_thinking": True}, "low", True),
    ("max", {"enable_thinking": True}, "high", True),
])  # fmt: skip
def test_thinking(think: Any, kwargs: Any, effort: Any, *, shown: bool) -> None:
    asked = chat(think=think)
    assert (asked.chat.value("chat_template_kwargs"), asked.chat.value("reasoning_effort")) == (kwargs, effort)
    assert asked.shows_reasoning is shown


def test_images_become_parts_of_their_messages() -> None:
    found = chat([{"role": "user", "content": "What is it?", "images": [PNG]}]).chat.messages()
    assert found[0]["content"] == [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
        {"type": "text", "text": "What is it?"},
    ]
    alone = generate(images=[PNG], stream=False)
    assert not alone.empty
    assert [one["type"] for one in alone.chat.messages()[0]["content"]] == ["image_url"]


def test_calls_and_results_find_each_other_without_names() -> None:
    """Most clients send back neither the names of calls nor which one a result is of."""
    one, two = ({"function": {"name": name, "arguments": {"n": 1}}} for name in ("count", "weigh"))
    asked = chat([
        USER, {"role": "assistant", "content": "", "tool_calls": [one, two], "thinking": "Hm."},
        {"role": "tool", "content": "heavy", "tool_name": "weigh"}, {"role": "tool", "content": "3"},
    ])  # fmt: skip
    messages = asked.chat.messages()
    assert [call["id"] for call in messages[1]["tool_calls"]] == ["call_0", "call_1"]
    assert messages[1]["tool_calls"][0]["function"] == {"name": "count", "arguments": '{"n":1}'}
    assert messages[1]["reasoning_content"] == "Hm."
    assert [one["tool_call_id"] for one in messages[2:]] == ["call_1", "call_0"]
    assert asked.calls == 2
    named = chat([USER, {"role": "assistant", "tool_calls": [{"id": "x", **one}]},
                  {"role": "tool", "content": "3", "tool_call_id": "x"}]).chat.messages()  # fmt: skip
    assert (named[1]["tool_calls"][0]["id"], named[2]["tool_call_id"]) == ("x", "x")


def test_tools_and_probabilities() -> None:
    found = chat(tools=[TOOL], logprobs=True, top_logprobs=2).chat
    assert found.value("tools") == [TOOL]
    assert (found.value("logprobs"), found.value("top_logprobs")) == (True, 2)
    assert "tools" not in chat(tools=[]).chat.fields


@pytest.mark.parametrize(("keep_alive", "unloads"), [
    (0, True), ("0", True), ("0s", True), ("0m0s", True), ("5m", False), (-1, False), ("-1", False), (None, False),
    ("1h30m", False), (0.5, False),
])  # fmt: skip
def test_nothing_asked_loads_or_unloads(keep_alive: Any, *, unloads: bool) -> None:
    for asked in (chat([], keep_alive=keep_alive), generate(keep_alive=keep_alive)):
        assert asked.empty
        assert asked.unloads is unloads
    assert not chat(keep_alive=keep_alive).empty


def test_a_generation_is_a_chat_of_one_turn() -> None:
    asked = generate(prompt="Hi", system="Be kind.", stream=False)
    assert asked.chat.messages() == [{"role": "system", "content": "Be kind."}, USER]
    assert asked.generates


@given(
    st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), st.text(min_size=1, max_size=30)), max_size=4)
)
@settings(max_examples=40)
def test_a_context_is_the_conversation_again(turns: list[tuple[str, str]]) -> None:
    messages = [{"role": role, "content": words} for role, words in turns]
    numbers = pack(messages)
    assert all(0 <= one < 2**31 for one in numbers)
    assert unpack(json.loads(json.dumps(numbers))) == messages


@given(st.lists(st.integers(0, 2**24), max_size=6), st.integers(0, 3))
@settings(max_examples=40)
def test_no_context_is_more_than_refused(numbers: list[int], mark: int) -> None:
    found: list[Any] = []
    with contextlib.suppress(RequestError):
        found = unpack([0x4153_4200 + mark, *numbers])
    assert all(set(one) == {"role", "content"} for one in found)


def test_a_context_goes_on_and_a_new_instruction_takes_the_place_of_the_old_one() -> None:
    first = generate(prompt="Hi", system="Be kind.")
    rendering = first.rendering(FRAME)
    rendering.feed(Delta(content="Hello!"))
    context = lines(rendering.finish())[-1]["context"]
    again = generate(prompt="Why?", context=context)
    assert [one["content"] for one in again.chat.messages()] == ["Be kind.", "Hi", "Hello!", "Why?"]
    other = generate(prompt="Why?", context=context, system="Be short.")
    assert [one["content"] for one in other.chat.messages()] == ["Be short.", "Hi", "Hello!", "Why?"]


@given(json_values("user", "tool", "f", "", names=("role", "content", "images", "tool_calls", "function", "name")))
@settings(max_examples=60)
def test_any_messages_are_read_or_refused(messages: Any) -> None:
    found: list[Any] = []
    with contextlib.suppress(RequestError):
        asked = parse_chat(json.dumps({"model": "m", "messages": messages}).encode())
        found = [] if asked.empty else asked.chat.messages()
    assert all(isinstance(one["role"], str) for one in found)


# --- answers ---------------------------------------------------------------------------------------------------------


@given(parts=deltas())
@settings(max_examples=40)
def test_a_stream_says_what_the_whole_answer_says(parts: list[Delta]) -> None:
    streamed, whole = chat().rendering(FRAME), chat().rendering(FRAME)
    found = lines(streamed.start() + b"".join(map(streamed.feed, parts)) + streamed.finish({"ansambl": {"a": 1}}))
    for one in parts:
        whole.feed(one)
    message = whole.whole()["message"]
    assert all(set(one) >= {"model", "created_at", "message", "done"} for one in found)
    assert [one["done"] for one in found] == [False] * (len(found) - 1) + [True]
    assert "".join(one["message"]["content"] for one in found) == message["content"] == grown(parts).content
    assert "".join(one["message"].get("thinking", "") for one in found) == message.get("thinking", "")
    calls = [call for one in found for call in one["message"].get("tool_calls", [])]
    assert calls == message.get("tool_calls", [])
    assert all(isinstance(one["function"]["arguments"], dict) for one in calls)
    assert found[-1]["ansambl"] == {"a": 1}


def test_thinking_that_is_not_wanted_is_not_shown() -> None:
    rendering = chat(think=False).rendering(FRAME)
    assert rendering.feed(Delta(reasoning="Hm.")) == b""
    assert rendering.progress("working") == b""
    assert "thinking" not in rendering.whole()["message"]


def test_times_are_the_engines_own_where_it_tells_them() -> None:
    now = [Moments(1.0, 0.75)]
    rendering = AskedOllama(chat().chat, "m", moments=lambda: now[0]).rendering(FRAME)
    rendering.feed(Delta(content="a"))
    now[0] = Moments(3.0, 0.75)
    measured = rendering.whole()
    assert (measured["total_duration"], measured["load_duration"]) == (3_000_000_000, 750_000_000)
    assert (measured["prompt_eval_duration"], measured["eval_duration"]) == (250_000_000, 2_000_000_000)
    assert "eval_count" not in measured, "nobody counted"
    rendering.feed(Delta(finish_reason="length", usage=Usage(7, 3), seconds=(0.125, 1.5)))
    told = rendering.whole()
    assert (told["prompt_eval_duration"], told["eval_duration"]) == (125_000_000, 1_500_000_000)
    assert (told["prompt_eval_count"], told["eval_count"], told["done_reason"]) == (7, 3, "length")


def test_a_whole_answer_without_times_of_its_own_is_all_told_as_one() -> None:
    rendering = AskedOllama(chat().chat, "m", moments=lambda: Moments(3.0, 1.0)).rendering(FRAME)
    rendering.feed(Delta(content="all", finish_reason="stop", usage=Usage(7, 3)))
    found = rendering.whole()
    assert (found["prompt_eval_duration"], found["eval_duration"]) == (0, 2_000_000_000)


def test_probabilities_are_told_once() -> None:
    one = {"token": "a", "logprob": -0.5, "bytes": [97], "id": 3, "top_logprobs": [{"token": "b", "logprob": -1.0}]}
    rendering = generate(prompt="Hi", logprobs=True).rendering(FRAME)
    first = lines(rendering.feed(Delta(content="a", logprobs=(one,))))[0]
    assert first["logprobs"] == [
        {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": [{"token": "b", "logprob": -1.0}]}
    ]
    assert "logprobs" not in lines(rendering.finish())[0]
    assert rendering.whole()["logprobs"] == first["logprobs"]


def test_errors_and_lines_that_say_nothing() -> None:
    assert lines(chat().rendering(FRAME).broken(EngineError(text("x")), "It broke.")) == [{"error": "It broke."}]
    silence = json.loads(silence_line("m", 0.0, generates=False))
    assert silence == {
        "model": "m", "created_at": "1970-01-01T00:00:00.000000Z", "message": {"role": "assistant", "content": ""},
        "done": False,
    }  # fmt: skip
    assert json.loads(silence_line("m", 0.0, generates=True))["response"] == ""
    assert residence_object("m", 0.0, generates=True, unloaded=True)["done_reason"] == "unload"
    assert residence_object("m", 0.0, generates=False, unloaded=False)["done_reason"] == "load"


# --- lists and vectors -----------------------------------------------------------------------------------------------

ENTRY = {"id": "coder", "kind": "role", "created": 1_700_000_000, "models": ["m"], "capabilities": ["completion"],
         "context_length": 4096}  # fmt: skip
DETAILS = ModelDetails("gguf", "qwen3", "Q4_K_M", 1_000, 1_720_000_000, 40_960)


def test_lists_hold_what_is_known() -> None:
    one = listing.Listed(ENTRY, DETAILS, memory=2_000, on_gpu=1_500, rests_at=1_700_000_060.0)
    tagged = listing.tags_object([one])["models"][0]
    assert (tagged["name"], tagged["size"], len(tagged["digest"])) == ("coder:latest", 1_000, 64)
    assert tagged["details"]["parameter_size"] == "1.7B"
    running = listing.ps_object([one])["models"][0]
    assert (running["size"], running["size_vram"], running["context_length"]) == (2_000, 1_500, 4096)
    assert running["expires_at"] == "2023-11-14T22:14:20.000000Z"
    shown = listing.show_object(one)
    assert shown["model_info"] == {
        "general.architecture": "qwen3", "qwen3.context_length": 4096, "general.parameter_count": 1_720_000_000,
    }  # fmt: skip
    unknown = listing.Listed({**ENTRY, "id": "a:b"})
    assert unknown.name == "a:b"
    assert listing.show_object(unknown)["model_info"] == {}
    assert listing.ps_object([unknown])["models"][0]["expires_at"].startswith("2999")
    assert tagged["digest"] != listing.tags_object([unknown])["models"][0]["digest"]


def test_vectors() -> None:
    asked = vectors.parse_vectors(b'{"model": "m", "input": ["a", "b"], "dimensions": 2}', single=False)
    assert json.loads(asked.encode("there")) == {
        "model": "there", "input": ["a", "b"], "encoding_format": "float", "dimensions": 2,
    }  # fmt: skip
    answer = {"data": [{"index": 1, "embedding": [3, 4]}, {"index": 0, "embedding": [1, 2]}],
              "usage": {"prompt_tokens": 5}}  # fmt: skip
    assert json.loads(asked.answer(json.dumps(answer).encode(), Moments(2.0, 1.0))) == {
        "model": "m", "embeddings": [[1, 2], [3, 4]], "total_duration": 2_000_000_000, "load_duration": 1_000_000_000,
        "prompt_eval_count": 5,
    }  # fmt: skip
    old = vectors.parse_vectors(b'{"model": "m", "prompt": "a"}', single=True)
    assert json.loads(old.answer(b'{"data": [{"embedding": [1]}]}', Moments())) == {"embedding": [1]}
    for nothing in (b'{"model": "m"}', b'{"model": "m", "input": ""}', b'{"model": "m", "input": []}'):
        assert vectors.parse_vectors(nothing, single=False).texts == ()


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"data": []}', b'{"data": [{"embedding": [1]}, {"index": 0}]}', b"\xff"]
)
def test_what_is_no_answer_with_vectors(body: bytes) -> None:
    asked = vectors.parse_vectors(b'{"model": "m", "input": ["a", "b"]}', single=False)
    with pytest.raises(EngineError, match="2 vectors"):
        asked.answer(body, Moments())
