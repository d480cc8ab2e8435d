"""Answers that are waited for: comments in their streams, in every dialect, through the official clients."""

from __future__ import annotations

import asyncio
import json

import anthropic
import openai
import pytest
from gateway_stage import (
    ANSWER,
    LAST,
    STREAM_HEAD,
    a_gateway,
    connection,
    error_of,
    event,
    load,
    loading,
    post,
    raw,
    read_head,
    read_rest,
    reply,
    request,
    until,
)

from ansambl.domain.errors import UnavailableError, UnknownNameError
from ansambl.domain.text import text
from ansambl.gateway import keep_alive

ASK = [{"role": "user", "content": "hello"}]
NAMES = ["big", "coder", "council"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(keep_alive, "SILENCE", 0.03)


@pytest.fixture
async def one_place():
    async with a_gateway(parallel=1) as found:
        yield found


def fail_to_load(running):
    async def refused():
        await running.instance.loaded.wait()
        raise UnavailableError(text("it broke"), code="load_failed", retry_after=7)

    running.instance.ensure_ready = refused


async def comments(reader, count):
    """The next events, which have to be comments."""
    found = []
    while len(found) < count:
        size = int(await asyncio.wait_for(reader.readline(), 10), 16)
        chunk = (await reader.readexactly(size + 2))[:-2]
        assert chunk.startswith(b": "), chunk
        assert chunk.endswith(b"\n\n")
        assert chunk.count(b"\n") == 2
        found.append(chunk[2:-2].decode())
    return found


def told(body):
    """The lines of a stream without its comments, and the comments."""
    events = body.split(b"\n\n")
    said = [one for one in events if one.startswith(b":")]
    return b"\n\n".join(one for one in events if not one.startswith(b":")), [one.decode() for one in said]


async def test_who_waits_for_a_place_is_told_and_gets_the_engine_s_own_bytes(one_place):
    running = one_place
    free = asyncio.Event()

    async def script(call, writer):
        if b"first" in call.body:
            await free.wait()
        return await running.engine.answer_whole(call, writer)

    running.engine.script = script
    first = asyncio.ensure_future(raw(running, post(request(user="first"))))
    await until(lambda: running.engine.calls, "the first request is with the engine")
    async with connection(running) as (reader, writer):
        writer.write(post(request(stream=True), accept_language="en"))
        head = await read_head(reader)
        assert head.startswith("HTTP/1.1 200")
        assert "text/event-stream" in head
        for one in await comments(reader, 3):
            assert "'big' is busy" in one
        assert len(running.engine.calls) == 1
        free.set()
        _, _, body = await read_rest(reader, head)
    events, said = told(body)
    assert events == event("a") + event("b") + LAST
    assert "x-ansambl-queued-ms" not in head.lower()
    (facts,) = [one for one in said if "x-ansambl-instance" in one]
    assert facts.startswith(": x-ansambl-instance: big; x-ansambl-queued-ms: ")
    assert int(facts.split("queued-ms: ")[1].split(";")[0]) >= 60
    assert facts.endswith("x-ansambl-swaps: 0")
    assert (await first)[0] == 200


async def test_a_short_wait_says_nothing_early(one_place, monkeypatch):
    monkeypatch.setattr(keep_alive, "SILENCE", 30)
    status, headers, body = await raw(one_place, post(request(stream=True)))
    assert (status, body) == (200, event("a") + event("b") + LAST)
    assert (headers["x-ansambl-instance"], headers["x-ansambl-swaps"]) == ("big", "0")


@pytest.mark.parametrize("name", NAMES)
async def test_who_does_not_stream_just_waits(running, name):
    loading(running)
    async with connection(running) as (reader, writer):
        writer.write(post(request(name)))
        head = asyncio.ensure_future(read_head(reader))
        await asyncio.wait([head], timeout=0.2)
        assert not head.done()
        load(running)
        status, headers, body = await read_rest(reader, await head)
    assert status == 200
    assert json.loads(body)["choices"][0]["message"]["content"]
    if name != "council":
        assert int(headers["x-ansambl-queued-ms"]) >= 150


@pytest.mark.parametrize("name", ["big", "coder"])
async def test_headers_that_are_known_come_with_the_first_comment(running, name):
    loading(running)
    async with connection(running) as (reader, writer):
        writer.write(post(request(name, stream=True)))
        head = await read_head(reader)
        assert ("x-ansambl-role" in head.lower()) is (name != "big")
        assert "loaded" in (await comments(reader, 1))[0]
        load(running)
        _, _, body = await read_rest(reader, head)
    events, _ = told(body)
    assert events.startswith(b"data: ")
    assert events.endswith(b"data: [DONE]\n\n")


async def test_an_ensemble_that_has_begun_to_show_its_work_says_what_it_waits_for(running):
    loading(running)
    async with connection(running) as (reader, writer):
        writer.write(post(request("council", stream=True)))
        assert "x-ansambl-role: council" in (await read_head(reader)).lower()
        while b"'big' is being loaded" not in (line := await asyncio.wait_for(reader.readline(), 10)):
            assert line
        load(running)
        while b"[DONE]" not in await asyncio.wait_for(reader.readline(), 10):
            pass


# --- the official clients --------------------------------------------------------------------------------------------


# A stream that did not begin before the model is loaded would never begin: its client gives up after `timeout`.


@pytest.mark.parametrize("name", NAMES)
async def test_openai_s_client_waits_and_reads(running, name):
    loading(running)
    async with running.client() as client:
        stream = await client.chat.completions.create(model=name, messages=ASK, stream=True)
        load(running)
        said = "".join([one.choices[0].delta.content or "" async for one in stream if one.choices])
    assert said == "ab"


@pytest.mark.parametrize("name", NAMES)
async def test_openai_s_client_waits_and_reads_a_response(running, name):
    loading(running)
    async with running.client() as client, client.responses.stream(model=name, input="hello") as stream:
        load(running)
        answer = await stream.get_final_response()
    assert answer.output_text == "ab"


def claude(running):
    return anthropic.AsyncAnthropic(
        base_url=f"http://127.0.0.1:{running.port}", api_key="any", max_retries=0, timeout=20,
        _strict_response_validation=True,
    )  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
async def test_anthropic_s_client_waits_and_reads(running, name):
    loading(running)
    async with claude(running) as client, client.messages.stream(model=name, max_tokens=9, messages=ASK) as stream:
        load(running)
        message = await stream.get_final_message()
    assert [one.text for one in message.content if one.type == "text"] == ["ab"]


async def read_chat(running, name, begun):
    async with running.client() as client:
        stream = await client.chat.completions.create(model=name, messages=ASK, stream=True)
        begun()
        _ = [one async for one in stream]


async def read_response(running, name, begun):
    async with running.client() as client:
        events = await client.responses.create(model=name, input="hello", stream=True)
        begun()
        _ = [one async for one in events]


async def read_message(running, name, begun):
    async with claude(running) as client:
        events = await client.messages.create(model=name, max_tokens=9, messages=ASK, stream=True)
        begun()
        _ = [one async for one in events]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("read", [read_chat, read_response, read_message])
async def test_an_error_after_the_comments_reaches_every_client(running, name, read):
    fail_to_load(running)
    loading(running)
    with pytest.raises((openai.APIError, anthropic.APIError), match="it broke"):
        await read(running, name, lambda: load(running))
    await until(lambda: running.metric("ansambl_requests_total", status="503") == 1, "it is counted")


async def test_an_error_after_the_comments_ends_the_stream_properly(running):
    fail_to_load(running)
    loading(running)
    async with connection(running) as (reader, writer):
        writer.write(post(request(stream=True)))
        head = await read_head(reader)
        await comments(reader, 1)
        load(running)
        status, _, body = await read_rest(reader, head)
    events, _ = told(body)
    assert status == 200
    assert error_of(events.removeprefix(b"data: "))["code"] == "load_failed"
    assert (await raw(running, post(request(stream=True))))[0] == 503


# --- engines that are slow, odd, or refuse ----------------------------------------------------------------------------


async def slow_head(running, answer):
    async def script(call, writer):
        await asyncio.sleep(0.15)
        writer.write(answer)
        await writer.drain()
        return True

    running.engine.script = script
    return await raw(running, post(request(stream=True)))


async def test_a_long_prompt_is_read_with_comments(running):
    status, _, body = await slow_head(running, STREAM_HEAD + b"%x\r\n%b\r\n0\r\n\r\n" % (len(LAST), LAST))
    events, said = told(body)
    assert (status, events) == (200, LAST)
    assert any("'big' reads the prompt" in one for one in said)


async def test_a_refusal_after_the_comments_is_an_event(running):
    refusal = json.dumps({"error": {"message": "too long", "type": "invalid_request_error", "code": 400}}).encode()
    status, _, body = await slow_head(running, reply(refusal, b"400 Bad Request"))
    events, said = told(body)
    assert (status, bool(said)) == (200, True)
    assert "too long" in error_of(events.removeprefix(b"data: "))["message"]
    await until(lambda: running.metric("ansambl_requests_total", status="400") == 1, "it is counted as refused")
    assert running.metric("ansambl_requests_cancelled_total") == 0


async def test_an_engine_that_does_not_stream_after_the_comments(running):
    _, _, body = await slow_head(running, reply(ANSWER))
    events, said = told(body)
    assert said
    first, last, done, rest = events.split(b"\n\n")
    assert json.loads(first.removeprefix(b"data: "))["choices"][0]["delta"]["content"] == "hi"
    ended = json.loads(last.removeprefix(b"data: "))
    assert (ended["choices"][0]["finish_reason"], ended["usage"]["prompt_tokens"]) == ("stop", 7)
    assert (done, rest) == (b"data: [DONE]", b"")


async def test_silence_in_the_middle_of_an_answer_and_of_an_event(running):
    async def script(call, writer):
        whole = event("b")
        writer.write(STREAM_HEAD)
        for part in (event("a"), whole[:9], whole[9:] + LAST):
            writer.write(b"%x\r\n%b\r\n" % (len(part), part))
            await writer.drain()
            await asyncio.sleep(0.12)
        writer.write(b"0\r\n\r\n")
        return True

    running.engine.script = script
    _, _, body = await raw(running, post(request(stream=True)))
    events, said = told(body)
    assert events == event("a") + event("b") + LAST
    assert len(said) >= 3


async def test_words_of_a_name_cannot_break_out_of_a_comment(running):
    running.coordinator.outlook = lambda _: text("a\r\n\r\ndata: []\n\n{x}", x="\x00ü")
    loading(running)
    async with connection(running) as (reader, writer):
        writer.write(post(request(stream=True)))
        await read_head(reader)
        assert await comments(reader, 1) == ["a data: [] ü"]
        load(running)


async def test_a_model_that_is_taken_away_meanwhile_ends_no_comments(running):
    def gone(model):
        raise UnknownNameError(text("no {model}", model=model))

    running.coordinator.outlook = gone
    loading(running)
    async with connection(running) as (reader, writer):
        writer.write(post(request(stream=True)))
        await read_head(reader)
        assert await comments(reader, 3) == ["at work"] * 3
        load(running)
