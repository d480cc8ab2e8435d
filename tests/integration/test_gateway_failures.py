"""The gateway when clients leave and engines fail, and under load."""

from __future__ import annotations

import asyncio
import json
import time

import psutil
import pytest
from gateway_stage import (
    ANSWER,
    LAST,
    STREAM_HEAD,
    connection,
    error_of,
    event,
    post,
    raw,
    read_answer,
    read_head,
    read_rest,
    reply,
    request,
    until,
)
from prometheus_client.parser import text_string_to_metric_families

from ansambl.domain.instance import InstanceState

# --- clients that leave ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["big", "coder", "council"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("moment", ["before", "between"])
async def test_a_client_that_leaves_closes_the_engines_connection(running, model, stream, moment):
    begun = asyncio.Event()

    async def script(call, writer):
        if moment == "between":
            part = event("a") if b'"stream":true' in call.body else ANSWER[:10]
            kind = b"text/event-stream" if b'"stream":true' in call.body else b"application/json"
            writer.write(STREAM_HEAD.replace(b"text/event-stream", kind) + b"%x\r\n%b\r\n" % (len(part), part))
            await writer.drain()
        begun.set()
        await call.left.wait()

    running.engine.script = script
    async with connection(running) as (reader, writer):
        writer.write(post(request(model, stream=stream)))
        await asyncio.wait_for(begun.wait(), 10)
        if moment == "between" and stream:
            await asyncio.wait_for(reader.readuntil(b"data: "), 10)
        else:
            await asyncio.sleep(0.02)
        left = time.perf_counter()
        writer.transport.abort()
        # A council may ask for several answers at once.
        assert 1 <= len(running.engine.calls) <= (3 if model == "council" else 1)
        for call in running.engine.calls:
            await asyncio.wait_for(call.left.wait(), 5)
            print(f"{model} stream={stream} {moment}: {(call.left_at - left) * 1000:.1f} ms")  # noqa: T201 - the measured figure
            assert call.left_at - left < 1
    await until(lambda: running.gateway.answering.running == 0, "the request is over")
    assert running.metric("ansambl_requests_cancelled_total") == 1
    assert running.metric("ansambl_requests_total", status="499") == 1


async def test_a_client_that_leaves_in_its_body(running):
    async with connection(running) as (_, writer):
        writer.write(post(b"", content_length=1000) + b"x" * 10)
        await writer.drain()
    assert (await raw(running, post(request())))[0] == 200
    assert len(running.engine.calls) == 1


# --- engines that fail -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["big", "coder"])
@pytest.mark.parametrize("half", [b"", b'data: {"cho', b"data: {}\n", b"data: {}\r\n"])
async def test_an_engine_that_dies_in_a_stream_leaves_whole_events_and_one_error(running, model, half):
    running.engine.script = running.engine.stream(event("a"), event("b") + half, end=False)
    status, _, body = await raw(running, post(request(model, stream=True)))
    assert status == 200
    assert body.startswith(event("a") + event("b") + b'data: {"error":')
    *_, last, nothing = body.split(b"\n\n")
    assert nothing == b""
    assert error_of(last.removeprefix(b"data: "))["type"] == "engine_error"
    assert body.count(b"data: ") == 3
    assert running.instance.suspected == 1
    assert running.metric("ansambl_requests_total", status="502") == 1
    running.engine.script = running.engine.answer_whole
    assert (await raw(running, post(request(model))))[0] == 200


@pytest.mark.parametrize("model", ["big", "coder", "council"])
@pytest.mark.parametrize("ended", [False, True])
async def test_a_stream_without_a_length_that_has_no_end_was_broken_off(running, model, ended):
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    last = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n' if ended else b""

    async def script(_call, writer):
        writer.write(head + event("a") + last)
        await writer.drain()
        writer.close()

    running.engine.script = script
    _, _, body = await raw(running, post(request(model, stream=True)))
    assert (b"broke off in the middle" in body) is not ended
    if not ended:
        assert error_of(body.rstrip().rpartition(b"data: ")[2])["code"] == "engine_failed"


async def test_an_engine_that_dies_in_a_whole_answer_is_a_502(running):
    running.engine.script = running.engine.fixed(reply(ANSWER)[:-20])
    status, _, body = await raw(running, post(request()))
    assert (status, error_of(body)["code"]) == (502, "engine_failed")
    assert len(running.engine.calls) == 2, "nothing of it was handed on, so it is asked for once more"


@pytest.mark.parametrize(
    ("content", "status", "kind", "words"),
    [
        (reply(b'{"error":{"message":"m","type":"t","code":"c"}}', b"400 Bad"), 400, "t", "m"),
        (reply(b"Internal Server Error", b"500 Bad", b"text/plain"), 500, "engine_error", "Internal Server Error"),
        (reply(b"<html>", b"502 Bad", b"text/html"), 502, "engine_error", "<html>"),
        (reply(b"", b"503 Bad"), 503, "engine_error", "503"),
        (reply(b"[" * 100_000, b"500 Bad"), 500, "engine_error", "[["),
        (reply(b'{"error":{"message":"\\ud800"}}', b"500 Bad"), 500, "engine_error", "ud800"),
        (reply(b"<html>hello</html>", kind=b"text/html"), 502, "engine_error", "hello"),
        (reply(b""), 502, "engine_error", "not a chat completion"),
        (b"this is no HTTP at all\r\n\r\n", 502, "engine_error", "lost"),
        (b"", 502, "engine_error", "lost"),
    ],
)
async def test_what_an_engine_gets_wrong_has_openais_shape(running, content, status, kind, words):
    running.engine.script = running.engine.fixed(content)
    for stream in (False, True):
        found, _, body = await raw(running, post(request(stream=stream)))
        error = error_of(body)
        assert (found, error["type"]) == (status, kind)
        assert words in error["message"]


@pytest.mark.parametrize(
    "usage", ['"none"', "5", '{"prompt_tokens":"x"}', '{"prompt_tokens":-4}', '{"prompt_tokens":1e999}', "[[]]"]
)
async def test_odd_usage_of_an_engine_spoils_no_answer(running, usage):
    body = b'{"choices":[{"message":{"content":"hi"}}],"usage":' + usage.encode() + b"}"
    running.engine.script = running.engine.fixed(reply(body))
    for model in ("big", "coder"):
        assert (await raw(running, post(request(model))))[2] == body
        assert running.metric("ansambl_requests_total", name=model, status="200") == 1


async def test_idle_connections_that_the_engine_closes_are_noticed_by_no_client(running):
    async def once(call, writer):
        await running.engine.answer_whole(call, writer)

    running.engine.script = once
    for number in range(60):
        assert (await raw(running, post(request(stream=number % 2 == 0))))[0] == 200
    assert len(running.engine.calls) >= 60


async def test_an_engine_that_is_gone_is_a_502(running):
    await running.engine.stop()
    status, _, body = await raw(running, post(request()))
    assert (status, error_of(body)["type"]) == (502, "engine_error")
    assert running.instance.suspected == 2


# --- load ------------------------------------------------------------------------------------------------------------


async def test_many_requests_at_once_are_all_answered(running):
    async def client(number):
        async with connection(running) as (reader, writer):
            for turn in range(7):
                model, stream = ("big", "coder")[turn % 2], (number + turn) % 3 == 0
                writer.write(post(request(model, stream=stream)))
                status, _, body = await read_answer(reader)
                assert status == 200
                assert body == (event("a") + event("b") + LAST if stream else ANSWER)

    await asyncio.gather(*(client(number) for number in range(32)))
    await until(lambda: running.gateway.answering.running == 0, "all requests are over")
    assert running.metric("ansambl_requests_total", status="200") == 32 * 7
    assert running.metric("ansambl_requests_total") == 32 * 7
    assert running.metric("ansambl_requests_cancelled_total") == 0
    assert running.engine.connections <= 40


async def test_a_client_that_reads_slowly_holds_the_engine_back(running):
    part, sent = event("x" * 60_000), 0

    async def flood(call, writer):
        nonlocal sent
        writer.write(STREAM_HEAD)
        while sent < 100_000_000:
            writer.write(b"%x\r\n%b\r\n" % (len(part), part))
            await writer.drain()
            sent += len(part)

    running.engine.script = flood
    process = psutil.Process()
    async with connection(running) as (reader, writer):
        writer.write(post(request(stream=True)))
        await reader.readuntil(b"data: ")
        writer.transport.pause_reading()
        before, last = process.memory_info().rss, -1
        while sent != last:
            last = sent
            await asyncio.sleep(0.3)
        growth = process.memory_info().rss - before
        print(f"sent {sent / 1e6:.1f} MB of 100 while nobody read; grew by {growth / 1e6:.1f} MB")  # noqa: T201 - the measured figure
        assert sent < 40_000_000
        assert growth < 60_000_000
        writer.transport.abort()
    await until(lambda: running.gateway.answering.running == 0, "the request is over")


# --- what operators ask ----------------------------------------------------------------------------------------------


async def test_draining_refuses_new_requests_and_finishes_running_ones(running):
    go = asyncio.Event()

    async def wait(call, writer):
        await go.wait()
        return await running.engine.answer_whole(call, writer)

    running.engine.script = wait
    first = asyncio.create_task(raw(running, post(request())))
    await until(lambda: running.gateway.answering.running == 1, "the first runs")
    async with connection(running) as (reader, writer):
        slow = post(request())
        writer.write(slow[:-5])
        await until(lambda: True, "sent")
        running.gateway.answering.draining = True
        status, headers, body = await raw(running, post(request()))
        assert (status, error_of(body)["code"]) == (503, "stopping")
        assert int(headers["retry-after"]) > 0
        writer.write(slow[-5:])
        assert (await read_answer(reader))[0] == 503, "its body came too late"
    assert (await raw(running, b"GET /ready HTTP/1.1\r\nhost: localhost\r\n\r\n"))[0] == 503
    go.set()
    assert (await first)[0] == 200


async def test_health_answers_while_every_instance_is_down(running):
    running.instance.state = InstanceState.FAILED
    await running.engine.stop()
    assert (await raw(running, b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"))[0] == 200
    status, _, body = await raw(running, b"GET /ready HTTP/1.1\r\nhost: localhost\r\n\r\n")
    assert (status, json.loads(body)) == (503, {"ready": False, "instances": {"big": "failed"}})


async def test_the_metrics_page_counts_tokens_and_cached_ones(running):
    for model, stream in (("big", False), ("big", True), ("coder", True), ("large", False)):
        await raw(running, post(request(model, stream=stream)))
    await raw(running, post(b"not json"))
    status, headers, page = await raw(running, b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n")
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    assert len(list(text_string_to_metric_families(page.decode()))) > 8
    await until(lambda: running.gateway.answering.running == 0, "all requests are over")
    assert running.metric("ansambl_prompt_tokens_total", name="big") == 21
    assert running.metric("ansambl_cached_tokens_total", name="big") == 12
    assert running.metric("ansambl_cached_tokens_total", name="coder") == 4
    assert running.metric("ansambl_generation_tokens_total") == 8
    assert running.metric("ansambl_time_to_first_token_seconds_count") == 2
    assert running.metric("ansambl_instance_state", state="ready") == 1
    assert running.metric("ansambl_requests_running") == 0


async def test_head_is_answered_without_a_body(running):
    async with connection(running) as (reader, writer):
        writer.write(b"HEAD /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 20)
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\n")


async def test_answers_that_are_cut_at_the_stop_say_why(running):
    async def begin_and_wait(call, writer):
        writer.write(STREAM_HEAD + b"%x\r\n%b\r\n" % (len(event("hi")), event("hi")))
        await writer.drain()
        await call.left.wait()

    running.engine.script = begin_and_wait
    async with connection(running) as (one, first_writer), connection(running) as (two, second_writer):
        for writer, content in ((first_writer, post(request(stream=True))),
                                (second_writer, post(request("coder", stream=True)))):  # fmt: skip
            writer.write(content)
        # Both answers have begun: a cut before that is another answer, status 503.
        heads = [await read_head(reader) for reader in (one, two)]
        running.gateway.answering.draining = True
        await running.gateway.answering.cut()
        answers = [await read_rest(reader, head) for reader, head in zip((one, two), heads, strict=True)]
    for status, _, body in answers:
        assert status == 200
        first, last = body.decode().strip().split("\n\n")
        assert first == event("hi").decode().strip()
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == "stopping"
    assert running.gateway.answering.running == 0


@pytest.mark.parametrize("model", ["big", "coder", "council"])
@pytest.mark.parametrize("status", [b"401 Unauthorized", b"403 Forbidden"])
async def test_a_key_that_the_engine_refuses_is_not_the_clients_fault(running, model, status):
    async def refuse(call, writer):
        writer.write(reply(b'{"error":{"message":"Incorrect API key"}}', status))
        return True

    running.engine.script = refuse
    answered, _, body = await raw(running, post(request(model)))
    assert answered == 502
    assert error_of(body)["code"] == "engine_refuses_key"
    assert "models.big.key" in error_of(body)["message"]
