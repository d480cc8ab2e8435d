"""OpenAI's chat dialect against well-meant and hostile bytes."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansambl.dialects import openai_chat as chat
from ansambl.domain.errors import RequestError

DEEP = 100_000
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


# --- requests --------------------------------------------------------------------------------------------------------


@given(st.dictionaries(st.text(), JSON), st.sampled_from([(",", ":"), (" ,\n", " : ")]), st.booleans())
def test_fields_that_nobody_knows_survive(fields, separators, ascii_only):
    body = json.dumps(fields, separators=separators, ensure_ascii=ascii_only).encode()
    request = chat.parse_request(body)
    assert json.loads(request.encode()) == fields
    changed = request.changed({"model": "other"})
    assert json.loads(changed.encode()) == {**fields, "model": "other"}
    assert json.loads(request.encode()) == fields, "a change makes a copy"


@pytest.mark.parametrize(
    "value",
    [
        b"1.0", b"1e2", b"-0.0", b"123456789012345678901234567890", b"1e999", b'"\\u0434\\/\\n"', b"[1, 2 , 3]",
        b'{ "a" : {"b":null}}', b'"\xd0\xb4"',
    ],
)  # fmt: skip
def test_untouched_fields_keep_their_bytes(value):
    request = chat.parse_request(b'{"model":"a","odd":' + value + b"}").changed({"model": "b"})
    assert b'"odd":' + value in request.encode()
    assert b'"model":"b"' in request.encode()


def test_a_field_is_removed_replaced_and_added():
    request = chat.parse_request(b'{"model":"a","stream":true}').changed({"stream": None, "n": 2, "none": None})
    assert json.loads(request.encode()) == {"model": "a", "n": 2}


def test_the_last_of_double_keys_counts_and_one_is_sent_on():
    request = chat.parse_request(b'{"model":"a","mo\\u0064el":"b"}')
    assert request.model == "b"
    assert request.encode() == b'{"model":"b"}'


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"null", b"[]", b'"text"', b"1", b"{", b"{}x", b"{'a':1}", b'{"a":1,}', b'{"a" 1}', b'{"a":NaN}',
        b'{"a":01}', b'{"a":tru}', b'{"a":"\x00"}', b'{"a":"\\x"}', b'{"\xff":1}', b'{"a":"\\ud800"}', b"{1:2}",
        b"\xef\xbb\xbf{}", '{"a":1}'.encode("utf-16"), b"[" * DEEP, b'{"a":' + b"[" * DEEP,
        b'{"a":' + b"[" * DEEP + b"]" * DEEP + b"}", b'{"a":' * DEEP, b'{"a":' * DEEP + b"1" + b"}" * DEEP,
        b"\x00" * 100, b"--boundary\r\n",
    ],
)  # fmt: skip
def test_what_is_no_json_object_is_a_request_error(body):
    with pytest.raises(RequestError) as raised:
        chat.parse_request(body)
    assert raised.value.code == "invalid_json"
    assert "\n" not in str(raised.value)


@given(st.binary())
def test_any_bytes_give_a_request_or_a_request_error(body):
    with contextlib.suppress(RequestError):
        request = chat.parse_request(body)
        assert isinstance(request.stream, bool)
        assert isinstance(request.model, str)
        assert request.messages()


@pytest.mark.parametrize("value", [b'"\xff"', b"1e999", b"9" * 5000, b'"\xed\xa0\x80"'])
def test_a_field_that_cannot_be_read_is_named(value):
    request = chat.parse_request(b'{"model":' + value + b"}")
    with pytest.raises(RequestError) as raised:
        _ = request.model
    assert (raised.value.param, raised.value.code) == ("model", "invalid_json")


@pytest.mark.parametrize(
    ("value", "code", "said"),
    [("null", "missing_model", "is missing"), ('""', "missing_model", "is missing")]
    + [(one, None, "must be text") for one in ("5", "0", "[]", "{}", "true", "false")],
)
def test_a_model_must_be_a_name(value, code, said):
    with pytest.raises(RequestError, match=said) as raised:
        _ = chat.parse_request(f'{{"model":{value}}}'.encode()).model
    assert (raised.value.param, raised.value.code) == ("model", code)


@pytest.mark.parametrize(
    ("body", "stream", "usage"),
    [
        ("{}", False, False),
        ('{"stream":true}', True, False),
        ('{"stream":"true"}', False, False),
        ('{"stream":1}', False, False),
        ('{"stream":true,"stream_options":{"include_usage":true}}', True, True),
        ('{"stream":true,"stream_options":{"include_usage":"yes"}}', True, False),
        ('{"stream":true,"stream_options":[true]}', True, False),
        ('{"stream":null,"stream_options":null}', False, False),
    ],
)
def test_stream_options(body, stream, usage):
    request = chat.parse_request(body.encode())
    assert (request.stream, request.includes_usage) == (stream, usage)


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ("null", "messages"), ('"hi"', "messages"), ("{}", "messages"), ("[]", "messages"), ("[1]", "messages[0]"),
        ('[{"role":"user","content":"a"},null]', "messages[1]"), ('[{"role":5}]', "messages[0]"),
        ('[{"content":"a"}]', "messages[0]"), ('[{"role":"user","content":{"a":1}}]', "messages[0].content"),
        ('[{"role":"user","content":7}]', "messages[0].content"), ("[" * 900 + "]" * 900, "messages[0]"),
    ],
)  # fmt: skip
def test_messages_of_wrong_shape_name_the_place(messages, param):
    with pytest.raises(RequestError) as raised:
        chat.parse_request(f'{{"messages":{messages}}}'.encode()).messages()
    assert raised.value.param == param


def test_messages_may_have_no_content_parts_and_unknown_fields():
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "a"}], "name": "n"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}], "odd": {"x": [1]}},
        {"role": "developer"},
    ]
    assert chat.parse_request(json.dumps({"messages": messages}).encode()).messages() == messages


# --- answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "usage"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 2}, chat.Usage(5, 2, None)),
        ({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 3}}, chat.Usage(5, 0, 3)),
        ({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 0}}, chat.Usage(5, 0, 0)),
        ({"prompt_tokens": 5, "prompt_tokens_details": None}, chat.Usage(5, 0, None)),
        ({"prompt_tokens": "5", "completion_tokens": [1]}, chat.Usage(0, 0, None)),
        ({"prompt_tokens": -5, "completion_tokens": 1.5}, chat.Usage(0, 0, None)),
        ({"prompt_tokens": None, "prompt_tokens_details": {"cached_tokens": True}}, chat.Usage(0, 0, None)),
        (None, None),
        ([], None),
    ],
)
def test_usage_is_read_and_never_trusted(found, usage):
    assert chat.read_usage(found) == usage


def test_usages_add_up_and_unknown_cached_tokens_stay_unknown():
    assert chat.Usage(1, 2, None) + chat.Usage(3, 4, None) == chat.Usage(4, 6, None)
    assert chat.Usage(1, 2, 1) + chat.Usage(3, 4, None) == chat.Usage(4, 6, 1)
    assert "prompt_tokens_details" not in chat.Usage(1, 2).as_json()
    assert chat.read_usage(chat.Usage(7, 2, 0).as_json()) == chat.Usage(7, 2, 0)


def test_a_whole_answer():
    answer = chat.read_answer(
        json.dumps(
            {
                "choices": [
                    {
                        "message": {"content": "hi", "reasoning": "hm", "tool_calls": [{"id": "1"}, 5]},
                        "finish_reason": "tool_calls",
                    }
                ],
                "usage": {"prompt_tokens": 3, "completion_tokens": 1},
            }
        ).encode()
    )
    assert answer == chat.Answer("hi", "hm", [{"id": "1"}], "tool_calls", chat.Usage(3, 1), None)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>", b"[]", b"{}", b'{"choices":null}', b'{"choices":[]}', b'{"choices":[5]}', b'{"choices":{}}',
        b'{"choices":[{"message":"x","finish_reason":{}}]}', b'{"choices":[{"message":{"content":5}}]}', b"[" * DEEP,
        b'{"choices":[{"message":{"content":"\xff"}}]}', b'{"choices":[{"message":{"content":"\\ud800"}}]}',
    ],
)  # fmt: skip
def test_what_is_no_answer_is_an_empty_one(body):
    assert chat.read_answer(body) == chat.Answer()


@given(st.binary())
def test_any_bytes_of_an_engine_are_read(body):
    chat.read_answer(body)
    chat.read_event(body)
    chat.read_stream(body)
    assert isinstance(json.dumps(chat.engine_error_object(500, body)), str)


def test_an_error_in_an_answer_is_seen():
    assert chat.read_answer(b'{"error":"broken"}').error == {"message": "broken"}
    assert chat.read_event(b'{"error":{"message":"m","code":1}}').error == {"message": "m", "code": 1}


# --- streams ---------------------------------------------------------------------------------------------------------


def events(*deltas, end="\n\n", **last):
    parts = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    if last:
        parts.append(last)
    return "".join(f"data: {json.dumps(part)}{end}" for part in parts).encode() + f"data: [DONE]{end}".encode()


@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n"])
def test_a_stream_is_gathered(end):
    stream = events(
        {"role": "assistant", "content": ""}, {"reasoning_content": "h"}, {"reasoning": "m"}, {"content": "a"},
        {"content": "б"}, end=end, choices=[],
        usage={"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 8}},
    )  # fmt: skip
    answer = chat.read_stream(b": a comment" + end.encode() + b"event: x\n" + stream)
    assert answer == chat.Answer("aб", "hm", [], None, chat.Usage(9, 0, 8), None)


def test_tool_calls_that_come_in_pieces_and_mixed_are_joined():
    def part(index, **fields):
        return {"tool_calls": [{"index": index, **fields}]}

    stream = events(
        part(1, id="b", function={"name": "second", "arguments": ""}),
        part(0, id="a", function={"name": "first"}),
        part(1, function={"arguments": '{"x"'}),
        part(0, function={"arguments": "{}"}),
        part(1, function={"arguments": ":1}"}),
    )
    assert chat.read_stream(stream).tool_calls == [
        {"id": "a", "type": "function", "function": {"name": "first", "arguments": "{}"}},
        {"id": "b", "type": "function", "function": {"name": "second", "arguments": '{"x":1}'}},
    ]


def test_the_finish_reason_and_usage_survive_later_events_without_them():
    stream = (
        b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"length"}]}\n\n'
        b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\ndata: {"choices":[]}\n\ndata: not json\n\ndata:\n\n'
    )
    answer = chat.read_stream(stream)
    assert (answer.content, answer.finish_reason, answer.usage) == ("a", "length", chat.Usage(1))


# --- writing ---------------------------------------------------------------------------------------------------------


def test_what_is_written_is_read_again():
    envelope = chat.Envelope("id", 7, "coder")
    answer = chat.Answer("текст", "мысль", [{"id": "1"}], "length", chat.Usage(5, 2, 1))
    assert chat.read_answer(json.dumps(chat.completion(envelope, answer)).encode()) == answer
    stream = b"".join(
        chat.event(one)
        for one in (
            chat.chunk(envelope, {"reasoning_content": "мысль"}),
            chat.chunk(envelope, {"content": "текст"}),
            chat.chunk(envelope, {}, finish_reason="length"),
            chat.usage_chunk(envelope, chat.Usage(5, 2, 1)),
        )
    )
    found = chat.read_stream(stream + chat.DONE_EVENT)
    assert found == chat.Answer("текст", "мысль", [], "length", chat.Usage(5, 2, 1))


LLAMA_END = {
    "choices": [{"finish_reason": "length", "index": 0, "delta": {}}],
    "timings": {"cache_n": 40, "prompt_n": 31, "prompt_ms": 186.7, "predicted_n": 3, "predicted_per_second": 47.2},
}


def test_a_stream_whose_client_asked_for_no_usage_is_counted_by_the_timings_of_llama_cpp():
    found = chat.read_stream(chat.event(LLAMA_END) + b"data: [DONE]\n\n")
    assert found.usage == chat.Usage(71, 3, 40)


def test_the_usage_of_a_stream_comes_before_its_timings():
    usage = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}
    for events in ([usage, LLAMA_END], [LLAMA_END, usage], [{**LLAMA_END, **usage}]):
        assert chat.read_stream(b"".join(map(chat.event, events))).usage == chat.Usage(9, 2, None)


@pytest.mark.parametrize(
    "timings",
    [None, [], "x", {}, {"prompt_n": 3}, {"prompt_n": "3", "predicted_n": 1}, {"prompt_n": 3.5, "predicted_n": -1}],
)
def test_timings_are_never_trusted(timings):
    assert chat.read_stream(chat.event({**LLAMA_END, "timings": timings})).usage is None


def test_an_answer_without_usage_says_zero():
    assert chat.completion(chat.Envelope("i", 1, "m"), chat.Answer())["usage"]["total_tokens"] == 0


# --- an engine's errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (
            400,
            b'{"error":{"code":400,"message":"9 tokens exceed it","type":"exceed_context_size_error","n_ctx":4}}',
            {"message": "9 tokens exceed it", "type": "invalid_request_error", "param": "messages",
             "code": "context_length_exceeded", "n_ctx": 4},
        ),
        (
            400,
            b'{"object":"error","message":"the maximum context length is 8","type":"BadRequestError"}',
            {"message": "the maximum context length is 8", "type": "invalid_request_error",
             "param": "messages", "code": "context_length_exceeded"},
        ),
        (
            400,
            b'{"error":{"message":"bad","type":"BadRequestError","param":"n","code":400}}',
            {"message": "bad", "type": "BadRequestError", "param": "n", "code": None},
        ),
        (404, b'{"error":"model not found"}',
         {"message": "model not found", "type": "invalid_request_error", "param": None, "code": None}),
        (500, b"Internal Server Error",
         {"message": "Internal Server Error", "type": "engine_error", "param": None, "code": None}),
        (502, b"<html>bad\xff</html>",
         {"message": "<html>bad�</html>", "type": "engine_error", "param": None, "code": None}),
        (503, b"", {"message": "The engine answered 503.", "type": "engine_error", "param": None, "code": None}),
        (500, b"[1]", {"message": "[1]", "type": "engine_error", "param": None, "code": None}),
        (500, b'{"error":{}}',
         {"message": "The engine answered 500.", "type": "engine_error", "param": None, "code": None}),
        (500, b'{"error":{"message":{"a":1},"type":5,"code":{}}}',
         {"message": "{'a': 1}", "type": "engine_error", "param": None, "code": None}),
    ],
)  # fmt: skip
def test_engine_errors_get_openais_shape(status, body, expected):
    assert chat.engine_error_object(status, body) == {"error": expected}


@pytest.mark.parametrize("body", [b"[" * DEEP, b'{"error":' * DEEP, b'{"error":{"message":"\\ud800"}}', b"x" * 10**6])
def test_hostile_error_bodies_are_cut_and_can_be_written(body):
    found = chat.engine_error_object(500, body)
    assert len(chat.event(found)) < 2000


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (500, "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj", 400),
        (500, "Failed to parse messages: Expected 'messages' to be an array", 400),
        (500, "Failed to parse tools: missing function", 400),
        (500, "something broke", 500),
        (503, "Loading model", 503),
        (404, "not here", 404),
    ],
)
def test_what_the_client_did_wrong_is_no_5xx(status, message, expected):
    body = json.dumps({"error": {"message": message, "type": "server_error", "code": status}}).encode()
    assert chat.engine_status(status, body) == expected
    kind = chat.engine_error_object(status, body)["error"]["type"]
    assert (kind == "invalid_request_error") is (expected == 400)


@pytest.mark.parametrize("tools", [b"[]", b"[ \n ]", b"null"])
def test_an_empty_list_of_tools_is_left_out_with_what_is_said_of_tools(tools):
    body = b'{"tools":%b,"model":"m","tool_choice":"auto","parallel_tool_calls":true,"x":[]}' % tools
    assert chat.parse_chat(body).encode() == b'{"model":"m","x":[]}'
    assert chat.parse_chat(b'{"model":"m","tool_choice":"none"}').encode() == b'{"model":"m"}'


@pytest.mark.parametrize("tools", [b"[{}]", b'[{"type":"function"}]', b"5", b'"x"'])
def test_tools_stay_as_they_are(tools):
    body = b'{"tools":%b,"tool_choice":"auto"}' % tools
    assert chat.parse_chat(body).encode() == body


def tool(name):
    return {"type": "function", "function": {"name": name}}


def choosing(choice, *names):
    body = json.dumps({"model": "m", "tools": [tool(one) for one in names], "tool_choice": choice}).encode()
    return json.loads(chat.with_chosen_tools_alone(chat.parse_chat(body)).encode())


def test_a_named_tool_becomes_the_only_one():
    assert choosing(tool("b"), "a", "b") == {"model": "m", "tools": [tool("b")], "tool_choice": "required"}
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [tool("c"), tool("a"), tool("c")]}}
    assert choosing(allowed, "a", "b", "c") == {"model": "m", "tools": [tool("c"), tool("a")], "tool_choice": "auto"}


@pytest.mark.parametrize("choice", ["auto", "required", "none", 5, ["x"], {"type": "custom"}, {}])
def test_other_choices_of_tools_stay(choice):
    assert choosing(choice, "a") == {"model": "m", "tools": [tool("a")], "tool_choice": choice}


@pytest.mark.parametrize(
    "choice",
    [
        tool("x" * 500),
        {"type": "function"},
        {"type": "function", "function": {"name": 5}},
        {"type": "allowed_tools", "allowed_tools": {"tools": [tool("a"), tool("z")]}},
    ],
)
def test_a_tool_that_is_not_there_cannot_be_chosen(choice):
    with pytest.raises(RequestError, match="is not in the request") as raised:
        choosing(choice, "a")
    assert raised.value.param == "tool_choice"
    assert len(str(raised.value)) < 200
