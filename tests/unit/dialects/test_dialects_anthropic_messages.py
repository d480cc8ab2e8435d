"""Anthropic's messages: requests that mean the same, answers in the right order, refusals that name the field."""

import contextlib
import json

import pytest
from dialect_inputs import FRAME, deltas, grown, json_values, message_like, mixed_calls, stream_events
from hypothesis import given, settings
from hypothesis import strategies as st

from ansambl.dialects.anthropic_messages import answers, models, requests
from ansambl.dialects.openai_chat import Answer, Delta, Usage
from ansambl.domain.errors import EngineError, RequestError, UnavailableError
from ansambl.domain.text import text

TOOL = {"name": "count", "description": "Counts.", "input_schema": {"type": "object", "properties": {}}}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}


def asked(*messages, **fields):
    listed = [{"role": "user", "content": one} if isinstance(one, (str, list)) else one for one in messages or ("Hi",)]
    body = {"model": "coder", "max_tokens": 9, "messages": listed, **fields}
    return requests.parse_request(json.dumps(body).encode())


def chat(*messages, **fields):
    return json.loads(asked(*messages, **fields).chat.encode())


def said(*blocks):
    return {"role": "assistant", "content": list(blocks)}


def words(text):
    return {"type": "text", "text": text}


# --- requests --------------------------------------------------------------------------------------------------------


def test_a_plain_request_is_the_same_in_chat_completions():
    assert chat("Hi", system="Be kind.", temperature=0.5, top_k=3, stop_sequences=["END"], stream=True) == {
        "model": "coder",
        "max_tokens": 9,
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}],
        "temperature": 0.5,
        "top_k": 3,
        "stop": ["END"],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_what_is_asked_of_ansambl_and_of_the_engine_passes_through():
    found = chat(ansambl={"role": "brief"}, seed=1, min_p=0.1, metadata={"user_id": "u"})
    assert (found["ansambl"], found["seed"], found["min_p"], found["user"]) == ({"role": "brief"}, 1, 0.1, "u")


def test_fields_of_anthropics_own_service_are_left_out():
    plain = chat()
    assert plain == chat(
        cache_control={"type": "ephemeral"}, service_tier="auto", inference_geo="us", betas=["x"], container=None,
        mcp_servers=[], context_management={"edits": []}, thinking={"type": "enabled", "budget_tokens": 2000},
    )  # fmt: skip


def test_blocks_become_parts_and_a_text_alone_a_string():
    assert chat([words("Hi")])["messages"] == [{"role": "user", "content": "Hi"}]
    assert chat([words("What is it?"), IMAGE])["messages"][0]["content"] == [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]
    url = {"type": "image", "source": {"type": "url", "url": "http://127.0.0.1/a.png"}}
    assert chat([url])["messages"][0]["content"][0]["image_url"] == {"url": "http://127.0.0.1/a.png"}


def test_documents_that_are_text_are_read():
    document = {"type": "document", "title": "Notes", "source": {"type": "text", "media_type": "text/plain",
                "data": "Tea at five."}}  # fmt: skip
    found = {"type": "search_result", "title": "T", "source": "S", "content": [words("Body")]}
    contents = chat([document, found])["messages"][0]["content"]
    assert [one["text"] for one in contents] == ["Notes\n\nTea at five.", "T\nS\n\nBody"]


def test_the_system_text_is_one_message_without_bookkeeping():
    blocks = [words("x-anthropic-billing-header: cc_version=1; cch=8a;"), words("First."), words("Second.")]
    assert chat(system=blocks)["messages"][0] == {"role": "system", "content": "First.\n\nSecond."}
    assert chat(system="")["messages"][0]["role"] == "user"
    assert chat(system=[])["messages"][0]["role"] == "user"


def test_a_tool_loop():
    use = {"type": "tool_use", "id": "c1", "name": "count", "input": {"b": 2, "a": [1]}}
    result = {"type": "tool_result", "tool_use_id": "c1", "content": [words("42")]}
    other = {"type": "tool_result", "tool_use_id": "c2", "content": "No such file.", "is_error": True}
    thought = {"type": "thinking", "thinking": "I count.", "signature": answers.THOUGHTS}
    found = chat("How many?", said(thought, words("Let me see."), use), [words("Quick!"), result, other], tools=[TOOL])
    assert found["messages"][1:] == [
        {
            "role": "assistant",
            "content": "Let me see.",
            "reasoning_content": "I count.",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "count", "arguments": '{"b":2,"a":[1]}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
        {"role": "tool", "tool_call_id": "c2", "content": "Error: No such file."},
        {"role": "user", "content": "Quick!"},
    ]
    assert found["tools"] == [
        {
            "type": "function",
            "function": {"name": "count", "description": "Counts.", "parameters": TOOL["input_schema"]},
        }
    ]
    assert "tool_choice" not in found


@pytest.mark.parametrize(
    ("content", "is_error", "expected"),
    [
        (None, False, ""),
        ("", True, "Error"),
        ([], True, "Error"),
        ([IMAGE], True, [{"type": "text", "text": "Error"}, {"type": "image_url", "image_url": {
            "url": "data:image/png;base64,AAAA"}}]),
    ],
)  # fmt: skip
def test_results_without_words(content, is_error, expected):
    result = {"type": "tool_result", "tool_use_id": "c1", "content": content, "is_error": is_error}
    assert chat([result])["messages"] == [{"role": "tool", "tool_call_id": "c1", "content": expected}]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any", "disable_parallel_tool_use": True}, {"tool_choice": "required", "parallel_tool_calls": False}),
        ({"type": "none"}, {"tool_choice": "none"}),
    ],
)
def test_choices_of_tools(choice, expected):
    found = chat(tools=[TOOL, {**TOOL, "name": "other"}], tool_choice=choice)
    assert {name: found.get(name) for name in expected} == expected
    assert len(found["tools"]) == 2


def test_a_chosen_tool_is_the_only_one_and_has_to_be_called():
    found = chat(tools=[TOOL, {**TOOL, "name": "other"}], tool_choice={"type": "tool", "name": "other"})
    assert found["tool_choice"] == "required"
    assert [one["function"]["name"] for one in found["tools"]] == ["other"]


def test_messages_of_one_role_in_a_row_are_one_turn():
    found = chat("One.", "Two.", said(words("A")), said(words("B")), "Three.")
    assert [one["role"] for one in found["messages"]] == ["user", "assistant", "user"]
    assert [one["text"] for one in found["messages"][0]["content"]] == ["One.", "Two."]
    assert found["messages"][1]["content"] == "AB"


def test_what_an_ensemble_showed_of_its_work_does_not_come_back():
    shown = {"type": "thinking", "thinking": "coder: …", "signature": answers.PROGRESS}
    hidden = {"type": "redacted_thinking", "data": "xyz"}
    assert chat("Hi", said(shown, hidden, words("Yes.")), "And?")["messages"][1] == {
        "role": "assistant", "content": "Yes."
    }  # fmt: skip


def test_thinking_and_effort():
    off = asked(thinking={"type": "disabled"}, chat_template_kwargs={"x": 1})
    assert json.loads(off.chat.encode())["chat_template_kwargs"] == {"x": 1, "enable_thinking": False}
    assert not off.shows_reasoning
    assert not asked(thinking={"type": "adaptive", "display": "omitted"}).shows_reasoning
    assert asked(thinking={"type": "adaptive"}).shows_reasoning
    assert asked().shows_reasoning
    assert chat(output_config={"effort": "max"})["reasoning_effort"] == "high"
    assert chat(output_config={"effort": "low"})["reasoning_effort"] == "low"


@pytest.mark.parametrize("place", ["output_config", "output_format"])
def test_an_answer_that_follows_a_schema(place):
    wanted = {"type": "json_schema", "schema": {"type": "object"}}
    found = chat(**{place: {"format": wanted} if place == "output_config" else wanted})
    assert found["response_format"]["type"] == "json_schema"
    assert found["response_format"]["json_schema"]["schema"] == {"type": "object"}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"system": 1}, "system"),
        ({"system": [IMAGE]}, "system[0].type"),
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": ["Hi"]}, "messages[0]"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"type": "container_upload", "file_id": "f"}]}]},
         "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}]},
         "messages[0].content[0].source.type"),
        ({"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "base64"}}]}]},
         "messages[0].content[0].source.type"),
        ({"messages": [{"role": "user", "content": [{"type": "document", "citations": {"enabled": True}}]}]},
         "messages[0].content[0].citations"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, "messages[0].content[0].tool_use_id"),
        ({"messages": [{"role": "assistant", "content": [IMAGE]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "", "input": "{}"}]}]},
         "messages[0].content[0].input"),
        ({"stop_sequences": "END"}, "stop_sequences"),
        ({"stop_sequences": [1]}, "stop_sequences[0]"),
        ({"thinking": {"type": "always"}}, "thinking.type"),
        ({"thinking": True}, "thinking"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"name": "x"}]}, "tools[0].input_schema"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "nobody"}}, "tool_choice.name"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": "auto"}, "tool_choice"),
        ({"container": "c1"}, "container"),
        ({"mcp_servers": [{"type": "url", "url": "http://127.0.0.1"}]}, "mcp_servers"),
    ],
)  # fmt: skip
def test_what_cannot_be_translated_is_refused_by_name(fields, named):
    with pytest.raises(RequestError) as raised:
        chat(**fields)
    assert raised.value.param == named
    assert f"'{named}'" in str(raised.value)
    assert "\n" not in str(raised.value)


VALUES = json_values(
    "text", "user", "assistant", "system", "tool_use", "tool_result", "image", "thinking", "base64", "url", "tool",
    names=("role", "content", "type", "text", "source", "name", "input", "id", "tool_use_id", "input_schema", "data",
           "thinking", "url", "media_type", "is_error"),
)  # fmt: skip
BODIES = st.fixed_dictionaries(
    {"model": st.just("m"), "messages": st.lists(message_like(VALUES), min_size=1, max_size=3)},
    optional=dict.fromkeys(("system", "tools", "tool_choice", "thinking", "metadata", "output_config"), VALUES),
)


@settings(max_examples=80)
@given(BODIES.map(lambda found: json.dumps(found).encode()) | st.binary(max_size=50))
def test_any_body_translates_or_is_refused(body):
    with contextlib.suppress(RequestError):
        found = requests.parse_request(body)
        assert found.chat.messages()
        json.loads(found.chat.encode())


# --- answers ---------------------------------------------------------------------------------------------------------


def rendered(*parts, **options):
    rendering = answers.MessageRendering(FRAME, **options)
    stream = rendering.start() + b"".join(map(rendering.feed, parts)) + rendering.finish()
    return rendering, stream_events(stream)


def gathered(events):
    """What a client has after a stream, and that its events come in an order that the dialect allows."""
    names = [name for name, _ in events]
    assert all(name == data["type"] for name, data in events)
    assert (names[0], names[-2:]) == ("message_start", ["message_delta", "message_stop"])
    blocks, opened = [], None
    for name, data in events[1:-2]:
        if name == "content_block_start":
            assert opened is None
            assert data["index"] == len(blocks)
            opened = data["index"]
            blocks.append({**data["content_block"], "partial": ""})
        else:
            assert data["index"] == opened
            if name == "content_block_stop":
                opened = None
                continue
            assert name == "content_block_delta"
            delta, block = data["delta"], blocks[-1]
            field = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature",
                     "input_json_delta": "partial_json"}[delta["type"]]  # fmt: skip
            expected = {"text": "text", "thinking": "thinking", "signature": "thinking", "partial_json": "tool_use"}
            assert block["type"] == expected[field]
            target = "partial" if field == "partial_json" else field
            block[target] += delta[field]
    assert opened is None
    return blocks


@settings(max_examples=60)
@given(deltas())
def test_any_stream_has_valid_events_that_say_all_of_it(parts):
    rendering, events = rendered(*parts)
    blocks = gathered(events)
    expected = grown(parts)
    assert "".join(one["text"] for one in blocks if one["type"] == "text") == expected.content
    assert "".join(one["thinking"] for one in blocks if one["type"] == "thinking") == expected.reasoning
    uses = [(one["id"], one["name"], one["partial"]) for one in blocks if one["type"] == "tool_use"]
    assert uses == [(one["id"], one["function"]["name"], one["function"]["arguments"]) for one in expected.tool_calls]
    whole = rendering.whole()
    assert [one["type"] for one in whole["content"]] == [one["type"] for one in blocks]
    assert rendering.answer.content == expected.content
    assert rendering.answer.tool_calls == expected.tool_calls
    assert all(one["signature"] == answers.THOUGHTS for one in blocks if one["type"] == "thinking")


@settings(max_examples=60)
@given(deltas(), deltas())
def test_hidden_reasoning_leaves_no_gap_in_the_numbers(first, second):
    parts = [*first, Delta(reasoning="Hm."), *[one for one in second if not one.tool_calls]]
    rendering, events = rendered(*parts, shows_reasoning=False)
    assert "thinking" not in {one["type"] for one in [*gathered(events), *rendering.whole()["content"]]}


def test_progress_is_a_thinking_block_of_its_own_and_signed_as_that():
    rendering = answers.MessageRendering(FRAME)
    stream = rendering.start() + rendering.progress("**coder** ") + rendering.progress("works") + rendering.progress("")
    stream += rendering.feed(Delta(reasoning="Hm.")) + rendering.feed(Delta(content="x"))
    stream += rendering.finish({"ansambl": {"role": "coder"}})
    events = stream_events(stream)
    assert [(one.get("thinking"), one.get("signature")) for one in gathered(events)] == [
        ("**coder** works", answers.PROGRESS), ("Hm.", answers.THOUGHTS), (None, None),
    ]  # fmt: skip
    assert rendering.answer.reasoning == "Hm."
    assert events[-2][1]["ansambl"] == {"role": "coder"}
    whole = rendering.whole({"ansambl": {"role": "coder"}})
    assert whole["ansambl"] == {"role": "coder"}
    assert [one.get("signature") for one in whole["content"]] == [answers.PROGRESS, answers.THOUGHTS, None]


def test_usage_counts_cached_tokens_apart():
    rendering, events = rendered(Delta(content="x"), Delta(usage=Usage(10, 3, 4)))
    expected = {
        "input_tokens": 6, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 4, "output_tokens": 3,
    }  # fmt: skip
    assert events[-2][1]["usage"] == rendering.whole()["usage"] == expected
    unknown = rendered(Delta(usage=Usage(10, 3)))[0].whole()["usage"]
    assert (unknown["input_tokens"], unknown["cache_read_input_tokens"]) == (10, None)


CALL = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("parts", "reason", "sequence"),
    [
        ([Delta(finish_reason="stop")], "end_turn", None),
        ([Delta(finish_reason="length")], "max_tokens", None),
        ([Delta(finish_reason="content_filter")], "refusal", None),
        ([Delta(tool_calls=(CALL,), finish_reason="tool_calls")], "tool_use", None),
        ([Delta(tool_calls=(CALL,), finish_reason="stop")], "tool_use", None),
        ([Delta(tool_calls=(CALL,), finish_reason="length")], "max_tokens", None),
        ([Delta(finish_reason="stop", stopped_by="END")], "stop_sequence", "END"),
        ([Delta(finish_reason="something new")], "end_turn", None),
        ([], "end_turn", None),
    ],
)
def test_why_an_answer_ends(parts, reason, sequence):
    rendering, events = rendered(*parts)
    assert events[-2][1]["delta"] == {"stop_reason": reason, "stop_sequence": sequence}
    whole = rendering.whole()
    assert (whole["stop_reason"], whole["stop_sequence"]) == (reason, sequence)
    assert events[0][1]["message"]["stop_reason"] is None


@pytest.mark.parametrize(
    ("arguments", "given"),
    [("", {}), ('{"a": 1}', {"a": 1}), ('{"a": ', {"INVALID_JSON": '{"a": '}), ("[1]", {"INVALID_JSON": "[1]"})],
)
def test_arguments_of_a_whole_answer(arguments, given):
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    assert rendered(Delta(tool_calls=(call,)))[0].whole()["content"][0]["input"] == given


def test_calls_whose_parts_are_mixed_are_an_error_and_never_wrong_arguments():
    rendering = answers.MessageRendering(FRAME)
    *begun, late = mixed_calls()
    for one in begun:
        rendering.feed(one)
    with pytest.raises(EngineError):
        rendering.feed(late)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RequestError(text("x")), "invalid_request_error"),
        (UnavailableError(text("x")), "overloaded_error"),
        (EngineError(text("x")), "api_error"),
    ],
)
def test_errors_in_the_dialects_own_shape(error, kind):
    assert answers.error_object(error, "Слова.") == {"type": "error", "error": {"type": kind, "message": "Слова."}}


def test_an_error_in_the_middle_of_a_stream_ends_nothing_as_if_it_were_whole():
    rendering = answers.MessageRendering(FRAME)
    stream = rendering.start() + rendering.feed(Delta(content="Half"))
    stream += rendering.broken(EngineError(text("x")), "It broke.")
    names = [name for name, _ in stream_events(stream)]
    assert names == ["message_start", "content_block_start", "content_block_delta", "error"]


def test_a_prompt_over_the_context_is_said_in_the_words_that_clients_look_for():
    error = RequestError(text("x"), code="context_length_exceeded")
    assert answers.error_object(error, "9 tokens.")["error"]["message"].startswith("prompt is too long")


def test_an_empty_answer():
    rendering, events = rendered()
    assert gathered(events) == []
    assert rendering.whole()["content"] == []
    assert rendering.answer == Answer()


LISTED = [
    {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "ansambl", "name": name, "kind": "role",
     "capabilities": ["completion"], "context_length": 4096}
    for name in "abcde"
]  # fmt: skip


@pytest.mark.parametrize(("asked", "names", "more"), [
    ({}, "abcde", False), ({"limit": "2"}, "ab", True), ({"limit": "2", "after_id": "b"}, "cd", True),
    ({"limit": "2", "after_id": "d"}, "e", False), ({"limit": "2", "before_id": "d"}, "bc", True),
    ({"before_id": "b"}, "a", False), ({"after_id": "e"}, "", False), ({"after_id": "nobody"}, "abcde", False),
    ({"limit": "1000"}, "abcde", False),
])  # fmt: skip
def test_the_list_of_models_comes_in_pages(asked, names, more):
    found = models.list_object(LISTED, asked)
    assert "".join(one["id"] for one in found["data"]) == names
    assert found["has_more"] is more
    assert (found["first_id"], found["last_id"]) == ((names[0], names[-1]) if names else (None, None))


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", "", "9" * 5000])
def test_a_limit_of_models_that_cannot_be(limit):
    with pytest.raises(RequestError) as raised:
        models.list_object(LISTED, {"limit": limit})
    assert raised.value.param == "limit"


def test_an_entry_of_the_list_of_models():
    found = models.model_object(LISTED[0])
    assert (found["type"], found["display_name"], found["max_input_tokens"]) == ("model", "a", 4096)
    assert found["created_at"] == "2023-11-14T22:13:20Z"
    assert found["kind"] == "role"
    assert "object" not in found
