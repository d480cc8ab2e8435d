"""Lists of models from memory: never blank, whatever engines do; and the paths of llama.cpp's router."""

from __future__ import annotations

import asyncio
import json
from typing import ClassVar

import anthropic
import openai
import pytest
from gateway_stage import DoorOf, a_gateway, connection, post, raw, read_head, request, until

from ansambl.domain.access import ANSWERING, Caller
from ansambl.domain.errors import UnavailableError
from ansambl.domain.instance import InstanceState, InstanceStatus
from ansambl.domain.text import text
from ansambl.foundation.locales import speaker_of_header
from ansambl.gateway import llama_router
from ansambl.runtime.wishes import Wish

ROLES = {"coder": {"instruction": "You code."}, "critic": {"instruction": "You judge.", "model": "other"}}
ENSEMBLES = {"council": {"roles": ["coder", "critic"]}}
NAMES = ["coder", "critic", "council", "big", "other"]
LISTS = ["/v1/models", "/health", "/models", "/api/tags", "/api/ps", "/props", "/v1/models/coder", "/ready"]


@pytest.fixture
async def several():
    async with a_gateway(roles=ROLES, ensembles=ENSEMBLES, others=["other"]) as found:
        yield found


async def get(running, path, **headers):
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    status, _, body = await raw(running, f"GET {path} HTTP/1.1\r\nhost: localhost\r\n{more}\r\n".encode())
    return status, json.loads(body)


async def states(running, path="/v1/models"):
    return {one["id"]: one["status"] for one in (await get(running, path))[1]["data"]}


async def move(running, path, model):
    status, _, body = await raw(running, post(json.dumps({"model": model}).encode(), path))
    return status, json.loads(body)


def other(running):
    return running.coordinator.instance("other")


def becomes(running, state):
    other(running).state = state
    running.coordinator.changes.tell()


async def test_every_name_tells_whether_it_is_in_memory(several):
    found = await states(several)
    assert {found[one]["value"] for one in NAMES} == {"loaded"}
    assert found["50%25"] == {"value": "unloaded", "failed": True, "reason": "there is no instance of '50%25'"}
    for state, value in (
        (InstanceState.STOPPED, "unloaded"), (InstanceState.STARTING, "loading"), (InstanceState.RESTARTING, "loading"),
        (InstanceState.ASLEEP, "sleeping"), (InstanceState.STOPPING, "loaded"), (InstanceState.FAILED, "unloaded"),
    ):  # fmt: skip
        becomes(several, state)
        found = await states(several)
        assert {found[one]["value"] for one in ("critic", "other", "council")} == {value}, state
        assert (found["coder"]["value"], found["big"]["value"]) == ("loaded", "loaded")
        assert found["critic"].get("failed", False) is (state is InstanceState.FAILED)
    _, one = await get(several, "/v1/models/critic")
    assert one["status"] == {"value": "unloaded", "failed": True}
    assert (one["models"], one["kind"]) == (["other"], "role")


async def test_why_a_model_is_not_there_is_said_in_the_readers_language(several, monkeypatch):
    # A sentence of the catalogue, so that it has a translation.
    status = InstanceStatus("other", "scripted", InstanceState.UNREACHABLE, message=text("it was stopped"), context=512)
    monkeypatch.setattr(other(several), "status", lambda: status)
    found = (await get(several, "/v1/models", accept_language="ru"))[1]["data"]
    critic = next(one for one in found if one["id"] == "critic")
    assert critic["status"]["failed"]
    assert critic["status"]["reason"] == text("it was stopped").render(speaker_of_header("ru"))
    assert (critic["context_length"], critic["max_model_len"]) == (512, 512)
    assert "context_length" not in next(one for one in found if one["id"] == "council"), "of one model it is not known"


@pytest.mark.parametrize("path", LISTS)
async def test_lists_answer_while_every_engine_hangs(several, path):
    """Nothing on this path may wait for an engine: each call towards one would never return."""

    async def for_ever(*args, **kwargs):
        await asyncio.Event().wait()

    for instance in (several.instance, other(several)):
        instance.ensure_ready = for_ever
        instance.state = InstanceState.STARTING
    several.coordinator.changes.tell()
    several.coordinator.open = several.coordinator.call = for_ever
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(raw(several, post(request(model=one)))) for one in ("big", "critic")]
        await until(lambda: several.gateway.answering.running == 2, "both wait")
        status, found = await get(several, path)
        assert status == (503 if path == "/ready" else 200)
        assert found
        if path == "/v1/models":
            assert {one["status"]["value"] for one in found["data"] if one["id"] in NAMES} == {"loading"}
        for one in waiting:
            one.cancel()


async def test_a_list_costs_no_file_and_no_database(several, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("something was opened")

    handler = several.gateway._listing

    class Exchange:
        scope: ClassVar = {"headers": [(b"accept-language", b"ru")]}
        visit = type("Visit", (), {"caller": Caller()})

    handler.entries(Exchange())
    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr("sqlite3.connect", refuse)
    monkeypatch.setattr("os.stat", refuse)
    found = handler.entries(Exchange())
    monkeypatch.undo()
    assert {one["id"] for one in found} > set(NAMES)


async def test_official_clients_read_the_list(several):
    async with several.client() as client:
        listed = [one async for one in client.models.list()]
        assert "coder" in [one.id for one in listed]
        assert (await client.models.retrieve("КОДЕР" if "кодер" in listed[0].aliases else "coder")).id == "coder"
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("nobody")
    async with anthropic.AsyncAnthropic(
        base_url=f"http://127.0.0.1:{several.port}", api_key="any", max_retries=0, timeout=20,
        _strict_response_validation=True,
    ) as client:  # fmt: skip
        first = await client.models.list()
        assert not first.has_more
        pages = [one.id async for one in client.models.list(limit=2)]
        assert pages == [one.id for one in first.data] == [one.id for one in listed]
        assert first.data[0].display_name == first.data[0].id
        assert (await client.models.retrieve("council")).type == "model"
        with pytest.raises(anthropic.BadRequestError) as raised:
            await client.models.list(limit=1001)
        assert raised.value.body["type"] == "error"
        with pytest.raises(anthropic.NotFoundError) as raised:
            await client.models.retrieve("nobody")
        assert raised.value.body["error"]["type"] == "not_found_error"


# --- llama.cpp's router ----------------------------------------------------------------------------------------------


async def test_models_are_loaded_and_unloaded_by_the_names_of_what_runs_on_them(several):
    """What Open WebUI's administrator page asks for with the provider "llama.cpp"."""
    begun = []
    several.coordinator.wishes.begin = lambda model, wish: begun.append((model, wish))
    other(several).state = InstanceState.STOPPED
    assert await move(several, "/models/load", "council") == (200, {"success": True})
    assert begun == [("other", Wish.LOAD)], "what is loaded already is left alone"
    begun.clear()
    assert await move(several, "/models/unload", "critic") == (200, {"success": True})
    assert begun == [("other", Wish.UNLOAD)]
    assert (await move(several, "/models/load", "nobody"))[0] == 404
    assert (await move(several, "/models/load", 3))[0] == 400


async def test_what_somebody_else_runs_is_not_unloaded(several, monkeypatch):
    status = InstanceStatus("other", "scripted", InstanceState.READY, attached=True)
    monkeypatch.setattr(other(several), "status", lambda: status)
    code, found = await move(several, "/models/unload", "critic")
    assert (code, "error" in found) == (501, True)


async def test_unloading_is_the_owners():
    caller = Caller("k", names=frozenset({"coder"}), endpoints=ANSWERING)
    async with a_gateway(door=DoorOf(caller), roles={"coder": {"instruction": "You code."}}) as running:
        assert (await move(running, "/models/unload", "coder"))[0] == 403
        assert (await move(running, "/models/load", "coder"))[0] == 200
        assert (await move(running, "/models/load", "big"))[0] == 403
        assert list(await states(running, "/models")) == ["coder"]


async def test_a_load_that_fails_is_shown_by_its_state(several):
    async def refused():
        becomes(several, InstanceState.FAILED)
        raise UnavailableError(text("it was stopped"))

    other(several).ensure_ready = refused
    other(several).state = InstanceState.STOPPED
    assert (await move(several, "/models/load", "other"))[0] == 200
    await until(lambda: other(several).state is InstanceState.FAILED, "the load failed")
    assert (await states(several, "/models"))["critic"]["failed"]


async def read_events(reader, wanted):
    found = b""
    while wanted not in found:
        found += await asyncio.wait_for(reader.read(65_536), 20)
    lines = [one for one in found.split(b"\n") if one.startswith(b"data: ")]
    return [json.loads(one.removeprefix(b"data: ")) for one in lines]


async def test_changes_are_told_as_they_come(several):
    async with connection(several) as (reader, writer):
        writer.write(b"GET /models/sse HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert "text/event-stream" in await read_head(reader)
        await asyncio.wait_for(reader.readuntil(b"\n\n"), 20)
        becomes(several, InstanceState.STARTING)
        found = await read_events(reader, b'"model":"other"')
        told = {one["model"]: one["data"] for one in found}
        loading = {"status": "loading"}
        assert [told.get(one) for one in NAMES] == [None, loading, loading, None, loading]
        assert {one["event"] for one in found} == {"status_change"}
        becomes(several, InstanceState.FAILED)
        failed = await read_events(reader, b'"model":"other"')
        assert failed[0]["data"] == {"status": "unloaded", "failed": True, "exit_code": 1}


async def test_a_listener_that_reads_nothing_misses_what_lies_between(several):
    async with connection(several) as (reader, writer):
        writer.write(b"GET /models/sse HTTP/1.1\r\nhost: localhost\r\n\r\n")
        await read_head(reader)
        await asyncio.wait_for(reader.readuntil(b"\n\n"), 20)
        for state in [InstanceState.STARTING, InstanceState.READY] * 50 + [InstanceState.ASLEEP]:
            becomes(several, state)
        found = await read_events(reader, b'"model":"other"')
        assert [one["data"]["status"] for one in found if one["model"] == "other"] == ["sleeping"]


async def test_a_listener_is_kept_alive_and_ends_when_ansambl_stops(several, monkeypatch):
    monkeypatch.setattr(llama_router, "KEPT_ALIVE", 0.02)
    async with connection(several) as (reader, writer):
        writer.write(b"GET /models/sse HTTP/1.1\r\nhost: localhost\r\n\r\n")
        await read_head(reader)
        for _ in range(3):
            assert b": " in await asyncio.wait_for(reader.readuntil(b"\n\n"), 20)
        several.gateway.answering.draining = True
        assert several.gateway.answering.running == 0, "a stop does not wait for it"
        rest = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 20)
        assert rest.endswith(b"0\r\n\r\n")


async def test_a_listener_that_leaves_is_forgotten(several):
    async with connection(several) as (reader, writer):
        writer.write(b"GET /models/sse HTTP/1.1\r\nhost: localhost\r\n\r\n")
        await read_head(reader)
        await until(lambda: several.coordinator.changes._waiting, "it listens")
    await until(lambda: not several.coordinator.changes._waiting, "it is forgotten")


async def test_the_router_says_that_it_is_one(several):
    _, found = await get(several, "/props")
    assert (found["role"], found["models_autoload"]) == ("router", True)
    _, found = await get(several, "/props?model=coder")
    assert "role" not in found
    assert found["modalities"] == {"vision": False, "audio": False}
    _, listed = await get(several, "/models")
    first = listed["data"][0]
    assert first["status"]["args"] == []
    assert first["architecture"]["input_modalities"] == ["text"]
