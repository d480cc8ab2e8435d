"""vLLM itself, on the processor: what its adapter promises."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import re
import signal
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import pytest_asyncio

from ansambl.domain.catalog import ModelKind
from ansambl.domain.engine import EngineOptions, ExitReason, Installed, NotUsable
from ansambl.domain.errors import AnsamblError, NotSupportedError, UnavailableError
from ansambl.domain.instance import Endpoint
from ansambl.domain.lora import LoraAdapter
from ansambl.domain.model import Checkpoint
from ansambl.domain.plan import Placement
from ansambl.domain.units import MIB, Bytes
from ansambl.engines.adapter import EngineCall
from ansambl.engines.adapters.vllm import Vllm
from ansambl.testing.tiny_checkpoint import write_tiny_checkpoint

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

CONTEXT = 2048
KV_CACHE = 64 * MIB
"""A token takes 2 layers × 2 (keys, values) × 2 heads × 32 numbers × 4 bytes = 1 KiB: room for 65,536 tokens."""

ADAPTER = Vllm()
QUESTION = "What is the answer to the first question?"


def placement(tiny: Path, found: Installed, name: str = "checkpoint", **changes: Any) -> Placement:
    checkpoint = Checkpoint(
        reference=name, path=str(tiny / name), format="safetensors", size=Bytes(1_700_000), identity=name, context=4096
    )
    plain = Placement(
        model="tiny", engine="vllm", checkpoint=checkpoint, context=CONTEXT, parallel=2, threads=1,
        settings={"kv_cache_memory_bytes": KV_CACHE}, installed=found,
    )  # fmt: skip
    return dataclasses.replace(plain, **changes)


def lora(tiny: Path, name: str) -> LoraAdapter:
    files = {"peft": str(tiny / name)}
    return LoraAdapter(name=name, model="tiny", files=files, rank=8, size=Bytes(60_000), identity=name)


class Client:
    """Talks to a running vLLM as the gateway does: with its key, at its root."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._root = endpoint.base_url.removesuffix("/v1")
        self.http = httpx.AsyncClient(
            base_url=self._root, headers={"Authorization": f"Bearer {endpoint.key}"}, trust_env=False, timeout=120
        )

    async def call(self, call: EngineCall) -> httpx.Response:
        body = None if call.method == "GET" else dict(call.body)
        return await self.http.request(call.method, call.path, json=body)

    def body(self, text: str = QUESTION, **fields: Any) -> dict[str, Any]:
        messages = [{"role": "user", "content": text}]
        return {"model": "tiny", "messages": messages, "max_tokens": 16, "temperature": 0, **fields}

    async def chat(self, text: str = QUESTION, **fields: Any) -> dict[str, Any]:
        answer = await self.http.post("/v1/chat/completions", json=self.body(text, **fields))
        return dict(answer.raise_for_status().json())

    async def metrics(self) -> Any:
        return ADAPTER.read_metrics((await self.http.get("/metrics")).text)


def said(answer: dict[str, Any]) -> str:
    return str(answer["choices"][0]["message"]["content"])


async def until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def found(installed: Callable[[str], Installed]) -> Installed:
    return installed("vllm")


@pytest.fixture(scope="module")
def both(tiny: Path) -> tuple[LoraAdapter, LoraAdapter]:
    return lora(tiny, "pirate"), lora(tiny, "poet")


@pytest.fixture(scope="module")
def running(bench: Any, tiny: Path, found: Installed) -> Any:
    """One engine for all that need no special start, ready for LoRA adapters."""
    settings = {"kv_cache_memory_bytes": KV_CACHE, "enable_lora": True, "max_loras": 2}
    return bench.instance(placement(tiny, found, settings=settings))


@pytest_asyncio.fixture(loop_scope="module")
async def client(running: Any) -> AsyncIterator[Client]:
    made = Client(await running.ensure_ready())
    yield made
    await made.http.aclose()


async def test_it_is_found_with_its_version_and_build(found: Installed) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", found.version)
    assert found.build == "cpu"
    assert found.path


async def test_it_tells_its_memory_at_load(bench: Any, running: Any) -> None:
    await running.ensure_ready()
    facts = bench.loads[-1]
    # It rounds to hundredths of a GiB.
    assert abs(facts.memory["kv_cache"] - KV_CACHE) < 0.006 * 1024 * MIB
    assert facts.context == CONTEXT
    assert facts.kv_tokens == KV_CACHE // 1024
    assert facts.resident > 300 * MIB
    assert facts.load_seconds > 1


async def test_it_answers_whole_and_streamed(client: Client) -> None:
    whole = await client.chat()
    assert whole["usage"]["completion_tokens"] == 16
    assert said(whole).isascii()
    assert said(await client.chat()) == said(whole)
    body = client.body(stream=True, stream_options={"include_usage": True})
    parts, usage = [], None
    async with client.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                event = json.loads(line.removeprefix("data: "))
                usage = event.get("usage") or usage
                parts += [one["delta"].get("content") or "" for one in event["choices"]]
    assert "".join(parts) == said(whole)
    assert usage["completion_tokens"] == 16


async def test_it_asks_for_its_key(running: Any, client: Client) -> None:
    answer = await client.http.post("/v1/chat/completions", json=client.body(), headers={"Authorization": "Bearer x"})
    assert answer.status_code == 401
    async with httpx.AsyncClient(base_url=client.http.base_url, trust_env=False, timeout=30) as stranger:
        # vLLM's own key leaves these open: chats, and files loaded as LoRA adapters.
        for path, body in (("/invocations", client.body()), ("/adapters", {"name": "x", "src": "/nowhere"})):
            assert (await stranger.post(path, json=body)).status_code == 401
        assert (await stranger.get("/metrics")).status_code == 401
        assert (await stranger.get("/health")).status_code == 200
    words = " ".join(psutil.Process(running.status().pid).cmdline())
    assert client.http.headers["Authorization"].removeprefix("Bearer ") not in words


async def test_cached_tokens_and_rates_are_reported(client: Client) -> None:
    before = await client.metrics()
    story = "time " * 700
    first = (await client.chat(story, max_tokens=8))["usage"]
    second = (await client.chat(story, max_tokens=8))["usage"]
    assert first["prompt_tokens_details"]["cached_tokens"] < 200
    # It caches whole blocks of 128 tokens on the processor.
    cached = second["prompt_tokens_details"]["cached_tokens"]
    assert second["prompt_tokens"] - 256 <= cached < second["prompt_tokens"]

    async def counted() -> Any:
        now = await client.metrics()
        return now if now.output_tokens == before.output_tokens + 16 else None

    after = await until(counted)
    assert after.prompt_tokens - before.prompt_tokens == first["prompt_tokens"] + second["prompt_tokens"]
    assert after.cached_prompt_tokens - before.cached_prompt_tokens >= cached
    assert after.decode_rate > 0
    assert after.prefill_rate > 0
    assert after.requests_running == 0
    assert 0 <= after.kv_cache_share <= 1


async def test_its_own_messages_and_responses_keep_what_a_translation_needs(client: Client) -> None:
    """Why they are passed on untouched, and when not: `EngineTraits.native`, `salted`, and `gateway.native`."""
    story = "time " * 700
    message = {"model": "tiny", "max_tokens": 4, "messages": [{"role": "user", "content": story}]}
    response = {"model": "tiny", "max_output_tokens": 4, "input": story, "store": False}
    cached = {"/v1/messages": [], "/v1/responses": []}
    for salt in ("one", "one", "two"):
        for path, body in (("/v1/messages", message), ("/v1/responses", response)):
            # A salt of its own for each dialect: both read the same prompt.
            answer = await client.http.post(path, json={**body, "cache_salt": salt + path[-5:]})
            usage = answer.raise_for_status().json()["usage"]
            cached[path].append(
                usage["cache_read_input_tokens"] if path == "/v1/messages"
                else usage["input_tokens_details"]["cached_tokens"]
            )  # fmt: skip
    for first, second, other in cached.values():
        assert (first, other) == (0, 0)
        assert second >= 512
    cut = await client.http.post("/v1/responses", json=response)
    assert cut.json()["incomplete_details"] == {"reason": "max_output_tokens"}
    counted = await client.http.post("/v1/messages/count_tokens", json={**message, "max_tokens": 1})
    assert counted.json()["input_tokens"] > 640
    source = {"type": "text", "media_type": "text/plain", "data": "words"}
    document = [{"role": "user", "content": [{"type": "document", "source": source}]}]
    assert (await client.http.post("/v1/messages", json={**message, "messages": document})).status_code == 400


async def test_what_it_serves_beside_the_chat(client: Client) -> None:
    body = {"model": "tiny", "prompt": "a", "max_tokens": 2}
    assert (await client.http.post("/v1/completions", json=body)).json()["object"] == "text_completion"
    # A model that writes has no other routes at all.
    for path in ("/v1/embeddings", "/v1/rerank", "/v1/audio/transcriptions", "/v1/audio/speech"):
        assert (await client.http.post(path, json={"model": "tiny", "input": "a"})).status_code == 404


async def test_a_request_whose_client_leaves_frees_the_engine(client: Client) -> None:
    """It stops in mid-answer. This model ends its longest answer in 3 s: a busy machine gets several tries."""

    async def idle() -> Any:
        now = await client.metrics()
        return now if now.requests_running == 0 and now.requests_waiting == 0 else None

    longest = CONTEXT - 200
    written = []
    for _ in range(5):
        before = await until(idle)
        body = client.body(stream=True, max_tokens=longest, ignore_eos=True)
        async with client.http.stream("POST", "/v1/chat/completions", json=body) as answer:
            async for _line in answer.aiter_lines():
                break
        written.append((await until(idle, 20)).output_tokens - before.output_tokens)
        if written[-1] < longest:
            break
    assert written[-1] < longest, written


async def test_lora_adapters_come_and_go_without_a_restart(
    bench: Any, running: Any, client: Client, both: tuple[LoraAdapter, LoraAdapter]
) -> None:
    """Base, one, other, base, one, in turn and at once: each answers as itself, and none as another."""
    pid = running.status().pid
    calls = ADAPTER.lora_calls(bench.loads[-1].placement)
    assert not isinstance(calls, NotUsable)
    path = "/v1/chat/completions"

    async def ask(name: str | None) -> httpx.Response:
        body = json.dumps(client.body(model="whatever the client wrote")).encode()
        return await client.http.post(
            path, content=calls.applied(body, path, name), headers={"Content-Type": "application/json"}
        )

    for one in both:
        (await client.call(calls.load(one))).raise_for_status()
    assert calls.read_listed((await client.call(calls.listed())).content) == {"pirate", "poet"}
    order = (None, "pirate", "poet", None, "pirate", "poet", None)
    answers = [said((await ask(name)).raise_for_status().json()) for name in order]
    assert answers[0] == answers[3] == answers[6]
    assert answers[1] == answers[4]
    assert answers[2] == answers[5]
    assert len(set(answers)) == 3
    together = await asyncio.gather(*(ask(name) for name in order))
    assert [said(one.raise_for_status().json()) for one in together] == answers
    for one in both:
        (await client.call(calls.unload(one))).raise_for_status()
    assert calls.read_listed((await client.call(calls.listed())).content) == frozenset()
    assert (await ask("pirate")).status_code == 404
    assert said((await ask(None)).raise_for_status().json()) == answers[0]
    assert running.status().pid == pid


async def test_an_instance_follows_what_was_added_and_removed(
    running: Any, client: Client, both: tuple[LoraAdapter, LoraAdapter]
) -> None:
    """As ``ansambl lora add`` and ``remove`` ask it to: the engine that runs loads and unloads."""
    await running.ensure_ready()
    pid, calls = running.status().pid, running.loras()

    async def listed() -> frozenset[str] | None:
        return calls.read_listed((await client.call(calls.listed())).content)

    async def lists(names: set[str]) -> bool:
        return await listed() == names

    assert running.set_loras(both) is False, "it needs no restart"
    await running.use_lora("poet")
    assert "poet" in (await listed() or ())
    running.end_lora("poet")
    await until(lambda: lists({"pirate", "poet"}))
    assert running.set_loras(()) is False
    await until(lambda: lists(set()))
    assert running.status().pid == pid


async def test_sleep_is_not_supported_by_this_build(running: Any, tiny: Path, found: Installed) -> None:
    refusal = ADAPTER.sleep_calls(placement(tiny, found))
    assert isinstance(refusal, NotUsable)
    assert "not supported by this build" in refusal.reason.render()
    wanted = placement(tiny, found, settings={"enable_sleep_mode": True})
    with pytest.raises(NotSupportedError, match="not supported by this build"):
        ADAPTER.launch_spec(wanted, port=1, secret="s")
    await running.ensure_ready()
    with pytest.raises(AnsamblError, match="not supported by this build"):
        await running.sleep()


async def test_what_we_refuse_the_engine_refuses_too(bench: Any, tiny: Path, found: Installed) -> None:
    """Told to sleep past our refusal, this build does not start: the refusal is true."""
    wanted = placement(tiny, found, options=EngineOptions(arguments=("--enable-sleep-mode",)))
    assert "Sleep mode is not supported" in await failed(bench, wanted)


async def test_its_worker_killed_is_explained_and_it_comes_back(bench: Any, running: Any) -> None:
    await running.ensure_ready()
    engine = psutil.Process(running.status().pid)
    family = engine.children(recursive=True)
    assert len(family) >= 2, "the engine's core and its worker are processes of their own"
    worker = max(family, key=lambda one: one.memory_info().rss)
    count = len(bench.told("exited"))
    os.kill(worker.pid, signal.SIGKILL)
    await until(lambda: len(bench.told("exited")) > count)
    assert bench.told("exited")[-1]
    endpoint = await running.ensure_ready()
    again = Client(endpoint)
    assert said(await again.chat())
    await again.http.aclose()


async def test_killed_it_is_explained_and_nothing_of_it_is_left(bench: Any, running: Any) -> None:
    await running.ensure_ready()
    engine = psutil.Process(running.status().pid)
    family = {one.pid for one in engine.children(recursive=True)}
    count = len(bench.told("exited"))
    os.kill(engine.pid, signal.SIGKILL)
    await until(lambda: len(bench.told("exited")) > count)
    assert "killed from outside" in bench.told("exited")[-1]
    await until(lambda: not any(psutil.pid_exists(one) for one in family))


async def test_a_stop_leaves_no_process(running: Any) -> None:
    await running.ensure_ready()
    family = psutil.Process(running.status().pid).children(recursive=True)
    assert family
    await running.stop()
    assert not [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


async def failed(bench: Any, wanted: Placement, port: int | None = None) -> str:
    instance = bench.instance(wanted, port)
    with pytest.raises(UnavailableError) as refusal:
        await instance.ensure_ready()
    await instance.stop()
    return str(refusal.value)


async def test_a_bad_flag_is_explained(bench: Any, tiny: Path, found: Installed) -> None:
    wanted = placement(tiny, found, options=EngineOptions(arguments=("--no-such-flag",)))
    assert "unrecognized arguments: --no-such-flag" in await failed(bench, wanted)


async def test_a_model_that_it_does_not_know_is_explained(bench: Any, tiny: Path, found: Installed) -> None:
    write_tiny_checkpoint(tiny / "strange", architecture="NoSuchForCausalLM")
    assert "does not know models of the kind NoSuchForCausalLM" in await failed(
        bench, placement(tiny, found, "strange")
    )


async def test_a_damaged_checkpoint_is_explained(bench: Any, tiny: Path, found: Installed) -> None:
    weights = write_tiny_checkpoint(tiny / "damaged") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100_000])
    assert "damaged or incomplete" in await failed(bench, placement(tiny, found, "damaged"))


async def test_too_little_memory_names_the_context_that_fits(bench: Any, tiny: Path, found: Installed) -> None:
    """The KV cache holds 1,024 tokens: it says so, and with that context it starts."""
    wanted = placement(tiny, found, settings={"kv_cache_memory_bytes": 1 * MIB})
    message = await failed(bench, wanted)
    match = re.search(r"set context to (\d+) or lower", message)
    assert match, message
    # A block of 128 tokens is its own.
    assert 1024 - 128 <= int(match[1]) <= 1024


async def test_an_absurd_context_is_refused(bench: Any, tiny: Path, found: Installed) -> None:
    """By us where the checkpoint says what it was trained for; by the engine's words where it does not."""
    with pytest.raises(NotSupportedError, match="was trained for 4096 tokens"):
        ADAPTER.launch_spec(placement(tiny, found, context=1_000_000), port=1, secret="s")
    unknown = placement(tiny, found, context=1_000_000)
    silent = dataclasses.replace(unknown, checkpoint=dataclasses.replace(unknown.checkpoint, context=None))
    assert "the model was trained for 4096 tokens; lower it" in await failed(bench, silent)


async def test_a_taken_port_is_explained(tiny: Path, found: Installed, tmp_path: Path) -> None:
    """Started past our own look at the port, as when another program is quicker."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        spec = ADAPTER.launch_spec(placement(tiny, found), port=other.getsockname()[1], secret="s")
        log = tmp_path / "log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *spec.argv, env={**os.environ, **spec.environment}, stdout=output, stderr=output
            )
            code = await asyncio.wait_for(process.wait(), 120)
    assert ADAPTER.explain_exit(code, log.read_text().splitlines()).reason is ExitReason.PORT_TAKEN


async def test_an_embedding_model_gives_vectors(bench: Any, tiny: Path, found: Installed) -> None:
    instance = bench.instance(placement(tiny, found, kind=ModelKind.EMBEDDING))
    one = Client(await instance.ensure_ready())
    body = {"model": "tiny", "input": ["the time", "the people"]}
    vectors = [each["embedding"] for each in (await one.http.post("/v1/embeddings", json=body)).json()["data"]]
    await one.http.aclose()
    await instance.stop()
    assert [len(each) for each in vectors] == [128, 128]
    assert vectors[0] != vectors[1]
