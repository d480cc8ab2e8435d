"""The same list of behaviour on both real builds of llama.cpp: the bundled one and ``llama-server``."""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import signal
from pathlib import Path

import psutil
import pytest
from llama_engines import BUNDLED, OWN, Engines, cached, chat_body, checkpoint_of, said
from random_encoders import HIDDEN, write_encoder

from ansambl.domain.catalog import ModelKind
from ansambl.domain.engine import ExitReason
from ansambl.domain.errors import UnavailableError
from ansambl.domain.units import MIB
from ansambl.foundation.network import bound_socket
from ansambl.model_catalog.embedded import find

pytestmark = pytest.mark.engine

QUESTION = "What is the capital of France? Answer in one short sentence."


@pytest.fixture(params=[BUNDLED, OWN])
async def engines(request, tmp_path):
    found = Engines(request.param, tmp_path)
    yield found
    await found.close()
    assert not [child for child in psutil.Process().children(recursive=True) if child.status() != "zombie"]


@pytest.fixture
def checkpoint(embedded_model_folder):
    return find(embedded_model_folder)


@pytest.fixture
def content(checkpoint):
    return Path(checkpoint.path).read_bytes()


async def until(condition, what, seconds=15.0):
    try:
        async with asyncio.timeout(seconds):
            while not await condition():  # noqa: ASYNC110 - what is waited for is another process
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"waited {seconds:.0f} s in vain: {what}")


async def test_it_starts_answers_and_leaves_nothing(engines, checkpoint):
    async with engines.started(checkpoint) as running:
        status = running.instance.status()
        pid, port = status.pid, running.client.base_url.port
        answer = await running.post("/v1/chat/completions", chat_body(QUESTION))
        assert "Paris" in said(answer)
        usage = answer["usage"]
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        assert (await running.client.get("/v1/models")).json()["data"][0]["id"] == "tiny"
        refused = await running.client.get("/v1/models", headers={"Authorization": "Bearer another"})
        assert refused.status_code == 401
    assert not psutil.pid_exists(pid)
    bound_socket("127.0.0.1", port).close()


async def test_a_stream_says_the_same_and_counts_its_tokens(engines, checkpoint):
    async with engines.started(checkpoint) as running:
        whole = await running.post("/v1/chat/completions", chat_body(QUESTION))
        words, usage = "", None
        body = chat_body(QUESTION, stream=True, stream_options={"include_usage": True})
        async with running.client.stream("POST", "/v1/chat/completions", json=body) as answer:
            lines = [line async for line in answer.aiter_lines() if line.startswith("data: ")]
        assert lines[-1] == "data: [DONE]"
        for line in lines[:-1]:
            event = json.loads(line.removeprefix("data: "))
            usage = event.get("usage") or usage
            words += "".join(one["delta"].get("content") or "" for one in event["choices"])
        assert words == said(whole)
        assert usage["completion_tokens"] == whole["usage"]["completion_tokens"]


async def test_it_tells_what_it_found_in_its_cache(engines, checkpoint):
    async with engines.started(checkpoint) as running:
        first = await running.post("/v1/chat/completions", chat_body(QUESTION, id_slot=0))
        second = await running.post("/v1/chat/completions", chat_body(QUESTION, id_slot=0))
        assert cached(first) == 0
        # One token is always read, so that there is something to go on from.
        assert cached(second) == second["usage"]["prompt_tokens"] - 1
        told = await running.metrics()
        assert told.cached_prompt_tokens == cached(second)
        assert told.prompt_tokens == first["usage"]["prompt_tokens"] + 1
        assert told.output_tokens == sum(one["usage"]["completion_tokens"] for one in (first, second))
        assert told.prefill_rate > 0
        assert told.decode_rate > 0
        assert (told.requests_running, told.requests_waiting) == (0, 0)


async def test_a_client_that_leaves_stops_the_writing(engines, checkpoint):
    async with engines.started(checkpoint) as running:
        body = chat_body("Count from one to a thousand.", tokens=900, stream=True, ignore_eos=True)
        async with running.client.stream("POST", "/v1/chat/completions", json=body) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    break

        async def idle():
            slots = (await running.client.get("/slots")).json()
            return not any(one["is_processing"] for one in slots)

        await until(idle, "no slot is at work")
        assert (await running.metrics()).output_tokens < 900


async def test_it_tells_its_memory_while_it_loads(engines, checkpoint):
    async with engines.started(checkpoint):
        load = engines.loads[-1]
    # 30 layers, 3 heads of 64 for keys and for values, 2 bytes each, 2 × 1,024 cells.
    assert load.memory["kv_cache"] == 30 * 3 * (64 + 64) * 2 * 2048
    assert load.memory["weights"] == pytest.approx(checkpoint.size, rel=0.03)
    assert load.memory["compute"] > 0
    assert (load.context, load.kv_tokens) == (1024, 2048)
    assert load.resident > load.memory["kv_cache"]


async def test_settings_and_the_kv_type_reach_it(engines, checkpoint):
    async with engines.started(checkpoint, settings={"n_batch": 256, "n_ubatch": 64}, kv_type="q8_0") as running:
        load = engines.loads[-1]
        log = "\n".join(running.instance.log_tail(400))
        assert "Paris" in said(await running.post("/v1/chat/completions", chat_body(QUESTION)))
    # q8_0 keeps 32 numbers in 34 bytes; the log tells hundredths of MiB.
    assert load.memory["kv_cache"] == pytest.approx(30 * 3 * (64 + 64) * 2048 * 34 / 32, abs=MIB / 50)
    assert re.search(r"n_batch += 256\b", log)
    assert re.search(r"n_ubatch += 64\b", log)


async def test_vectors_of_an_encoder(engines, tmp_path):
    write_encoder(tmp_path / "encoder.gguf")
    async with engines.started(checkpoint_of(tmp_path / "encoder.gguf"), kind=ModelKind.EMBEDDING) as running:
        texts = ["hello world", "something else", "hello world"]
        answer = await running.post("/v1/embeddings", {"model": "tiny", "input": texts})
        vectors = [one["embedding"] for one in answer["data"]]
        assert [len(one) for one in vectors] == [HIDDEN] * 3
        assert [math.hypot(*one) for one in vectors] == pytest.approx([1.0] * 3, abs=1e-4)
        assert vectors[0] == pytest.approx(vectors[2], abs=1e-5)
        assert sum(a * b for a, b in zip(vectors[0], vectors[1], strict=True)) < 0.999
        assert answer["usage"]["prompt_tokens"] > 0
        # A text that fills the context is read in one step.
        long = await running.post("/v1/embeddings", {"model": "tiny", "input": "a " * 500})
        assert len(long["data"][0]["embedding"]) == HIDDEN
    assert engines.adapter.conversation_calls(running.placement) is None


async def test_scores_of_a_reranker(engines, tmp_path):
    write_encoder(tmp_path / "reranker.gguf", scores=True)
    async with engines.started(checkpoint_of(tmp_path / "reranker.gguf"), kind=ModelKind.RERANKER) as running:
        body = {"model": "tiny", "query": "hello", "documents": ["hello world", "zzz yyy", "hello world"]}
        answer = await running.post("/v1/rerank", body)
        scores = {one["index"]: one["relevance_score"] for one in answer["results"]}
        assert scores[0] == pytest.approx(scores[2], abs=1e-4)
        assert scores[0] != pytest.approx(scores[1], abs=1e-4)


async def test_a_chat_model_makes_no_vectors(engines, checkpoint):
    async with engines.started(checkpoint) as running:
        refused = await running.client.post("/v1/embeddings", json={"model": "tiny", "input": "hello"})
        assert refused.status_code == 501


async def test_a_crash_is_told_and_mended(engines, checkpoint):
    async with engines.started(checkpoint) as running:
        pid = running.instance.status().pid
        os.kill(pid, signal.SIGSEGV)

        async def again():
            return running.instance.status().pid not in {pid, None}

        await until(again, "it was started again")
        await running.instance.ensure_ready()
        told = next(one for one in engines.events.recent() if one.kind == "exited").message.render()
        assert "crashed (SIGSEGV)" in told


async def test_a_build_for_another_processor_is_not_tried_again(engines, checkpoint):
    async with engines.started(checkpoint) as running:
        os.kill(running.instance.status().pid, signal.SIGILL)

        async def given_up():
            return any(one.kind == "failed" for one in engines.events.recent())

        await until(given_up, "it was given up")
        with pytest.raises(UnavailableError, match="built for another processor"):
            await running.instance.ensure_ready()
    assert [one.kind for one in engines.events.recent()].count("started") == 1


@pytest.mark.parametrize(("damage", "reason"), [
    (lambda content: content[: len(content) // 3], ExitReason.CHECKPOINT_DAMAGED),
    (lambda content: b"<html>" + content[6:], ExitReason.CHECKPOINT_DAMAGED),
    (lambda content: content.replace(b"llama", b"llamq", 1), ExitReason.UNSUPPORTED_MODEL),
])  # fmt: skip
async def test_a_bad_file_is_explained_once(engines, content, tmp_path, damage, reason):
    path = tmp_path / "bad.gguf"
    path.write_bytes(damage(content))
    instance = engines.instance(engines.placement(checkpoint_of(path, 8192)))
    words = {ExitReason.CHECKPOINT_DAMAGED: "is damaged or incomplete", ExitReason.UNSUPPORTED_MODEL: "llamq"}[reason]
    with pytest.raises(UnavailableError, match=words):
        await instance.ensure_ready()
    assert [one.kind for one in engines.events.recent()].count("started") == 1
