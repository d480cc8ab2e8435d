"""OpenAI's responses: requests that mean the same, items and events in order, refusals that name the field."""

import contextlib
import json

import pytest
from dialect_inputs import FRAME, deltas, grown, json_values, message_like, mixed_calls, stream_events
from hypothesis import given, settings
from hypothesis import strategies as st

from ansambl.dialects.openai_chat import Delta, Usage
from ansambl.dialects.openai_responses import answers, requests
from ansambl.domain.errors import EngineError, RequestError
from ansambl.domain.text import text

TOOL = {"type": "function", "name": "count", "description": "Counts.", "parameters": {"type": "object"}, "strict": True}
OTHER = {"type": "function", "name": "other", "parameters": None, "strict": None}


def asked(given="Hi", **fields):
    return requests.parse_request(json.dumps({"model": "coder", "input": given, **fields}).encode())


def chat(given="Hi", **fields):
    return json.loads(asked(given, **fields).chat.encode())


def user(words):
    return {"role": "user", "content": words}


# --- requests --------------------------------------------------------------------------------------------------------


def test_a_plain_request_is_the_same_in_chat_completions():
    assert chat(instructions="Be kind.", temperature=0.5, max_output_tokens=9, stream=True) == {
        "model": "coder",
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}],
        "max_tokens": 9,
        "temperature": 0.5,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_fields_of_openais_own_service_are_left_out_and_nothing_is_stored():
    assert chat() == chat(
        store=True, service_tier="auto", prompt_cache_key="k", include=["reasoning.encrypted_content"],
        previous_response_id=None, conversation=None, background=False, metadata={"a": "b"}, top_logprobs=0,
        truncation="auto",
    )  # fmt: skip
    assert asked(store=True).rendering(FRAME).whole()["store"] is False


def test_what_is_asked_of_ansambl_and_of_the_engine_passes_through():
    found = chat(ansambl={"role": "brief"}, seed=1, stop=["END"], top_k=3)
    assert (found["ansambl"], found["seed"], found["stop"], found["top_k"]) == ({"role": "brief"}, 1, ["END"], 3)


def test_what_is_said_at_the_head_is_one_system_message():
    found = chat([{"role": "developer", "content": "Second."}, {"type": "message", "role": "system", "content": [
        {"type": "input_text", "text": "Third."}]}, user("Hi")], instructions="First.")  # fmt: skip
    assert found["messages"] == [{"role": "system", "content": "First.\n\nSecond.\n\nThird."}, user("Hi")]


def test_parts_of_a_message():
    parts = [{"type": "input_text", "text": "What is it?"},
             {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "low"}]  # fmt: skip
    assert chat([user(parts)])["messages"][0]["content"] == [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}},
    ]
    assert chat([user(parts[:1])])["messages"] == [user("What is it?")]


def test_a_turn_of_the_model_is_one_message():
    found = chat(
        [
            user("How many?"),
            {"type": "reasoning", "id": "rs_1_0", "summary": [], "content": [
                {"type": "reasoning_text", "text": "I count."}]},
            {"type": "message", "id": "msg_1_1", "role": "assistant", "status": "completed", "content": [
                {"type": "output_text", "text": "Let me", "annotations": []}]},
            {"type": "message", "id": "msg_1_2", "role": "assistant", "status": "completed", "content": [
                {"type": "output_text", "text": " see.", "annotations": []}]},
            {"type": "function_call", "id": "fc_1_3", "call_id": "c1", "name": "count", "arguments": '{"a":1}'},
            {"type": "function_call", "call_id": "c2", "name": "count", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "42"},
            {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "43"}]},
        ]
    )  # fmt: skip
    assert found["messages"][1:] == [
        {
            "role": "assistant",
            "content": "Let me see.",
            "reasoning_content": "I count.",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "count", "arguments": '{"a":1}'}},
                {"id": "c2", "type": "function", "function": {"name": "count", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
        {"role": "tool", "tool_call_id": "c2", "content": "43"},
    ]


def test_messages_that_the_client_wrote_itself_stay_apart():
    said = [{"role": "assistant", "content": "One."}, {"role": "assistant", "content": "Two."}]
    assert chat([user("Hi"), *said])["messages"][1:] == said


def test_what_an_ensemble_showed_of_its_work_does_not_come_back():
    shown = {"type": "reasoning", "id": f"{answers.PROGRESS}1_0", "summary": [], "content": [
        {"type": "reasoning_text", "text": "coder: …"}]}  # fmt: skip
    assert chat([user("Hi"), shown, user("And?")])["messages"] == [user("Hi"), user("And?")]
    summed = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]}
    found = chat([user("Hi"), summed, {"role": "assistant", "content": "Yes."}])
    assert found["messages"][1] == {"role": "assistant", "content": "Yes.", "reasoning_content": "Hm."}


def test_reasoning_and_formats():
    schema = {"type": "json_schema", "name": "city", "schema": {"type": "object"}, "strict": True}
    found = chat(reasoning={"effort": "low", "summary": "auto"}, text={"format": schema, "verbosity": "low"})
    assert (found["reasoning_effort"], found["verbosity"]) == ("low", "low")
    assert found["response_format"] == {
        "type": "json_schema", "json_schema": {"name": "city", "schema": {"type": "object"}, "strict": True},
    }  # fmt: skip
    assert chat(text={"format": {"type": "json_object"}})["response_format"] == {"type": "json_object"}
    assert "response_format" not in chat(text={"format": {"type": "text"}})


def test_tools_and_choices():
    found = chat(tools=[TOOL, OTHER], tool_choice="required", parallel_tool_calls=False)
    assert found["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "count", "description": "Counts.", "parameters": {"type": "object"}, "strict": True,
            },
        },
        {"type": "function", "function": {"name": "other"}},
    ]  # fmt: skip
    assert (found["tool_choice"], found["parallel_tool_calls"]) == ("required", False)
    chosen = chat(tools=[TOOL, OTHER], tool_choice={"type": "function", "name": "other"})
    assert ([one["function"]["name"] for one in chosen["tools"]], chosen["tool_choice"]) == (["other"], "required")
    allowed = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "count"}]}
    some = chat(tools=[TOOL, OTHER], tool_choice=allowed)
    assert ([one["function"]["name"] for one in some["tools"]], some["tool_choice"]) == (["count"], "auto")
    assert "parallel_tool_calls" not in chat(parallel_tool_calls=True)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": ["Hi"]}, "input[0]"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}, "input[0].content[0]"),
        ({"input": [{"role": "developer", "content": [{"type": "input_image", "image_url": "x"}]}]},
         "input[0].content[0]"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]"),
        ({"input": [{"type": "web_search_call", "id": "ws"}]}, "input[0].type"),
        ({"input": [{"type": "function_call", "call_id": "c", "name": "f"}]}, "input[0].arguments"),
        ({"input": [{"type": "function_call_output", "call_id": "c"}]}, "input[0].output"),
        ({"instructions": []}, "instructions"),
        ({"max_output_tokens": 1.5}, "max_output_tokens"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"top_logprobs": "two"}, "top_logprobs"),
        ({"top_logprobs": True}, "top_logprobs"),
        ({"text": "short"}, "text"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
        ({"reasoning": "high"}, "reasoning"),
        ({"reasoning": {"effort": 3}}, "reasoning.effort"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "custom", "name": "x"}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "parameters": {}}]}, "tools[0].name"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "name": "nobody"}}, "tool_choice.name"),
        ({"tools": [TOOL], "tool_choice": {"type": "file_search"}}, "tool_choice.type"),
        ({"tools": [TOOL], "tool_choice": "sometimes"}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
    ],
)  # fmt: skip
def test_what_cannot_be_translated_is_refused_by_name(fields, named):
    with pytest.raises(RequestError) as raised:
        chat(**{"given": fields.pop("input", "Hi"), **fields})
    assert raised.value.param == named
    assert f"'{named}'" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_request_for_what_was_kept_is_told_what_to_do():
    with pytest.raises(RequestError, match="send the whole conversation in 'input'"):
        chat(previous_response_id="resp_1")


VALUES = json_values(
    "message", "user", "assistant", "developer", "function_call", "function_call_output", "reasoning", "input_text",
    "output_text", "input_image", "function",
    names=("role", "content", "type", "text", "name", "call_id", "arguments", "output", "summary", "id", "image_url",
           "format", "parameters"),
)  # fmt: skip
BODIES = st.fixed_dictionaries(
    {"model": st.just("m"), "input": st.lists(message_like(VALUES) | VALUES, min_size=1, max_size=3)},
    optional=dict.fromkeys(("instructions", "tools", "tool_choice", "reasoning", "text", "include"), VALUES),
)


@settings(max_examples=80)
@given(BODIES.map(lambda found: json.dumps(found).encode()) | st.binary(max_size=50))
def test_any_body_translates_or_is_refused(body):
    with contextlib.suppress(RequestError):
        found = requests.parse_request(body)
        assert found.chat.messages()
        json.loads(found.chat.encode())


# --- answers ---------------------------------------------------------------------------------------------------------


def rendered(*parts):
    rendering = asked().rendering(FRAME)
    stream = rendering.start() + b"".join(map(rendering.feed, parts)) + rendering.finish()
    return rendering, stream_events(stream)


def gathered(events):
    """The items that a client has after a stream, and that its events come in an order that the dialect allows."""
    assert [data["sequence_number"] for _, data in events] == list(range(len(events)))
    assert all(name == data["type"] for name, data in events)
    names = [name for name, _ in events]
    assert names[:2] == ["response.created", "response.in_progress"]
    assert names[-1] in {"response.completed", "response.incomplete"}
    items, opened, part, words = [], None, None, ""
    for name, data in events[2:-1]:
        assert data["output_index"] == len(items)
        kind = name.removeprefix("response.")
        if kind == "output_item.added":
            assert opened is None
            opened, words = data["item"], ""
            assert opened["status"] == "in_progress"
            continue
        assert opened is not None
        if kind == "output_item.done":
            assert part is None
            assert data["item"]["id"] == opened["id"]
            items.append((data["item"], words))
            opened = None
            continue
        assert data["item_id"] == opened["id"]
        if kind.startswith("content_part."):
            part = data["part"] if kind.endswith("added") else None
            assert data["part"]["text"] == words
        elif kind.endswith(".delta"):
            assert opened["type"] == "function_call" or part is not None
            words += data["delta"]
        else:
            assert kind.endswith(".done")
            assert (data.get("text") if "text" in data else data["arguments"]) == words
    assert opened is None
    return items


@settings(max_examples=60)
@given(deltas())
def test_any_stream_has_valid_events_that_say_all_of_it(parts):
    rendering, events = rendered(*parts)
    items = gathered(events)
    expected = grown(parts)

    def said(kind):
        return [words for item, words in items if item["type"] == kind]

    assert "".join(said("message")) == expected.content
    assert "".join(said("reasoning")) == expected.reasoning
    calls = [(item["call_id"], item["name"], item["arguments"]) for item, _ in items if item["type"] == "function_call"]
    assert calls == [(one["id"], one["function"]["name"], one["function"]["arguments"]) for one in expected.tool_calls]
    last = events[-1][1]["response"]
    assert last["output"] == [item for item, _ in items]
    assert last == rendering.whole()
    assert len({item["id"] for item, _ in items}) == len(items)


def test_progress_is_an_item_of_its_own_and_marked_as_that():
    rendering = asked().rendering(FRAME)
    stream = rendering.start() + rendering.progress("**coder** ") + rendering.progress("works") + rendering.progress("")
    stream += rendering.feed(Delta(reasoning="Hm.")) + rendering.feed(Delta(content="x"))
    stream += rendering.finish({"ansambl": {"role": "coder"}})
    events = stream_events(stream)
    items = gathered(events)
    assert [words for _, words in items] == ["**coder** works", "Hm.", "x"]
    assert [item["id"].startswith(answers.PROGRESS) for item, _ in items] == [True, False, False]
    assert rendering.answer.reasoning == "Hm."
    assert events[-1][1]["response"]["ansambl"] == {"role": "coder"}
    assert rendering.whole({"ansambl": 1})["ansambl"] == 1


def test_usage():
    whole = rendered(Delta(content="x", finish_reason="stop"), Delta(usage=Usage(10, 3, 4)))[0].whole()
    assert whole["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 13,
    }


@pytest.mark.parametrize(
    ("reason", "status", "details"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        (None, "completed", None),
        ("length", "incomplete", {"reason": "max_output_tokens"}),
        ("content_filter", "incomplete", {"reason": "content_filter"}),
    ],
)
def test_why_an_answer_ends(reason, status, details):
    rendering, events = rendered(Delta(content="x"), Delta(finish_reason=reason))
    last = events[-1][1]["response"]
    assert (last["status"], last["incomplete_details"]) == (status, details)
    assert events[-1][0] == f"response.{status}"
    assert [one["status"] for one in rendering.whole()["output"]] == [status]


def test_calls_whose_parts_are_mixed_are_an_error_and_never_wrong_arguments():
    rendering = asked().rendering(FRAME)
    *begun, late = mixed_calls()
    for one in begun:
        rendering.feed(one)
    with pytest.raises(EngineError):
        rendering.feed(late)


def test_a_response_says_what_was_asked():
    whole = (
        asked(instructions="Be kind.", max_output_tokens=5, tools=[TOOL], metadata={"a": "b"}).rendering(FRAME).whole()
    )
    assert (whole["instructions"], whole["max_output_tokens"], whole["metadata"]) == ("Be kind.", 5, {"a": "b"})
    assert whole["tools"] == [TOOL]
    assert (whole["id"], whole["created_at"], whole["model"]) == ("resp_abc123", FRAME.created, "coder")


def test_an_error_in_the_middle_of_a_stream():
    rendering = asked().rendering(FRAME)
    stream = rendering.start() + rendering.feed(Delta(content="Half"))
    stream += rendering.broken(EngineError(text("x"), code="engine_failed"), "It broke.")
    events = stream_events(stream)
    assert [name for name, _ in events[-2:]] == ["response.failed", "error"]
    failed, error = events[-2][1]["response"], events[-1][1]
    assert (failed["status"], failed["error"]["message"]) == ("failed", "It broke.")
    assert failed["output"][0]["status"] == "incomplete"
    assert (error["type"], error["message"], error["code"]) == ("error", "It broke.", "engine_failed")
    assert error["error"]["type"] == "engine_error"
    assert [data["sequence_number"] for _, data in events] == list(range(len(events)))
