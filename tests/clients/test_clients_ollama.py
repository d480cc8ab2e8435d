"""Ollama's official clients, which speak nothing but its own API."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from gateway_stage import until
from scripted_model import IMAGE

from ansambl.gateway import keep_alive, ollama_routes

THOUGHTS, RUSSIAN = "Snow is cold. Мороз.", "Здравствуйте! Это ответ 😀."
SEEN = f"An image of {len('data:image/png;base64,' + IMAGE)} letters."
BOTH = [{"city": "Omsk"}, {"city": "Paris"}]


def address(running: Any) -> str:
    return f"http://127.0.0.1:{running.port}"


@pytest.mark.parametrize("model", ["big", "coder:latest"])
async def test_the_python_client(capable, python, model):
    found = await python("ollama_client", address(capable), model, IMAGE)
    assert found["text"] == [RUSSIAN, THOUGHTS, "stop", 7]
    assert found["times"] == [True, True]
    assert found["streamed"] == [RUSSIAN, THOUGHTS]
    assert found["pieces"] > 3
    assert found["last"] == [True, "stop", 2]
    assert found["hidden"] is None
    assert found["tools"] == {"calls": BOTH, "answer": "The tool says: Snow in Paris."}
    assert found["parsed"] == {"city": "Omsk", "degrees": -5}
    assert found["image"] == SEEN
    assert found["logprobs"]
    assert set(found["logprobs"]) == {-0.5}
    assert all(one.startswith("You said") for one in found["generated"])
    assert found["generated_stream"] == RUSSIAN
    assert found["loaded"] == "load"
    assert {"big:latest", "coder:latest"} <= set(found["listed"]) & set(found["running"])
    assert "completion" in found["shown"]
    assert (found["errors"]["name"], found["errors"]["stream"], found["errors"]["busy"]) == (404, 404, 503)
    assert found["errors"]["pull"][0] == 501
    assert "ansambl models pull" in found["errors"]["pull"][1]


async def test_the_python_client_bears_lines_that_say_nothing(capable, python, monkeypatch):
    monkeypatch.setattr(keep_alive, "SILENCE", 0.01)
    answer, made, silences = capable.engine.script, ollama_routes.silence_line, []
    monkeypatch.setattr(
        ollama_routes, "silence_line", lambda *given, **more: silences.append(given) or made(*given, **more)
    )

    async def slowly(call, writer):
        if b'"stream":true' in call.body:
            count = len(silences)
            await until(lambda: len(silences) > count, "a line that says nothing")
        return await answer(call, writer)

    capable.engine.script = slowly
    found = await python("ollama_client", address(capable), "big", IMAGE)
    assert found["streamed"] == [RUSSIAN, THOUGHTS]
    assert found["generated_stream"] == RUSSIAN


@pytest.mark.parametrize("model", ["big", "coder:latest"])
async def test_the_npm_client(capable, node, model):
    found = await node("ollama", address(capable), model, IMAGE)
    assert found["text"] == [RUSSIAN, THOUGHTS, "stop", 7]
    assert found["streamed"] == RUSSIAN
    assert found["last"] == [True, 2]
    assert found["tools"] == {"calls": BOTH, "answer": "The tool says: Snow in Paris."}
    assert found["image"] == SEEN
    assert found["generated"].startswith("You said")
    assert {"big:latest", "coder:latest"} <= set(found["listed"])
    assert "completion" in found["shown"]
    assert found["error"] == ["ResponseError", 404]
    assert found["aborted"] == "AbortError"
    (endless,) = [one for one in capable.engine.calls if b"wait for ever" in one.body]
    await asyncio.wait_for(endless.left.wait(), 5)
    await until(lambda: capable.gateway.answering.running == 0, "all requests are over")
