"""Ollama's API by raw HTTP, as clients that know nothing else use it."""

from __future__ import annotations

import asyncio
import json

import pytest
from gateway_stage import (
    ANSWER,
    LAST,
    STREAM_HEAD,
    DoorOf,
    a_gateway,
    connection,
    event,
    post,
    raw,
    read_head,
    read_rest,
    reply,
    until,
)

from ansambl.domain.access import ANSWERING, Caller, Endpoint
from ansambl.domain.instance import InstanceState
from ansambl.domain.serving import Serving
from ansambl.gateway import keep_alive

ASK = [{"role": "user", "content": "hello"}]
MEMBERS = {"roles": {"coder": {"instruction": "You code."}, "critic": {"instruction": "You judge."}},
           "ensembles": {"council": {"roles": ["coder", "critic"]}}}  # fmt: skip
EVERYTHING_IN_USE = {
    "num_ctx": 65_536, "num_gpu": 99, "num_batch": 16, "temperature": 0.25, "num_predict": 9, "stop": ["x"],
}  # fmt: skip


async def ask(running, path="/api/chat", **fields):
    body = {"model": "big", **fields}
    if path == "/api/chat":
        body.setdefault("messages", ASK)
    return await raw(running, post(json.dumps(body).encode(), path))


async def get(running, path, method="GET", **headers):
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return await raw(running, f"{method} {path} HTTP/1.1\r\nhost: localhost\r\n{more}\r\n".encode())


def lines(body):
    assert body.endswith(b"\n")
    return [json.loads(one) for one in body.splitlines()]


def chunk(**delta):
    return b"data: %b\n\n" % json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode()


async def test_a_chat_streams_lines(running):
    status, headers, body = await ask(running, model="big:latest")
    found = lines(body)
    assert (status, headers["content-type"]) == (200, "application/x-ndjson")
    assert [one["message"]["content"] for one in found] == ["a", "b", ""]
    assert [one["done"] for one in found] == [False, False, True]
    assert {one["model"] for one in found} == {"big:latest"}
    last = found[-1]
    assert (last["done_reason"], last["prompt_eval_count"], last["eval_count"]) == ("stop", 7, 2)
    durations = [last[f"{name}_duration"] for name in ("load", "prompt_eval", "eval")]
    assert last["total_duration"] >= sum(durations) > 0
    assert headers["x-ansambl-instance"] == "big"


async def test_a_whole_chat_and_a_generation(running):
    _, headers, body = await ask(running, stream=False, options=EVERYTHING_IN_USE)
    found = json.loads(body)
    assert headers["content-type"] == "application/json"
    assert found["message"] == {"role": "assistant", "content": "hi"}
    assert found["total_duration"] >= found["load_duration"] + found["prompt_eval_duration"] + found["eval_duration"]
    sent = json.loads(running.engine.calls[-1].body)
    assert sent == {"model": "there", "messages": ASK, "temperature": 0.25, "max_tokens": 9, "stop": ["x"]}
    _, _, body = await ask(running, "/api/generate", prompt="hello", system="Be kind.", stream=False)
    first = json.loads(body)
    assert first["response"] == "hi"
    _, _, body = await ask(running, "/api/generate", prompt="why?", context=first["context"])
    assert [one["response"] for one in lines(body)] == ["a", "b", ""]
    assert [one["content"] for one in json.loads(running.engine.calls[-1].body)["messages"]] == [
        "Be kind.", "hello", "hi", "why?"
    ]  # fmt: skip


async def test_num_ctx_never_changes_what_an_engine_is_asked(running):
    for size in (2_048, 131_072):
        await ask(running, stream=False, options={"num_ctx": size})
    first, second = (one.body for one in running.engine.calls[-2:])
    assert first == second


async def test_tools_thinking_and_the_engines_own_times(running):
    call = {"index": 0, "id": "x", "function": {"name": "count", "arguments": '{"n":'}}
    more = {"index": 0, "function": {"arguments": " 3}"}}
    timings = {"prompt_n": 7, "prompt_ms": 12.5, "predicted_n": 2, "predicted_ms": 250.0}
    ended = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}], "timings": timings}
    running.engine.script = running.engine.stream(
        chunk(reasoning_content="Hm."), chunk(tool_calls=[call]), chunk(tool_calls=[more]),
        b"data: %b\n\n" % json.dumps(ended).encode(), LAST,
    )  # fmt: skip
    tool = {"type": "function", "function": {"name": "count", "parameters": {"type": "object"}}}
    _, _, body = await ask(running, tools=[tool], think=True)
    found = lines(body)
    assert found[0]["message"]["thinking"] == "Hm."
    calls = [one for line in found for one in line["message"].get("tool_calls", [])]
    assert calls == [{"id": "call_0", "function": {"index": 0, "name": "count", "arguments": {"n": 3}}}]
    assert (found[-1]["prompt_eval_duration"], found[-1]["eval_duration"]) == (12_500_000, 250_000_000)
    assert found[-1]["done_reason"] == "stop"
    sent = json.loads(running.engine.calls[-1].body)
    assert (sent["tools"], sent["chat_template_kwargs"]) == ([tool], {"enable_thinking": True})


async def test_an_ensemble_shows_its_work_as_thinking():
    async with a_gateway(**MEMBERS) as running:
        _, _, body = await ask(running, model="council:latest")
        found = lines(body)
        assert "".join(one["message"].get("thinking", "") for one in found)
        assert "".join(one["message"]["content"] for one in found) == "ab"
        assert found[-1]["done"]
        assert found[-1]["ansambl"]["ensemble"] == "council"


async def test_errors_are_in_the_shape_of_ollama(running):
    status, headers, body = await ask(running, model="bigg")
    assert (status, headers["content-type"]) == (404, "application/json")
    assert set(json.loads(body)) == {"error"}
    assert "big" in json.loads(body)["error"]
    for content, code in ((b"{", 400), (b"", 400), (b'{"model":"big","messages":[]' + b" " * 2**21 + b"}", 413)):
        status, _, body = await raw(running, post(content, "/api/chat"))
        assert status == code
        assert set(json.loads(body)) == {"error"}
    assert (await get(running, "/api/chat"))[0] == 405
    status, _, body = await get(running, "/api/nothing")
    assert (status, set(json.loads(body))) == (404, {"error"})


@pytest.mark.parametrize(("method", "path", "command"), [
    ("POST", "/api/pull", "ansambl models pull"), ("POST", "/api/create", "ansambl roles edit"),
    ("DELETE", "/api/delete", "ansambl models remove"), ("POST", "/api/copy", "ansambl.toml"),
    ("POST", "/api/push", "hub"), ("POST", "/api/blobs/sha256:00", "ansambl models pull"),
])  # fmt: skip
async def test_what_is_not_done_over_this_api_names_what_does_it(running, method, path, command):
    status, _, body = await get(running, path, method, content_length=0)
    assert status == 501
    assert command in json.loads(body)["error"]


async def test_an_engine_that_refuses(running):
    running.engine.script = running.engine.fixed(reply(b'{"error": {"message": "no room"}}', b"400 Bad Request"))
    status, _, body = await ask(running)
    assert status == 400
    assert "no room" in json.loads(body)["error"]


async def test_an_engine_that_dies_in_the_middle_ends_with_an_error_line(running):
    running.engine.script = running.engine.stream(event("a"), end=False)
    status, _, body = await ask(running)
    found = lines(body)
    assert status == 200
    assert found[0]["message"]["content"] == "a"
    assert set(found[-1]) == {"error"}


async def test_a_waiting_stream_is_kept_alive_by_lines_that_say_nothing(running, monkeypatch):
    monkeypatch.setattr(keep_alive, "SILENCE", 0.03)
    running.instance.loaded.clear()
    async with connection(running) as (reader, writer):
        writer.write(post(json.dumps({"model": "big", "prompt": "hello"}).encode(), "/api/generate"))
        head = await read_head(reader)
        first = await asyncio.wait_for(reader.readuntil(b"\n"), 20)
        assert b"application/x-ndjson" in head.encode()
        assert first
        running.instance.loaded.set()
        rest = b""
        while b'"done":true' not in rest:
            rest += await asyncio.wait_for(reader.read(65_536), 20)
    found = [json.loads(one) for one in rest.splitlines() if one.startswith(b"{")]
    assert found[0]["response"] == ""
    assert not found[0]["done"]
    assert "".join(one["response"] for one in found) == "ab"


async def test_a_stream_that_waited_and_cannot_be_answered_ends_with_an_error_line(running, monkeypatch):
    monkeypatch.setattr(keep_alive, "SILENCE", 0.03)
    gate = asyncio.Event()

    async def refuse(call, writer):
        await gate.wait()
        writer.write(reply(b'{"error": {"message": "no room"}}', b"400 Bad Request"))
        await writer.drain()

    running.engine.script = refuse
    async with connection(running) as (reader, writer):
        writer.write(post(json.dumps({"model": "big", "messages": ASK}).encode(), "/api/chat"))
        head = await read_head(reader)
        gate.set()
        status, _, body = await read_rest(reader, head)
    assert status == 200
    assert set(lines(body)[-1]) == {"error"}


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_closes_the_engines_connection(running, stream):
    running.engine.script = hang
    async with connection(running) as (_, writer):
        writer.write(post(json.dumps({"model": "big", "messages": ASK, "stream": stream}).encode(), "/api/chat"))
        await until(lambda: running.engine.calls, "the engine is asked")
    await until(running.engine.calls[-1].left.is_set, "the engine's connection is closed")


async def hang(call, writer):
    writer.write(STREAM_HEAD if b'"stream":true' in call.body else b"")
    await writer.drain()
    await asyncio.wait_for(call.left.wait(), 20)


async def test_nothing_asked_loads_and_unloads(running):
    status, _, body = await ask(running, messages=[])
    assert (status, json.loads(body)["done_reason"]) == (200, "load")
    assert not running.engine.calls, "an engine is loaded, not asked"
    status, _, body = await ask(running, "/api/generate", keep_alive=0)
    assert (status, json.loads(body)["done_reason"]) == (200, "unload")
    assert json.loads(body)["response"] == ""
    assert (await ask(running, model="nobody", messages=[]))[0] == 404


async def test_unloading_is_the_owners_and_names_are_looked_at():
    caller = Caller("k", names=frozenset({"coder"}), endpoints=ANSWERING)
    async with a_gateway(door=DoorOf(caller), roles=MEMBERS["roles"]) as running:
        assert (await ask(running, model="coder"))[0] == 200
        assert (await ask(running, model="big"))[0] == 403
        assert (await ask(running, model="coder", messages=[]))[0] == 200
        status, _, body = await ask(running, model="coder", messages=[], keep_alive=0)
        assert (status, set(json.loads(body))) == (403, {"error"})
        found = json.loads((await get(running, "/api/tags"))[2])
        assert [one["name"] for one in found["models"]] == ["coder:latest"]
        assert (await ask(running, "/api/show", model="big"))[0] == 403
    chats = Caller("k", endpoints=frozenset({Endpoint.CHAT}))
    async with a_gateway(door=DoorOf(chats)) as running:
        assert (await ask(running, "/api/embed", input="a"))[0] == 403


async def test_lists(running):
    tags = json.loads((await get(running, "/api/tags"))[2])["models"]
    assert {"name", "model", "modified_at", "size", "digest", "details"} <= set(tags[0])
    assert "big:latest" in [one["model"] for one in tags]
    running.instance.state = InstanceState.STOPPED
    running.coordinator.changes.tell()
    assert json.loads((await get(running, "/api/ps"))[2]) == {"models": []}
    running.instance.state = InstanceState.READY
    running.coordinator.changes.tell()
    there = json.loads((await get(running, "/api/ps"))[2])["models"]
    assert "big:latest" in [one["name"] for one in there]
    _, _, body = await ask(running, "/api/show")
    assert {"details", "model_info", "capabilities", "modified_at"} <= set(json.loads(body))
    assert json.loads(body)["capabilities"] == ["completion"]
    assert (await ask(running, "/api/show", model=""))[0] == 404
    version = json.loads((await get(running, "/api/version"))[2])
    assert tuple(map(int, version["version"].split("."))) >= (0, 6, 4)


async def test_vectors(running):
    answer = {"data": [{"index": 0, "embedding": [1.5, 2]}, {"index": 1, "embedding": [3, 4]}],
              "usage": {"prompt_tokens": 6}}  # fmt: skip
    running.engine.script = running.engine.fixed(reply(json.dumps(answer).encode()))
    _, _, body = await ask(running, "/api/embed", input=["a", "b"], truncate=True)
    found = json.loads(body)
    assert (found["embeddings"], found["prompt_eval_count"], found["model"]) == ([[1.5, 2], [3, 4]], 6, "big")
    assert found["total_duration"] >= found["load_duration"]
    assert json.loads(running.engine.calls[-1].body)["input"] == ["a", "b"]
    running.engine.script = running.engine.fixed(reply(b'{"data": [{"embedding": [1]}]}'))
    _, _, body = await ask(running, "/api/embeddings", prompt="a")
    assert json.loads(body) == {"embedding": [1]}
    running.engine.script = running.engine.fixed(reply(ANSWER))
    status, _, body = await ask(running, "/api/embed", input="a")
    assert (status, set(json.loads(body))) == (502, {"error"})
    assert json.loads((await ask(running, "/api/embed", input=[]))[2])["embeddings"] == []


async def test_a_model_that_makes_no_vectors_says_so(running):
    running.instance.serving = Serving("scripted")
    status, _, body = await ask(running, "/api/embed", input="a")
    assert (status, set(json.loads(body))) == (501, {"error"})
    assert not running.engine.calls


@pytest.mark.parametrize("agent", ["ollama/0.13.0 (amd64 linux)", "ollama-python/0.6.3", "Ollama-JS/0.6"])
async def test_the_greeting_is_for_its_clients(running, agent):
    status, _, body = await get(running, "/", user_agent=agent)
    assert (status, body) == (200, b"Ollama is running")
    scope = {"path": "/", "headers": [(b"user-agent", agent.encode())]}
    assert running.gateway.greets(scope)
    assert not running.gateway.greets({**scope, "headers": [(b"user-agent", b"Mozilla/5.0 ollama")]})
    assert not running.gateway.greets({**scope, "path": "/console/"})
