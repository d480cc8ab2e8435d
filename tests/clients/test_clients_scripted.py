"""Clients of others against a model that calls tools, thinks and looks at images: each does all that it can."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from gateway_stage import until
from scripted_model import IMAGE

THOUGHTS, RUSSIAN = "Snow is cold. Мороз.", "Здравствуйте! Это ответ 😀."
WEATHER = {"city": "Omsk", "degrees": -5}
BOTH = ["Omsk", "Paris"]
SEEN = f"An image of {len('data:image/png;base64,' + IMAGE)} letters."
NAMES = ["big", "coder"]


def address(running: Any) -> str:
    return f"http://127.0.0.1:{running.port}"


async def all_over(running: Any) -> None:
    """What was broken off is over in the engine, too."""
    broken = [one for one in running.engine.calls if b"wait for ever" in one.body]
    assert broken
    for one in broken:
        await asyncio.wait_for(one.left.wait(), 5)
    await until(lambda: running.gateway.answering.running == 0, "all requests are over")


@pytest.mark.parametrize("model", NAMES)
async def test_npm_openai(capable, node, model):
    found = await node("openai", address(capable), model, IMAGE)
    assert found["chat"]["content"].startswith("You said ")
    assert found["chat"]["reason"] == "stop"
    assert found["chat"]["usage"]["prompt_tokens_details"]["cached_tokens"] == 4
    assert "".join(found["stream"]["pieces"]) == RUSSIAN
    assert len(found["stream"]["pieces"]) > 1
    assert found["stream"]["thoughts"] == THOUGHTS
    assert found["stream"]["usage"]["total_tokens"] == 9
    assert found["tools"] == {"last": "The tool says: Snow in Paris.", "called": BOTH}
    assert found["streamed_calls"] == [["weather", {"city": one}] for one in BOTH]
    assert found["parsed"] == WEATHER
    assert found["image"]["content"] == found["logprobs"] == SEEN
    assert found["response"] == [
        ["reasoning", THOUGHTS], ["function_call", "call_Omsk"], ["function_call", "call_Paris"],
    ]  # fmt: skip
    assert found["response_after_tools"] == "The tool says: Snow."
    assert found["response_stream"]["parsed"] == WEATHER
    assert found["response_stream"]["events"][0] == "response.created"
    assert found["response_stream"]["events"][-1] == "response.completed"
    assert {"big", "coder"} <= set(found["models"])
    assert found["errors"] == {
        "name": {"kind": "NotFoundError", "status": 404, "code": "model_not_found"},
        "type": {"kind": "BadRequestError", "status": 400, "code": None},
        "kept": {"kind": "BadRequestError", "status": 400, "code": None},
        "busy": {"kind": "InternalServerError", "status": 503, "code": None},
        "late": {"kind": "APIConnectionTimeoutError", "status": None, "code": None},
    }
    assert found["aborted"]
    await all_over(capable)


@pytest.mark.parametrize("model", NAMES)
async def test_the_ai_sdk(capable, node, model):
    found = await node("ai_sdk", address(capable), model, IMAGE)
    assert (found["text"]["thoughts"], found["text"]["reason"]) == (THOUGHTS, "stop")
    assert (found["text"]["usage"]["inputTokens"], found["text"]["usage"]["outputTokens"]) == (7, 2)
    assert (found["stream"]["text"], found["stream"]["thoughts"]) == (RUSSIAN, THOUGHTS)
    assert found["stream"]["usage"]["inputTokenDetails"]["cacheReadTokens"] == 4
    kinds = found["stream"]["kinds"]
    assert kinds.index("reasoning-delta") < kinds.index("text-delta") < kinds.index("finish")
    assert found["tools"] == {"called": BOTH, "text": "The tool says: Snow in Paris.", "steps": 2}
    assert found["streamed_tools"] == {
        "text": "The tool says: Snow in Paris.", "calls": [{"city": one} for one in BOTH],
    }  # fmt: skip
    assert found["object"] == found["streamed_object"] == WEATHER
    assert found["image"]["text"] == SEEN
    name, busy = found["errors"]["name"], found["errors"]["busy"]
    assert (name["api"], name["status"], name["retry"]) == (True, 404, False)
    assert "nobody" in name["message"]
    assert (busy["api"], busy["status"], busy["retry"]) == (True, 503, True)
    assert found["aborted"]
    await all_over(capable)


@pytest.mark.parametrize("model", NAMES)
async def test_the_ai_sdk_in_other_dialects(capable, node, model):
    found = await node("ai_sdk_dialects", address(capable), model, IMAGE)
    for dialect, one in found.items():
        assert (one["text"], one["thoughts"], one["reason"]) == (RUSSIAN, THOUGHTS, "stop"), dialect
        assert (one["streamed"]["text"], one["streamed"]["thoughts"]) == (RUSSIAN, THOUGHTS), dialect
        for usage in (one["usage"], one["streamed"]["usage"]):
            assert (usage["inputTokens"], usage["outputTokens"]) == (7, 2), dialect
            assert usage["inputTokenDetails"]["cacheReadTokens"] == 4, dialect
        assert one["tools"] == {"called": BOTH, "text": "The tool says: Snow in Paris.", "steps": 2}, dialect
        assert one["object"] == WEATHER, dialect
        assert one["image"] == SEEN, dialect
    # What the model thought before it called the tools came back to it, in both dialects.
    turns = [json.loads(one.body)["messages"] for one in capable.engine.calls]
    after_tools = [one for one in turns if one[-1]["role"] == "tool"]
    assert [one[-3].get("reasoning_content") for one in after_tools] == [THOUGHTS] * 2


@pytest.mark.parametrize("model", NAMES)
async def test_npm_anthropic(capable, node, model):
    found = await node("anthropic", address(capable), model, IMAGE)
    assert found["stream"]["blocks"] == [
        ["thinking", THOUGHTS], ["text", "Let me see."],
        ["tool_use", {"city": "Omsk"}], ["tool_use", {"city": "Paris"}],
    ]  # fmt: skip
    assert (found["stream"]["kinds"][0], found["stream"]["kinds"][-1]) == ("message_start", "message_stop")
    assert (found["usage"]["input_tokens"], found["usage"]["cache_read_input_tokens"]) == (3, 4)
    assert found["tools"] == {"called": BOTH, "text": "The tool says: Snow in Paris."}
    assert found["parsed"] == WEATHER
    assert found["image"] == SEEN
    assert found["errors"]["name"] == {"kind": "NotFoundError", "status": 404}
    assert found["errors"]["busy"]["status"] == 503
    assert found["errors"]["late"]["kind"] == "APIConnectionTimeoutError"
    assert found["aborted"]["kind"] == "APIUserAbortError"
    await all_over(capable)


@pytest.mark.parametrize("model", NAMES)
async def test_langchain(capable, python, model):
    found = await python("langchain_client", address(capable), model, IMAGE)
    for dialect in ("chat", "responses", "messages"):
        one = found[dialect]
        assert (one["text"], one["streamed"]) == (RUSSIAN, RUSSIAN), dialect
        assert one["pieces"] > 1, dialect
        for usage in (one["usage"], one["streamed_usage"]):
            assert (usage["input_tokens"], usage["output_tokens"]) == (7, 2), dialect
            assert usage["input_token_details"]["cache_read"] == 4, dialect
        assert one["tools"]["calls"] == [{"city": city} for city in BOTH], dialect
        assert one["tools"]["answer"] == "The tool says: Snow in Paris.", dialect
        assert one["object"]["city"] == "Omsk", dialect
        assert one["image"] == SEEN, dialect
        assert len(one["batch"]) == 3, dialect
    kind, status = found["error"]
    assert (kind.endswith("NotFoundError"), status) == (True, 404)
