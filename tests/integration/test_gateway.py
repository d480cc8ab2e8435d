"""The gateway as clients use it, asked well and badly, by the official client and on raw sockets."""

from __future__ import annotations

import asyncio
import json

import openai
import psutil
import pytest
from gateway_stage import (
    ANSWER,
    LAST,
    connection,
    error_of,
    event,
    post,
    raw,
    read_answer,
    reply,
    request,
)

# --- as clients use it -----------------------------------------------------------------------------------------------


async def test_the_official_client_lists_asks_and_streams(running):
    async with running.client() as client:
        names = [one.id async for one in await client.models.list()]
        assert names[-2:] == ["big", "50%25"]
        assert {"coder", "reasoner", "brief", "philosopher", "council"} <= set(names)
        assert (await client.models.retrieve("coder")).id == "coder"
        assert (await client.models.retrieve("кодер")).id == "coder"
        assert (await client.models.retrieve("50%25")).id == "50%25"
        messages = [{"role": "user", "content": "hello"}]
        for model in ("big", "large", "coder", "кодер"):
            answer = await client.chat.completions.create(model=model, messages=messages, extra_body={"odd": {"a": 1}})
            assert answer.choices[0].message.content == "hi"
            assert answer.usage.prompt_tokens_details.cached_tokens == 4
            sent = json.loads(running.engine.calls[-1].body)
            assert (sent["model"], sent["odd"]) == ("there", {"a": 1})
            stream = await client.chat.completions.create(model=model, messages=messages, stream=True)
            chunks = [one async for one in stream]
            assert "".join(one.choices[0].delta.content for one in chunks if one.choices) == "ab"
            assert chunks[-1].usage.total_tokens == 9


async def test_the_official_client_understands_errors(running):
    async with running.client() as client:
        with pytest.raises(openai.NotFoundError) as missing:
            await client.chat.completions.create(model="codr", messages=[{"role": "user", "content": "x"}])
        assert "coder" in missing.value.message
        assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("nothing")
        with pytest.raises(openai.BadRequestError) as bad:
            await client.chat.completions.create(model="coder", messages=[])
        assert bad.value.param == "messages"
        running.engine.script = running.engine.fixed(reply(b'{"error":{"message":"no"}}', b"500 No"))
        with pytest.raises(openai.InternalServerError, match="no"):
            await client.chat.completions.create(model="big", messages=[{"role": "user", "content": "x"}])


async def test_the_headers_tell_who_answered(running):
    status, headers, _ = await raw(running, post(request("coder")))
    assert status == 200
    assert headers["x-ansambl-role"] == "coder"
    assert headers["x-ansambl-instance"] == "big"
    assert int(headers["x-ansambl-queued-ms"]) < 1000
    assert headers["x-ansambl-swaps"] == "0"


async def test_a_plain_models_stream_is_the_engines_bytes(running):
    _, headers, body = await raw(running, post(request(stream=True)))
    assert body == event("a") + event("b") + LAST
    assert headers["content-type"].startswith("text/event-stream")


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"", b"not json", b"[]", b'"x"', b"{", b"\xff\xfe", b'{"model":"\xff"}', b'{"model":5}', b'{"messages":[]}',
        b'{"model":"big","a":' + b"[" * 100_000, b'{"a":' * 100_000,
        b'{"model":"coder","messages":[{"role":"user","content":"\xff"}]}',
        b'{"model":"coder","messages":' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"model":"coder","temperature":1e999,"messages":[{"role":"user","content":"x"}]}',
        b'{"model":"council","messages":[{"role":"user","content":7}]}', b'{"model":"council","messages":"x"}',
    ],
)  # fmt: skip
async def test_bodies_that_can_never_succeed(running, body):
    status, _, answer = await raw(running, post(body))
    assert status == 400
    assert error_of(answer)["type"] == "invalid_request_error"
    assert running.engine.calls == []
    assert (await raw(running, post(request())))[0] == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "user", "content": [1, None, "x", {}, {"type": 5}, {"type": "text"}]}]},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "", "content": ""}]},
        {"messages": [{"role": "tool", "content": None, "tool_call_id": 5}]},
        {
            "messages": [{"role": "user", "content": "x"}],
            "tools": 5,
            "stop": {},
            "max_tokens": "x",
            "stream_options": 1,
        },
        {"messages": [{"role": "assistant", "content": None, "tool_calls": "x"}, {"role": "user", "content": "x"}]},
    ],
)
@pytest.mark.parametrize("model", ["big", "coder", "council"])
async def test_odd_requests_reach_the_engine_or_are_refused_but_break_nothing(running, model, fields):
    status, _, body = await raw(running, post(json.dumps({"model": model, **fields}).encode()))
    assert status in {200, 400}, body


@pytest.mark.parametrize("kind", ["length", "chunked", "length-only"])
async def test_a_body_of_50_mb_gets_its_answer(running, kind):
    size, piece = 50_000_000, b"x" * 65536

    async with connection(running) as (reader, writer):
        if kind == "chunked":
            writer.write(post(b"", content_length=None, transfer_encoding="chunked"))
        else:
            writer.write(post(b"", content_length=size))
        before = psutil.Process().memory_info().rss
        for _ in range(size // len(piece)):
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if kind == "chunked" else piece)
            await writer.drain()
        writer.write(b"0\r\n\r\n" if kind == "chunked" else piece[: size % len(piece)])
        status, headers, body = await read_answer(reader)
        assert psutil.Process().memory_info().rss - before < 20_000_000
    assert status == 413
    assert error_of(body)["code"] == "request_too_large"
    assert headers["connection"] == "close"
    assert (await raw(running, post(request())))[0] == 200


@pytest.mark.parametrize("length", ["-1", "x", "99999999999999999999999999", "1, 2", "0x10"])
async def test_impossible_lengths_are_refused(running, length):
    async with connection(running) as (reader, writer):
        writer.write(post(b"", content_length=length))
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 20)
    # A length without an end is a client that leaves before its body is whole.
    assert answer == b"" or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 413"))
    assert (await raw(running, post(request())))[0] == 200


@pytest.mark.parametrize(
    ("line", "status", "code"),
    [
        ("GET /v1/nothing", 404, "unknown_url"),
        ("GET /v1", 404, "unknown_url"),
        ("GET /v1/chat/completions", 405, "method_not_allowed"),
        ("DELETE /v1/models/coder", 405, "method_not_allowed"),
        ("POST /v1/models", 405, "method_not_allowed"),
        ("GET /v1/models/", 404, "model_not_found"),
        ("GET /v1/models/%ff%00", 404, "model_not_found"),
        ("GET /elsewhere", 404, "unknown_url"),
    ],
)
async def test_paths_and_methods(running, line, status, code):
    found, _, body = await raw(running, f"{line} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
    assert (found, error_of(body)["code"]) == (status, code)


@pytest.mark.parametrize(
    "headers",
    ["host: evil.com", "host: 127.0.0.1.evil.com:80", "host: localhost\r\norigin: http://evil.com",
     "host: localhost\r\norigin: null", "host: localhost\r\norigin: http://[::1"],
)  # fmt: skip
async def test_foreign_pages_stay_out(running, headers):
    for path in ("/v1/models", "/health", "/metrics"):
        status, _, body = await raw(running, f"GET {path} HTTP/1.1\r\n{headers}\r\n\r\n".encode())
        assert (status, error_of(body)["code"]) == (403, "not_allowed")


async def test_http_1_0_without_a_host(running):
    async with connection(running) as (reader, writer):
        writer.write(b"GET /health HTTP/1.0\r\n\r\n")
        assert b" 200 " in await asyncio.wait_for(reader.read(), 20)


@pytest.mark.parametrize("stream", [False, True])
async def test_http_1_0_gets_no_chunks(running, stream):
    body = request(stream=stream)
    async with connection(running) as (reader, writer):
        writer.write(post(body).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
        head, _, answer = (await asyncio.wait_for(reader.read(), 20)).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    # All of it, and nothing around it: the connection's end is the body's.
    assert answer == (event("a") + event("b") + LAST if stream else ANSWER)
