"""Transformers' own server, on the processor: what its adapter promises."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from ansambl.domain.engine import EngineOptions, ExitReason, Installed
from ansambl.domain.errors import UnavailableError
from ansambl.domain.model import Checkpoint
from ansambl.domain.plan import Placement
from ansambl.domain.units import MIB, Bytes
from ansambl.engines.adapters.transformers_serve import TransformersServe
from ansambl.testing.tiny_checkpoint import write_tiny_checkpoint

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

ADAPTER = TransformersServe()


def placement(tiny: Path, found: Installed, name: str = "checkpoint", **changes: Any) -> Placement:
    checkpoint = Checkpoint(
        reference=name, path=str(tiny / name), format="safetensors", size=Bytes(1_700_000), identity=name
    )
    plain = Placement(
        model="tiny", engine="transformers", checkpoint=checkpoint, context=2048, parallel=1, threads=1,
        installed=found,
    )  # fmt: skip
    return dataclasses.replace(plain, **changes)


@pytest.fixture(scope="module")
def found(installed: Callable[[str], Installed]) -> Installed:
    return installed("transformers")


@pytest.fixture(scope="module")
def running(bench: Any, tiny: Path, found: Installed) -> Any:
    return bench.instance(placement(tiny, found))


def body(name: str | None, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "What is the answer?"}]
    return {"model": name, "messages": messages, "max_tokens": 16, "temperature": 0, **fields}


async def until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for is another process
            await asyncio.sleep(0.05)


async def test_it_answers_whole_and_streamed(bench: Any, running: Any) -> None:
    endpoint = await running.ensure_ready()
    assert bench.loads[-1].resident > 200 * MIB
    async with httpx.AsyncClient(trust_env=False, timeout=120) as client:
        path = f"{endpoint.base_url}/chat/completions"
        whole = (await client.post(path, json=body(endpoint.name))).raise_for_status().json()
        words = whole["choices"][0]["message"]["content"]
        assert whole["usage"]["completion_tokens"] == 16
        parts = []
        async with client.stream("POST", path, json=body(endpoint.name, stream=True)) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: {"):
                    event = json.loads(line.removeprefix("data: "))
                    parts += [one["delta"].get("content") or "" for one in event["choices"]]
        assert "".join(parts) == words
        other = await client.post(path, json=body("another"))
        assert other.status_code == 400, "it answers for its own checkpoint only"


async def test_a_request_whose_client_leaves_frees_the_engine(running: Any) -> None:
    """Its processor comes to rest long before the answer would have been written."""
    endpoint = await running.ensure_ready()
    engine = psutil.Process(running.status().pid)
    async with httpx.AsyncClient(trust_env=False, timeout=120) as client:
        wanted = body(endpoint.name, stream=True, max_tokens=100_000)
        async with client.stream("POST", f"{endpoint.base_url}/chat/completions", json=wanted) as answer:
            async for _ in answer.aiter_lines():
                break
    await until(lambda: engine.cpu_percent(0.5) < 20)


async def test_killed_it_is_explained_and_a_stop_leaves_no_process(bench: Any, running: Any) -> None:
    await running.ensure_ready()
    os.kill(running.status().pid, signal.SIGKILL)
    await until(lambda: bench.told("exited"))
    assert "killed from outside" in bench.told("exited")[-1]
    await running.ensure_ready()
    engine = psutil.Process(running.status().pid)
    family = [engine, *engine.children(recursive=True)]
    await running.stop()
    assert not [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


async def failed(bench: Any, wanted: Placement) -> str:
    instance = bench.instance(wanted)
    with pytest.raises(UnavailableError) as refusal:
        await instance.ensure_ready()
    await instance.stop()
    return str(refusal.value)


async def test_a_bad_flag_is_explained(bench: Any, tiny: Path, found: Installed) -> None:
    wanted = placement(tiny, found, options=EngineOptions(arguments=("--no-such-flag",)))
    assert "No such option '--no-such-flag'" in await failed(bench, wanted)


async def test_a_model_that_it_does_not_know_is_explained(bench: Any, tiny: Path, found: Installed) -> None:
    write_tiny_checkpoint(tiny / "strange-too", architecture="NoSuchForCausalLM")
    message = await failed(bench, placement(tiny, found, "strange-too"))
    assert "does not support this model" in message
    assert "NoSuchForCausalLM" in message


async def test_a_damaged_checkpoint_is_explained(bench: Any, tiny: Path, found: Installed) -> None:
    weights = write_tiny_checkpoint(tiny / "damaged-too") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100_000])
    assert "damaged or incomplete" in await failed(bench, placement(tiny, found, "damaged-too"))


async def test_a_taken_port_is_explained(tiny: Path, found: Installed, tmp_path: Path) -> None:
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
