"""``ansambl up`` with an engine of its own: roles, LoRA adapters and memory, through the gateway."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from product import Started, alive, run_command, start_product, stream_events, wait_for

from ansambl.domain.engine import Installed
from ansambl.domain.measurement import Measurement, machine_key
from ansambl.foundation.paths import DataPaths
from ansambl.hardware import inventory
from ansambl.runtime.measurements import read_measurements

pytestmark = pytest.mark.timeout(600)

DATA_VARIABLE = "ANSAMBL_TEST_ENGINES"

PROGRAM = """
[engines.{engine}]
program = "{program}"
"""
CONFIG = """
[models.tiny]
checkpoint = "{checkpoint}"
engine = "{engine}"
context = 2048
parallel = 2
{settings}
[roles.plain]
model = "tiny"
instruction = "Answer in one line."
temperature = 0.0
"""
VLLM_SETTINGS = """
[models.tiny.settings]
kv_cache_memory_bytes = 67108864
enable_lora = true
"""
BARD = """
[roles.bard]
lora = "bard-adapter"
instruction = "Answer in one line."
temperature = 0.0
"""


@pytest.fixture
def up(tmp_path: Path, tiny: Path, installed: Callable[[str], Installed]) -> Iterator[Callable[..., Started]]:
    """Starts the product with one model on one engine; ends it, and looks that nothing is left."""
    running: list[Started] = []
    data = tmp_path / "data"

    def begin(engine: str, settings: str = "", more: str = "") -> Started:
        found = installed(engine)
        config = tmp_path / "ansambl.toml"
        content = CONFIG.format(engine=engine, checkpoint=tiny / "checkpoint", settings=settings) + more
        if found.managed:
            data.mkdir()
            (data / "engines").symlink_to(Path(os.environ[DATA_VARIABLE]) / "engines")
        else:
            content += PROGRAM.format(engine=engine, program=found.path)
        config.write_text(content, encoding="utf-8")
        started = start_product(data, config, tmp_path / f"up-{len(running)}.log", path="/health")
        started.client.timeout = 300
        running.append(started)
        return started

    yield begin
    for one in running:
        one.end()
    run_command("down", data=data)
    seen = set[int]().union(*(one.seen for one in running))
    wait_for(lambda: not alive(seen), f"no process left of {seen}", 30)


def words(started: Started, model: str, text: str = "What is the answer?", **fields: object) -> str:
    answer = started.chat(model, text, **fields)
    assert answer.status_code == 200, answer.text
    started.seen |= {started.instance("tiny")["pid"]}
    return str(answer.json()["choices"][0]["message"]["content"])


def stored(started: Started) -> list[Measurement]:
    """What its data folder holds of this machine, the newest first."""
    database = DataPaths(started.data).database
    return list(read_measurements(database, machine=machine_key(inventory.detect())))


def fitted(started: Started, tiny: Path, engine: str, **asked: object) -> dict[str, Any]:
    """What ``ansambl fit`` says of the checkpoint on this machine, with the context and the settings as it runs."""
    options = [word for name, value in asked.items() for word in (f"--{name}", str(value))]
    answer = started.command("fit", str(tiny / "checkpoint"), "--engine", engine, "--json", *options)
    assert answer.returncode == 0, answer.stderr
    return dict(json.loads(answer.stdout))


def held(fit: dict[str, Any]) -> int:
    """Bytes of RAM before anything is computed."""
    parts = fit["devices"][0]["parts"]
    return int(parts["weights"] + parts["kv_cache"] + parts["overhead"])


def test_a_role_on_vllm(up: Callable[..., Started], tiny: Path) -> None:
    """Whole, streamed and with cached tokens; its state tells memory and engine, and fit what was measured."""
    started = up("vllm", VLLM_SETTINGS)
    first = words(started, "plain")
    assert first
    assert words(started, "plain") == first
    instance = started.instance("tiny")
    assert instance["engine"] == "vllm"
    assert instance["state"] == "ready"
    assert instance["memory"] > 300_000_000
    body = {
        "model": "plain", "messages": [{"role": "user", "content": "What is the answer?"}], "max_tokens": 16,
        "temperature": 0, "stream": True,
    }  # fmt: skip
    with started.client.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert answer.status_code == 200
        events = stream_events(answer.iter_lines())
    assert events[-1] == "[DONE]"
    parts = [one["delta"].get("content") or "" for event in events[:-1] for one in event["choices"]]
    assert "".join(parts) == first
    story = "time " * 600
    started.chat("plain", story, max_tokens=4)
    usage = started.chat("plain", story, max_tokens=4).json()["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] > 400
    vectors = started.client.post("/v1/embeddings", json={"model": "tiny", "input": "time"})
    assert vectors.status_code >= 400, "a chat model gives no vectors, and says so"
    wait_for(lambda: bool(stored(started)), "the load is stored", 30)
    load = stored(started)[0]
    assert load.resident is not None
    assert load.memory[""]["kv_cache"] == pytest.approx(67_108_864, abs=0.005 * 2**30), "its log has two digits"
    same = fitted(started, tiny, "vllm", context=2048, parallel=2)
    assert same["basis"] == "measured"
    assert held(same) == load.resident
    assert same["devices"][0]["parts"]["kv_cache"] == load.memory[""]["kv_cache"]
    assert same["kv_capacity_tokens"] == load.kv_tokens
    assert same["fits"]
    other = fitted(started, tiny, "vllm", context=1024, parallel=2)
    assert (other["basis"], held(other)) == ("scaled", load.resident)
    larger = fitted(started, tiny, "vllm", context=2048, parallel=2, set="kv_cache_memory_bytes=134217728")
    assert larger["basis"] == "forecast", "with a setting that did not run"
    assert held(larger) == pytest.approx(load.resident + 67_108_864, rel=0.1)


def test_a_lora_adapter_on_vllm_without_a_restart(up: Callable[..., Started], tiny: Path) -> None:
    """Added, used by its name and by a role, and removed, while the engine runs."""
    started = up("vllm", VLLM_SETTINGS, BARD)
    plain = words(started, "plain")
    pid = started.instance("tiny")["pid"]
    added = started.command("lora", "add", "bard-adapter", str(tiny / "pirate"), "--model", "tiny", "--yes")
    assert added.returncode == 0, added.stderr
    other = words(started, "bard-adapter")
    assert other != plain
    sung = words(started, "bard")
    assert sung != plain
    assert words(started, "plain") == plain
    assert words(started, "bard-adapter") == other
    assert words(started, "bard") == sung
    assert started.instance("tiny")["pid"] == pid
    removed = started.command("lora", "remove", "bard-adapter", "--yes")
    assert removed.returncode == 0, removed.stderr
    assert started.chat("bard-adapter", "What is the answer?").status_code == 404
    refused = started.chat("bard", "What is the answer?")
    assert refused.status_code >= 400
    assert "bard-adapter" in refused.text
    assert words(started, "plain") == plain
    assert started.instance("tiny")["pid"] == pid


def test_a_role_on_transformers(up: Callable[..., Started], tiny: Path) -> None:
    """Its log tells no memory: what it held after its first answer is what fit says."""
    started = up("transformers")
    first = words(started, "plain")
    assert first
    assert words(started, "plain") == first
    assert started.instance("tiny")["engine"] == "transformers"
    wait_for(lambda: bool(stored(started)), "what it took is stored", 30)
    (load,) = stored(started)
    assert load.memory == {}
    assert load.resident is not None
    assert load.resident < 2 * 2**30, "left alone its pages fill nine tenths of the RAM"
    same = fitted(started, tiny, "transformers", context=2048, parallel=2)
    assert same["basis"] == "measured"
    parts = same["devices"][0]["parts"]
    assert parts["weights"] + parts["overhead"] == load.resident
    assert parts["weights"] == pytest.approx((tiny / "checkpoint" / "model.safetensors").stat().st_size, rel=0.05)
    assert fitted(started, tiny, "transformers", context=1024, parallel=2)["basis"] == "scaled"
