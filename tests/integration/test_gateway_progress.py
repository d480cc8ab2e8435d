"""What Open WebUI shows while an answer waits: lines that the answer takes away, and that no other client gets."""

from __future__ import annotations

import asyncio
import json

import pytest
from gateway_stage import LAST, connection, event, load, loading, post, read_head, read_rest, request

from ansambl.domain.errors import UnavailableError
from ansambl.domain.text import text
from ansambl.gateway import keep_alive

OPEN_WEBUI = {"x_ansambl_events": "open-webui"}


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(keep_alive, "TOLD_AFTER", 0.03)
    monkeypatch.setattr(keep_alive, "LOOKED_AT", 0.02)


async def waited_for(running, **headers):
    """A chat that waits for its model, until something was told; then the model is there."""
    loading(running)
    async with connection(running) as (reader, writer):
        writer.write(post(request("big", stream=True), accept_language="en", **headers))
        head = await read_head(reader)
        await asyncio.sleep(0.1)
        load(running)
        _, _, body = await read_rest(reader, head)
    return body


def parts(body):
    """The status events of a stream, and its other events as they came, comments left out."""
    statuses, others = [], []
    for one in body.split(b"\n\n"):
        if not one or one.startswith(b":"):
            continue
        found = {} if one == b"data: [DONE]" else json.loads(one.removeprefix(b"data: "))
        (statuses if "event" in found else others).append(found["event"]["data"] if "event" in found else one)
    return statuses, others


@pytest.mark.parametrize("headers", [OPEN_WEBUI, {"x_openwebui_chat_id": "f56351eb"}])
async def test_open_webui_is_told_what_a_chat_waits_for_and_the_answer_takes_the_line_away(running, headers):
    statuses, others = parts(await waited_for(running, **headers))
    assert all(one["done"] is False and "big" in one["description"] for one in statuses[:-1])
    assert len(statuses) >= 2
    assert statuses[-1] == {"description": statuses[-2]["description"], "done": True, "hidden": True}
    # The engine's own bytes follow, all of them.
    assert b"".join(one + b"\n\n" for one in others) == event("a") + event("b") + LAST


async def test_the_line_goes_right_before_the_answer_and_stands_on_ordinary_chunks(running):
    body = await waited_for(running, **OPEN_WEBUI)
    hidden = body.index(b'"hidden":true')
    assert body.index(b"'big'") < hidden < body.index(event("a"))
    for one in body[: body.index(event("a"))].split(b"\n\n"):
        if one.startswith(b"data: "):
            # Clients that do not know the field look at the first choice.
            assert json.loads(one[6:])["choices"][0]["delta"] == {"content": ""}


async def test_an_answer_that_comes_at_once_says_nothing_of_waiting(running, monkeypatch):
    monkeypatch.setattr(keep_alive, "TOLD_AFTER", 30.0)
    async with connection(running) as (reader, writer):
        writer.write(post(request("big", stream=True), **OPEN_WEBUI))
        _, _, body = await read_rest(reader, await read_head(reader))
    assert body == event("a") + event("b") + LAST


@pytest.mark.parametrize("headers", [{}, {"x_ansambl_events": "annotations", "x_openwebui_chat_id": "1"}])
async def test_nobody_else_gets_events(running, monkeypatch, headers):
    monkeypatch.setattr(keep_alive, "SILENCE", 0.03)
    statuses, others = parts(await waited_for(running, **headers))
    assert statuses == []
    assert b"".join(one + b"\n\n" for one in others) == event("a") + event("b") + LAST


async def test_an_error_takes_the_line_away_too(running):
    loading(running)

    async def refused():
        await running.instance.loaded.wait()
        raise UnavailableError(text("it broke"), code="load_failed", retry_after=7)

    running.instance.ensure_ready = refused
    async with connection(running) as (reader, writer):
        writer.write(post(request("big", stream=True), **OPEN_WEBUI))
        head = await read_head(reader)
        await asyncio.sleep(0.05)
        load(running)
        _, _, body = await read_rest(reader, head)
    statuses, others = parts(body)
    assert statuses[-1]["hidden"] is True
    assert "it broke" in json.loads(others[0].removeprefix(b"data: "))["error"]["message"]


async def test_other_dialects_have_no_such_events(running, monkeypatch):
    monkeypatch.setattr(keep_alive, "SILENCE", 0.03)
    loading(running)
    body = {"model": "big", "messages": [{"role": "user", "content": "hello"}], "stream": True, "max_tokens": 9}
    async with connection(running) as (reader, writer):
        writer.write(post(json.dumps(body).encode(), "/v1/messages", **OPEN_WEBUI))
        head = await read_head(reader)
        load(running)
        _, _, answer = await read_rest(reader, head)
    assert b"message_stop" in answer
    assert b'"event":{"type"' not in answer
