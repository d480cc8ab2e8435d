"""Messages and responses that go untouched to an engine which speaks them, and those that are translated after all."""

from __future__ import annotations

import json

import anthropic
import openai
import pytest
from gateway_stage import ANSWER, DoorOf, a_gateway, post, raw, reply

from ansambl.domain.access import Caller
from ansambl.domain.serving import Operation, Serving

NATIVE = frozenset({"anthropic_messages", "openai_responses"})
SPEAKS = Serving("vLLM", possible=frozenset({Operation.COUNTING}), native=NATIVE, salted=NATIVE)
MESSAGE = json.dumps(
    {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "there", "stop_reason": "end_turn",
        "stop_sequence": None, "content": [{"type": "thinking", "thinking": "hm", "signature": "s"},
                                           {"type": "text", "text": "hi", "citations": [{"x": 1}]}],
        "usage": {"input_tokens": 3, "output_tokens": 2, "cache_read_input_tokens": 4},
    }, indent=1
).encode()  # fmt: skip
RESPONSE = json.dumps(
    {
        "id": "resp_1", "object": "response", "created_at": 1, "model": "there", "status": "completed", "output": [],
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
        "usage": {"input_tokens": 7, "output_tokens": 2, "total_tokens": 9,
                  "input_tokens_details": {"cached_tokens": 4}, "output_tokens_details": {"reasoning_tokens": 1}},
    }
).encode()  # fmt: skip
ASK = (
    b'{"model": "large", "max_tokens": 5,  "thinking": {"type": "adaptive"}, "messages": [{"role":"user",'
    b'"content": [{"type":"text", "text":"hello", "cache_control": {"type": "ephemeral"}}]}]}'
)
ASK_RESPONSE = b'{"model": "big", "input": "hello", "previous_response_id": "resp_0", "tools": [{"type":"mcp"}]}'


def named(kind, payload):
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind, **payload}).encode())


STREAM = (
    named("message_start", {"message": {**json.loads(MESSAGE), "content": [], "usage": {
        "input_tokens": 3, "output_tokens": 0, "cache_read_input_tokens": 4}}}),
    named("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
    named("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": "hi"}}),
    named("content_block_stop", {"index": 0}),
    named("message_delta", {"delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {
        "output_tokens": 2}}),
    named("message_stop", {}),
)  # fmt: skip
EVENTS = (
    named("response.created", {"sequence_number": 0, "response": json.loads(RESPONSE)}),
    named("response.completed", {"sequence_number": 1, "response": {**json.loads(RESPONSE), "output": ["x" * 9000],
                                                                    "usage": json.loads(RESPONSE)["usage"]}}),
)  # fmt: skip


@pytest.fixture
async def native():
    async with a_gateway(others=("small",), roles={"coder": {"instruction": "Code.", "model": "big"}}) as found:
        found.instance.serving = SPEAKS
        yield found


def tokens(running):
    names = ("prompt", "cached", "generation")
    return tuple(running.metric(f"ansambl_{one}_tokens_total", name="big") for one in names)


@pytest.mark.parametrize(
    ("path", "ask", "answer"), [("/v1/messages", ASK, MESSAGE), ("/v1/responses", ASK_RESPONSE, RESPONSE)]
)
async def test_a_request_goes_out_and_comes_back_untouched(native, path, ask, answer):
    native.engine.script = native.engine.fixed(reply(answer))
    status, headers, body = await raw(native, post(ask, path))
    assert (status, body, headers["x-ansambl-instance"]) == (200, answer, "big")
    [call] = native.engine.calls
    assert call.path == path
    sent, came = json.loads(call.body), json.loads(ask)
    assert sent == {**came, "model": "there"}
    assert list(sent) == list(came)
    assert b'[{"role":"user",' in call.body or b'[{"type":"mcp"}]' in call.body
    assert tokens(native) == (7, 4, 2)


@pytest.mark.parametrize(
    ("path", "ask", "events"), [("/v1/messages", ASK, STREAM), ("/v1/responses", ASK_RESPONSE, EVENTS)]
)
async def test_a_stream_is_handed_on_byte_for_byte(native, path, ask, events):
    native.engine.script = native.engine.stream(*events)
    status, headers, body = await raw(native, post(ask[:-1] + b',"stream":true}', path))
    assert (status, body) == (200, b"".join(events))
    assert headers["content-type"].startswith("text/event-stream")
    assert tokens(native) == (7, 4, 2)


async def test_the_official_clients_read_what_the_engine_wrote(native):
    native.engine.script = native.engine.stream(*STREAM)
    async with anthropic.AsyncAnthropic(base_url=f"http://127.0.0.1:{native.port}", api_key="any") as client:
        async with client.messages.stream(model="big", max_tokens=5, messages=[{"role": "user", "content": "x"}]) as it:
            assert (await it.get_final_message()).content[0].text == "hi"
        native.engine.script = native.engine.stream(*STREAM[:3])
        with pytest.raises(anthropic.APIStatusError, match="broke off"):
            async with client.messages.stream(
                model="big", max_tokens=5, messages=[{"role": "user", "content": "x"}]
            ) as it:
                await it.get_final_message()


async def test_a_broken_stream_of_a_response_is_an_error_of_its_dialect(native):
    native.engine.script = native.engine.stream(EVENTS[0])
    async with native.client() as client:
        with pytest.raises(openai.APIError, match="broke off"):
            async for _ in await client.responses.create(model="big", input="x", stream=True):
                pass


@pytest.mark.parametrize(
    ("own", "kind", "words"),
    [
        (b'{"type":"error","error":{"type":"BadRequestError","message":"max_tokens: too small"}}',
         "invalid_request_error", "max_tokens: too small"),
        (b'{"type":"error","error":{"type":"BadRequestError","message":"the maximum context length is 5"}}',
         "invalid_request_error", "prompt is too long"),
        (b'{"detail":"no"}', "invalid_request_error", "no"),
    ],
)  # fmt: skip
async def test_an_engines_refusal_has_the_words_and_types_that_the_dialects_clients_know(native, own, kind, words):
    native.engine.script = native.engine.fixed(reply(own, b"400 Bad Request"))
    status, _, body = await raw(native, post(ASK, "/v1/messages"))
    error = json.loads(body)
    assert (status, error["type"], error["error"]["type"]) == (400, "error", kind)
    assert words in error["error"]["message"]


@pytest.mark.parametrize(
    "case", ["role", "document", "owner's sampling", "unknown engine", "unsalted key", "by-product"]
)  # fmt: skip
async def test_what_would_lose_by_it_is_translated(case):
    caller = Caller("k1") if case == "unsalted key" else Caller()
    async with a_gateway(roles={"coder": {"instruction": "Code.", "model": "big"}}, door=DoorOf(caller)) as running:
        running.instance.serving = SPEAKS if case != "unsalted key" else Serving("LM Studio", native=NATIVE)
        fields = {"model": "big", "max_tokens": 5, "messages": [{"role": "user", "content": "hello"}]}
        headers = {}
        if case == "role":
            fields["model"] = "coder"
        elif case == "document":
            source = {"type": "text", "media_type": "text/plain", "data": "words"}
            fields["messages"][0]["content"] = [{"type": "document", "source": source}]
        elif case == "owner's sampling":
            model = running.gateway._chat._resolver.resolve("big").model
            object.__setattr__(model, "sampling", {"min_p": 0.1})
        elif case == "unknown engine":
            running.instance.serving = Serving("x")
        elif case == "by-product":
            headers["x_task"] = "title_generation"
        running.engine.script = running.engine.fixed(reply(ANSWER))
        status, _, body = await raw(running, post(json.dumps(fields).encode(), "/v1/messages", **headers))
        assert status == 200
        assert json.loads(body)["content"][0]["text"]
        # A title may have a reply of our own.
        assert {one.path for one in running.engine.calls} <= {"/v1/chat/completions"}
        assert running.engine.calls or case == "by-product"


async def test_a_keys_message_goes_untouched_where_the_engine_hears_whose_it_is():
    async with a_gateway(door=DoorOf(Caller("k1"))) as running:
        running.instance.serving = SPEAKS
        running.engine.script = running.engine.fixed(reply(MESSAGE))
        assert (await raw(running, post(ASK, "/v1/messages")))[2] == MESSAGE


async def test_the_owners_limit_and_sampling_are_said_in_the_dialect(native):
    model = native.gateway._chat._resolver.resolve("big").model
    object.__setattr__(model, "sampling", {"temperature": 0.5, "top_p": 0.9})
    object.__setattr__(model, "output_limit", 99)
    native.engine.script = native.engine.fixed(reply(RESPONSE))
    await raw(native, post(b'{"model":"big","input":"x","top_p":0.1,"ansambl":{}}', "/v1/responses"))
    assert json.loads(native.engine.calls[0].body) == {
        "model": "there", "input": "x", "top_p": 0.1, "temperature": 0.5, "max_output_tokens": 99,
    }  # fmt: skip


async def test_tokens_are_counted_by_an_engine_that_can(native):
    native.engine.script = native.engine.fixed(reply(b'{"input_tokens": 11}'))
    status, _, body = await raw(native, post(ASK, "/v1/messages/count_tokens"))
    assert (status, json.loads(body)) == (200, {"input_tokens": 11})
    assert native.engine.calls[0].path == "/v1/messages/count_tokens"
    # A response is no message.
    status, _, body = await raw(native, post(b'{"model":"big","input":"x"}', "/v1/responses/input_tokens"))
    assert (status, len(native.engine.calls)) == (501, 1)
    native.engine.script = native.engine.fixed(reply(b'{"detail":"Not Found"}', b"404 Not Found"))
    status, _, body = await raw(native, post(ASK, "/v1/messages/count_tokens"))
    assert (status, json.loads(body)["type"]) == (501, "error")
