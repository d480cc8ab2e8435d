"""Models asked from threads: through the coordinator of the running product, and at an address by themselves."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest
from gateway_stage import reply

from ansambl.app.knowledge.asking import AddressedModel, RuntimeModel
from ansambl.app.knowledge.model_embedder import ModelEmbedder
from ansambl.app.knowledge.prefixes import Prefixes
from ansambl.app.knowledge.spaces import SpaceBook
from ansambl.domain.errors import EngineError, UnavailableError
from ansambl.domain.plan import Attachment


def vectors_of(body):
    texts = json.loads(body)["input"]
    rows = [{"index": number, "embedding": [float(len(one)), 3.0]} for number, one in enumerate(texts)]
    return json.dumps({"data": rows}).encode()


async def answer_vectors(call, writer):
    writer.write(reply(vectors_of(call.body)))
    await writer.drain()
    return True


async def test_vectors_come_through_the_coordinator_with_the_name_that_the_engine_knows(running, tmp_path):
    running.engine.script = answer_vectors
    asks = RuntimeModel(running.coordinator, asyncio.get_running_loop(), running.instance.model)
    embedder = ModelEmbedder(asks, "far", Prefixes("query: ", "passage: "), SpaceBook(tmp_path / "spaces.json"))
    rows = await asyncio.to_thread(embedder.passages, ["one", "another"])
    assert rows.shape == (2, 2)
    question = await asyncio.to_thread(embedder.query, "why")
    assert np.isclose(np.linalg.norm(question), 1.0)
    first, second = running.engine.calls
    assert first.path.endswith("/v1/embeddings")
    assert json.loads(first.body) == {"model": "there", "input": ["passage: one", "passage: another"]}
    assert json.loads(second.body)["input"] == ["query: why"]
    # Nothing holds a place any more.
    assert running.coordinator.views()[running.instance.model].running == 0


async def test_a_refusal_is_told_and_an_overloaded_engine_may_be_asked_again(running):
    asks = RuntimeModel(running.coordinator, asyncio.get_running_loop(), running.instance.model)
    running.engine.script = running.engine.fixed(reply(b'{"error": "input is too large"}', b"400 Bad Request"))
    with pytest.raises(EngineError, match="input is too large"):
        await asyncio.to_thread(asks.ask, "/embeddings", {"input": ["x"]}, urgent=False)
    running.engine.script = running.engine.fixed(reply(b"not json"))
    with pytest.raises(EngineError, match="not json"):
        await asyncio.to_thread(asks.ask, "/embeddings", {"input": ["x"]}, urgent=True)
    running.engine.script = running.engine.fixed(reply(b'{"error": "busy"}', b"429 Too Many Requests"))
    with pytest.raises(UnavailableError, match="busy"):
        await asyncio.to_thread(asks.ask, "/embeddings", {"input": ["x"]}, urgent=True)


async def test_what_is_asked_when_ansambl_stops_ends_at_once_and_nothing_is_asked_after(running):
    reached = asyncio.Event()

    async def silent(call, writer):
        reached.set()
        await asyncio.Event().wait()

    running.engine.script = silent
    asks = RuntimeModel(running.coordinator, asyncio.get_running_loop(), running.instance.model)
    asking = asyncio.create_task(asyncio.to_thread(asks.ask, "/embeddings", {"input": ["x"]}, urgent=False))
    await asyncio.wait_for(reached.wait(), 10)
    asks.close()
    with pytest.raises(UnavailableError, match="stopping"):
        await asyncio.wait_for(asking, 10)
    with pytest.raises(UnavailableError, match="stopping"):
        await asyncio.to_thread(asks.ask, "/embeddings", {"input": ["x"]}, urgent=True)


async def test_a_model_at_an_address_is_asked_while_nothing_runs(running):
    running.engine.script = answer_vectors
    asks = AddressedModel(Attachment("far", f"http://127.0.0.1:{running.engine.port}/v1", "m2", key="k-secret"))
    found = await asyncio.to_thread(asks.ask, "/embeddings", {"input": ["abc"]}, urgent=True)
    assert found["data"][0]["embedding"] == [3.0, 3.0]
    (call,) = running.engine.calls
    assert json.loads(call.body)["model"] == "m2"
    assert b"Bearer k-secret" in call.head
    asks.close()
    dead = AddressedModel(Attachment("far", "http://127.0.0.1:1/v1", "m2"))
    with pytest.raises(UnavailableError, match="does not answer"):
        await asyncio.to_thread(dead.ask, "/embeddings", {"input": ["abc"]}, urgent=True)
