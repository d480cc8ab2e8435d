"""Anthropic messages and OpenAI responses through the official clients, strict about every field of an answer."""

from __future__ import annotations

import asyncio
import json

import anthropic
import openai
import pytest
from dialect_inputs import stream_events
from gateway_stage import ANSWER, LAST, LIMIT, STREAM_HEAD, connection, event, post, raw, read_head, reply, until

ASK = [{"role": "user", "content": "hello"}]
TOOL = {"name": "count", "description": "Counts.", "input_schema": {"type": "object", "properties": {}}}
FUNCTION = {"type": "function", "name": "count", "parameters": {"type": "object", "properties": {}}, "strict": False}
PATHS = {"messages": "/v1/messages", "responses": "/v1/responses"}


@pytest.fixture
async def claude(running):
    async with anthropic.AsyncAnthropic(
        base_url=f"http://127.0.0.1:{running.port}", api_key="any", max_retries=0, timeout=20,
        _strict_response_validation=True,
    ) as client:  # fmt: skip
        yield client


@pytest.fixture
async def gpt(running):
    async with openai.AsyncOpenAI(
        base_url=f"http://127.0.0.1:{running.port}/v1", api_key="any", max_retries=0, timeout=20,
        _strict_response_validation=True,
    ) as client:  # fmt: skip
        yield client


def chunk(finish_reason=None, **delta):
    found = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "there"}
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return b"data: %b\n\n" % json.dumps({**found, "choices": [choice]}).encode()


def part(arguments, index=0, **more):
    name = more.pop("name", None)
    return {"index": index, **more, "function": {"name": name, "arguments": arguments} if name else {
        "arguments": arguments}}  # fmt: skip


THOUGHT_AND_SAID = (
    chunk(role="assistant", content=None),
    chunk(reasoning_content="I "),
    chunk(reasoning_content="count."),
    chunk(content="Forty"),
    chunk(content="-two."),
    chunk("stop"),
    LAST,
)
CALLED = (
    chunk(content="Let me see."),
    chunk(tool_calls=[part("", id="c1", name="count", type="function")]),
    chunk(tool_calls=[part('{"file":')]),
    chunk(tool_calls=[part(' "a"}')]),
    chunk("tool_calls"),
    LAST,
)


def body_of(dialect, model="big", **fields):
    own = {"max_tokens": 50, "messages": ASK} if dialect == "messages" else {"input": "hello"}
    return json.dumps({"model": model, **own, **fields}).encode()


# --- whole answers ---------------------------------------------------------------------------------------------------


async def test_a_message(running, claude):
    answer = await claude.messages.with_raw_response.create(
        model="coder", max_tokens=50, system="Be kind.", messages=ASK, stop_sequences=["END"]
    )
    message = await answer.parse()
    assert (message.content[0].type, message.content[0].text) == ("text", "hi")
    assert (message.model, message.stop_reason, message.role) == ("coder", "end_turn", "assistant")
    assert (message.usage.input_tokens, message.usage.cache_read_input_tokens, message.usage.output_tokens) == (3, 4, 2)
    assert (answer.headers["x-ansambl-role"], answer.headers["x-ansambl-instance"]) == ("coder", "big")
    sent = json.loads(running.engine.calls[0].body)
    assert (sent["max_tokens"], sent["stop"], sent["model"]) == (50, ["END"], "there")
    assert sent["messages"][0] == {"role": "system", "content": "Be kind."}
    assert "[Role: coder]" in sent["messages"][1]["content"]
    assert running.metric("ansambl_requests_total", name="coder", status="200") == 1


async def test_a_response(running, gpt):
    answer = await gpt.responses.with_raw_response.create(
        model="coder", input="hello", instructions="Be kind.", max_output_tokens=50, metadata={"a": "b"}
    )
    response = answer.parse()
    assert (response.output_text, response.status, response.model) == ("hi", "completed", "coder")
    assert (response.usage.input_tokens, response.usage.input_tokens_details.cached_tokens) == (7, 4)
    assert (response.instructions, response.metadata, response.previous_response_id) == ("Be kind.", {"a": "b"}, None)
    assert answer.headers["x-ansambl-role"] == "coder"
    sent = json.loads(running.engine.calls[0].body)
    assert (sent["max_tokens"], sent["messages"][0]) == (50, {"role": "system", "content": "Be kind."})
    assert "[Role: coder]" in sent["messages"][1]["content"]


async def test_the_prompt_is_the_same_in_every_dialect(running, claude, gpt):
    async with running.client() as client:
        await client.chat.completions.create(model="coder", messages=ASK, max_tokens=50)
    await claude.messages.create(model="coder", max_tokens=50, messages=ASK)
    await gpt.responses.create(model="coder", input=ASK, max_output_tokens=50)
    first, second, third = [json.loads(one.body) for one in running.engine.calls]
    assert first == second == third


# --- streams ---------------------------------------------------------------------------------------------------------


async def test_a_streamed_message_with_thinking(running, claude):
    running.engine.script = running.engine.stream(*THOUGHT_AND_SAID)
    async with claude.messages.stream(model="coder", max_tokens=50, messages=ASK) as stream:
        said = [one async for one in stream.text_stream]
        message = await stream.get_final_message()
    assert "".join(said) == "Forty-two."
    assert [(one.type, getattr(one, "thinking", None)) for one in message.content] == [
        ("thinking", "I count."), ("text", None),
    ]  # fmt: skip
    assert (message.usage.input_tokens, message.usage.cache_read_input_tokens) == (3, 4)
    assert running.metric("ansambl_time_to_first_token_seconds_count", name="coder") == 1


async def test_a_streamed_response_with_reasoning(running, gpt):
    running.engine.script = running.engine.stream(*THOUGHT_AND_SAID)
    async with gpt.responses.stream(model="coder", input="hello") as stream:
        events = [one async for one in stream]
        response = await stream.get_final_response()
    assert response.output_text == "Forty-two."
    assert [one.type for one in response.output] == ["reasoning", "message"]
    assert "".join(one.delta for one in events if one.type == "response.reasoning_text.delta") == "I count."
    assert response.usage.input_tokens_details.cached_tokens == 4


async def test_tools_in_a_streamed_message(running, claude):
    running.engine.script = running.engine.stream(*CALLED)
    async with claude.messages.stream(model="coder", max_tokens=50, messages=ASK, tools=[TOOL]) as stream:
        message = await stream.get_final_message()
    assert message.stop_reason == "tool_use"
    assert (message.content[1].id, message.content[1].name, message.content[1].input) == ("c1", "count", {"file": "a"})


async def test_tools_in_a_streamed_response(running, gpt):
    running.engine.script = running.engine.stream(*CALLED)
    async with gpt.responses.stream(model="coder", input="hello", tools=[FUNCTION]) as stream:
        response = await stream.get_final_response()
    call = response.output[1]
    assert (call.type, call.call_id, call.name, call.arguments) == ("function_call", "c1", "count", '{"file": "a"}')
    assert json.loads(running.engine.calls[0].body)["tools"][0]["function"]["name"] == "count"


async def test_an_engine_that_does_not_stream_is_streamed_all_the_same(running, claude):
    running.engine.script = running.engine.fixed(reply(ANSWER))
    async with claude.messages.stream(model="big", max_tokens=50, messages=ASK) as stream:
        assert (await stream.get_final_message()).content[0].text == "hi"


async def test_what_coding_assistants_send_is_answered(running, claude, gpt):
    reminder = {"type": "text", "text": "<system-reminder>Be quick.</system-reminder>"}
    message = await claude.beta.messages.create(
        model="coder", max_tokens=32000, betas=["interleaved-thinking-2025-05-14"], metadata={"user_id": "u"},
        system=[{"type": "text", "text": "x-anthropic-billing-header: cch=1;"},
                {"type": "text", "text": "You help.", "cache_control": {"type": "ephemeral"}}],
        messages=[{"role": "user", "content": [reminder, {"type": "text", "text": "Fix it."}]}],
        tools=[{**TOOL, "cache_control": {"type": "ephemeral"}}], thinking={"type": "adaptive"},
        output_config={"effort": "high"}, context_management={"edits": [{"type": "clear_thinking_20251015"}]},
    )  # fmt: skip
    assert message.content[0].text == "hi"
    sent = json.loads(running.engine.calls[0].body)
    assert sent["messages"][0] == {"role": "system", "content": "You help."}
    assert [one["type"] for one in sent["messages"][1]["content"]] == ["text"] * 3
    assert set(sent) - {"temperature", "top_p"} == {
        "model",
        "messages",
        "max_tokens",
        "user",
        "reasoning_effort",
        "tools",
    }
    response = await gpt.responses.create(
        model="coder", instructions="You help.", store=False, include=["reasoning.encrypted_content"],
        prompt_cache_key="k", parallel_tool_calls=False, tools=[FUNCTION], tool_choice="auto", truncation="auto",
        reasoning={"effort": "medium", "summary": "auto"}, text={"verbosity": "medium"},
        input=[{"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Rules."}]},
               {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Fix it."}]}],
    )  # fmt: skip
    assert response.output_text == "hi"
    sent = json.loads(running.engine.calls[1].body)
    assert sent["messages"][0] == {"role": "system", "content": "You help.\n\nRules."}
    assert (sent["tool_choice"], sent["parallel_tool_calls"]) == ("auto", False)


# --- ensembles -------------------------------------------------------------------------------------------------------


async def test_a_council_thinks_aloud_in_a_message(running, claude):
    async with claude.messages.stream(model="council", max_tokens=50, messages=ASK) as stream:
        (account,) = [one.ansambl async for one in stream if one.type == "message_delta"]
        message = await stream.get_final_message()
    assert [one.type for one in message.content] == ["thinking", "text"]
    assert all(name in message.content[0].thinking for name in ("coder", "reasoner", "philosopher"))
    assert message.content[1].text == "ab"
    assert len(account["branches"]) == len(running.engine.calls)
    cached = sum(one["usage"]["prompt_tokens_details"]["cached_tokens"] for one in account["branches"])
    assert message.usage.cache_read_input_tokens == cached
    whole = await claude.messages.create(model="council", max_tokens=50, messages=ASK)
    assert [one.type for one in whole.content] == ["thinking", "text"]
    assert whole.ansambl["ensemble"] == "council"
    hidden = await claude.messages.create(model="council", max_tokens=50, messages=ASK, thinking={"type": "disabled"})
    assert [one.type for one in hidden.content] == ["text"]


async def test_a_council_thinks_aloud_in_a_response(running, gpt):
    async with gpt.responses.stream(model="council", input="hello") as stream:
        response = await stream.get_final_response()
    assert [one.type for one in response.output] == ["reasoning", "message"]
    assert "philosopher" in response.output[0].content[0].text
    assert response.output_text == "ab"
    assert response.ansambl["ensemble"] == "council"
    whole = await gpt.responses.create(model="council", input="hello")
    assert (whole.output_text, whole.ansambl["ensemble"]) == ("ab", "council")


async def test_a_route_says_why_it_chose_in_both_dialects(running, claude, gpt):
    # Engines begin with an event that says nothing but who speaks.
    beginning = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":null}}]}\n\n'
    running.engine.script = running.engine.stream(beginning, beginning, *THOUGHT_AND_SAID)
    wanted = {"model": "auto", "extra_body": {"ansambl": {"role": "brief"}}}
    async with claude.messages.stream(**wanted, max_tokens=50, messages=ASK) as stream:
        message = await stream.get_final_message()
    assert [one.type for one in message.content] == ["thinking", "thinking", "text"]
    assert message.content[0].thinking.startswith("**brief**")
    assert message.content[0].thinking.count("**brief**") == 1
    assert message.content[1].thinking == "I count."
    response = await gpt.responses.with_raw_response.create(**wanted, input="hello")
    parsed = response.parse()
    assert parsed.output[0].content[0].text.startswith("**brief**")
    assert parsed.ansambl["route"]["role"] == "brief"
    assert (response.headers["x-ansambl-role"], "x-ansambl-route" in response.headers) == ("brief", True)


# --- conversations ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_notes_return_when_a_conversation_goes_on(running, claude, stream):
    messages = [*ASK]
    if stream:
        running.engine.script = running.engine.stream(*THOUGHT_AND_SAID)
    for role in ("coder", "brief"):
        if stream:
            async with claude.messages.stream(model=role, max_tokens=50, messages=messages) as answer:
                message = await answer.get_final_message()
        else:
            message = await claude.messages.create(model=role, max_tokens=50, messages=messages)
        messages += [{"role": "assistant", "content": message.content}, {"role": "user", "content": "Why?"}]
    first, second = [json.loads(one.body)["messages"] for one in running.engine.calls]
    assert second[0] == first[0], "the note of the first turn stands where it stood"
    assert "[Role: brief]" in second[-1]["content"]


@pytest.mark.parametrize("stream", [False, True])
async def test_notes_return_in_responses(running, gpt, stream):
    items = [*ASK]
    if stream:
        running.engine.script = running.engine.stream(*CALLED)
    for role in ("coder", "brief"):
        if stream:
            async with gpt.responses.stream(model=role, input=items) as answer:
                response = await answer.get_final_response()
            items += [one.model_dump(exclude_unset=True, exclude={"parsed_arguments"}) for one in response.output]
            items += [{"type": "function_call_output", "call_id": "c1", "output": "42"}]
        else:
            response = await gpt.responses.create(model=role, input=items)
            items += [*response.output, {"role": "user", "content": "Why?"}]
    first, second = [json.loads(one.body)["messages"] for one in running.engine.calls]
    if stream:
        # In a tool loop the note stays at the last user turn, and is the one of who answers now.
        assert [one["role"] for one in second] == ["user", "assistant", "tool"]
        assert "[Role: brief]" in second[0]["content"]
    else:
        assert second[0] == first[0]


# --- what goes wrong -------------------------------------------------------------------------------------------------


async def test_errors_are_those_of_the_dialect(running, claude, gpt):
    with pytest.raises(anthropic.NotFoundError, match="nearest: coder") as raised:
        await claude.messages.create(model="codr", max_tokens=5, messages=ASK)
    assert raised.value.body["error"]["type"] == "not_found_error"
    with pytest.raises(openai.NotFoundError, match="nearest: coder") as raised:
        await gpt.responses.create(model="codr", input="x")
    assert raised.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError, match=r"previous_response_id.*send the whole conversation"):
        await gpt.responses.create(model="coder", input="x", previous_response_id="resp_1")
    with pytest.raises(anthropic.BadRequestError, match=r"tools\[0\].type"):
        await claude.messages.create(
            model="coder", max_tokens=5, messages=ASK, tools=[{"type": "web_search_20250305", "name": "web_search"}]
        )
    with pytest.raises(anthropic.BadRequestError, match=r"ansambl\.layout"):
        await claude.messages.create(model="coder", max_tokens=5, messages=ASK, extra_body={"ansambl": {"layout": "x"}})
    assert running.engine.calls == []


@pytest.mark.parametrize("dialect", PATHS)
async def test_bodies_and_methods_that_cannot_be(running, dialect):
    path = PATHS[dialect]
    for content, status in (
        (post(b"{", path), 400), (post(b"x" * (LIMIT + 1), path), 413), (post(b"{}", path), 400),
        (f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode(), 405),
        (post(body_of(dialect), path, host="example.com"), 403),
    ):  # fmt: skip
        answer = await raw(running, content)
        found = json.loads(answer[2])
        assert answer[0] == status
        assert found["error"]["message"]
        assert found.get("type") == ("error" if dialect == "messages" else None)


@pytest.mark.parametrize("dialect", PATHS)
async def test_an_engine_that_refuses(running, dialect):
    refusal = {"error": {"code": 400, "type": "exceed_context_size_error", "message": "9000 tokens are too many"}}
    running.engine.script = running.engine.fixed(reply(json.dumps(refusal).encode(), b"400 Bad Request"))
    status, _, body = await raw(running, post(body_of(dialect, "coder"), PATHS[dialect]))
    found = json.loads(body)["error"]
    assert status == 400
    assert found["type"] == "invalid_request_error"
    assert "9000 tokens are too many" in found["message"]
    assert found["message"].startswith("prompt is too long") == (dialect == "messages")


@pytest.mark.parametrize("dialect", PATHS)
@pytest.mark.parametrize("content", [b"not json", b"[]", b'{"object":"list"}'])
async def test_an_engine_that_writes_garbage(running, dialect, content):
    running.engine.script = running.engine.fixed(reply(content))
    status, _, body = await raw(running, post(body_of(dialect), PATHS[dialect]))
    assert status == 502
    assert json.loads(body)["error"]["message"]


async def test_an_engine_that_dies_in_the_middle_of_a_message(running, claude):
    running.engine.script = running.engine.stream(chunk(content="Half"), end=False)
    said = []

    async def listen():
        async with claude.messages.stream(model="coder", max_tokens=50, messages=ASK) as stream:
            async for one in stream.text_stream:
                said.append(one)  # noqa: PERF401 - what came before the error matters

    with pytest.raises(anthropic.APIStatusError, match="connection to the engine was lost"):
        await listen()
    assert said == ["Half"]
    assert running.metric("ansambl_requests_total", status="502") == 1


async def test_an_engine_that_dies_in_the_middle_of_a_response(running, gpt):
    running.engine.script = running.engine.stream(chunk(content="Half"), end=False)
    seen = []

    async def listen():
        async for one in await gpt.responses.create(model="coder", input="x", stream=True):
            seen.append(one)  # noqa: PERF401 - what came before the error matters

    with pytest.raises(openai.APIError, match="connection to the engine was lost"):
        await listen()
    assert seen[-1].type == "response.failed"
    assert seen[-1].response.status == "failed"
    assert seen[-1].response.error.message.startswith("The connection to the engine")


@pytest.mark.parametrize("dialect", PATHS)
async def test_an_answer_that_is_cut_when_ansambl_stops(running, dialect):
    async def script(call, writer):
        writer.write(STREAM_HEAD + b"%x\r\n%b\r\n" % (len(event("a")), event("a")))
        await call.left.wait()

    running.engine.script = script
    async with connection(running) as (reader, writer):
        writer.write(post(body_of(dialect, "coder", stream=True), PATHS[dialect]))
        await read_head(reader)
        await asyncio.wait_for(reader.readuntil(b"delta"), 10)
        await running.gateway.answering.cut()
        rest = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 10)
    assert b"Ansambl is stopping" in rest
    assert b"event: error\n" in rest


@pytest.mark.parametrize("dialect", PATHS)
@pytest.mark.parametrize("model", ["big", "coder", "council"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_closes_the_engines_connection(running, dialect, model, stream):
    begun = asyncio.Event()

    async def script(call, writer):
        if b'"stream":true' in call.body:
            writer.write(STREAM_HEAD + b"%x\r\n%b\r\n" % (len(event("a")), event("a")))
            await writer.drain()
        begun.set()
        await call.left.wait()

    running.engine.script = script
    async with connection(running) as (reader, writer):
        writer.write(post(body_of(dialect, model, stream=stream), PATHS[dialect]))
        await asyncio.wait_for(begun.wait(), 10)
        if stream:
            await asyncio.wait_for(reader.readuntil(b"event: "), 10)
        writer.transport.abort()
        for call in running.engine.calls:
            await asyncio.wait_for(call.left.wait(), 5)
    await until(lambda: running.gateway.answering.running == 0, "the request is over")
    assert running.metric("ansambl_requests_total", status="499") == 1


async def test_what_a_client_saw_of_a_stopped_message_is_remembered(running, claude):
    async def script(call, writer):
        writer.write(STREAM_HEAD + b"%x\r\n%b\r\n" % (len(event("Half")), event("Half")))
        await call.left.wait()

    running.engine.script = script
    async with connection(running) as (reader, writer):
        writer.write(post(body_of("messages", "coder", stream=True), PATHS["messages"]))
        await asyncio.wait_for(reader.readuntil(b"Half"), 10)
    await until(lambda: running.gateway.answering.running == 0, "the request is over")
    running.engine.script = running.engine.answer_whole
    again = [*ASK, {"role": "assistant", "content": "Half"}, {"role": "user", "content": "Go on."}]
    await claude.messages.create(model="brief", max_tokens=50, messages=again)
    first, second = [json.loads(one.body)["messages"] for one in running.engine.calls]
    assert second[0] == first[0]


async def test_tokens_that_no_engine_can_count(running, claude):
    with pytest.raises(anthropic.APIStatusError, match="cannot be counted by the engine of 'big'") as raised:
        await claude.messages.count_tokens(model="coder", messages=ASK)
    assert raised.value.status_code == 501
    with pytest.raises(anthropic.APIStatusError, match="several roles"):
        await claude.messages.count_tokens(model="council", messages=ASK)
    assert (await raw(running, post(body_of("responses"), "/v1/responses/count_tokens")))[0] == 404


async def test_events_of_a_stream_have_names_and_are_counted(running):
    running.engine.script = running.engine.stream(*CALLED)
    status, headers, body = await raw(running, post(body_of("messages", stream=True), PATHS["messages"]))
    assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    names = [name for name, _ in stream_events(body)]
    assert (names[0], names[-1]) == ("message_start", "message_stop")
    events = stream_events((await raw(running, post(body_of("responses", stream=True), PATHS["responses"])))[2])
    assert [data["sequence_number"] for _, data in events] == list(range(len(events)))
    assert (events[0][0], events[-1][0]) == ("response.created", "response.completed")
