"""A converted LoRA adapter does in the real llama.cpp what adding it to the weights does."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import lora_models
import numpy as np
import pytest
from product import wait_for

from ansambl.domain.model import Checkpoint
from ansambl.domain.plan import Placement
from ansambl.domain.units import Bytes
from ansambl.engines.adapters.llama_cpp_bundled import LlamaCppBundled
from ansambl.foundation.network import free_port
from ansambl.model_catalog.lora.base_model import read_base
from ansambl.model_catalog.lora.convert import convert_to_gguf
from ansambl.model_catalog.lora.gguf_adapter import read_gguf
from ansambl.model_catalog.lora.peft import read_peft
from ansambl.testing import tiny_checkpoint as tiny

pytestmark = pytest.mark.engine

PROMPT = [1, 70, 82, 300, 91, 264, 77, 101, 290, 84]
TOLERANCE = 1e-3
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rank-stabilized": {"use_rslora": True, "alpha": 4.0},
    "patterns": {"ranks": {"q_proj": 4, "down_proj": 16}, "alpha_pattern": {"k_proj": 24.0, "up_proj": 4.0}},
    "rank-stabilized patterns": {"ranks": {"v_proj": 2}, "use_rslora": True, "alpha": 3.0},
}


@contextmanager
def engine(checkpoint: Path, *loras: Path) -> Iterator[httpx.Client]:
    """The bundled llama.cpp on a model file, with adapters beside it."""
    placement = Placement(
        model="tiny", engine="llama.cpp-bundled",
        checkpoint=Checkpoint(str(checkpoint), str(checkpoint), "gguf", Bytes(checkpoint.stat().st_size), "tiny"),
        context=512, parallel=1, threads=1,
    )  # fmt: skip
    port = free_port()
    spec = LlamaCppBundled().launch_spec(placement, port=port, secret="for this test")
    *program, given = spec.argv
    parameters = {**json.loads(given), "loras": [str(one) for one in loras]}
    log = checkpoint.with_suffix(".log")
    with log.open("wb") as output, subprocess.Popen(
        [*program, json.dumps(parameters)], env={**os.environ, **spec.environment}, stdout=output,
        stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        try:
            with httpx.Client(
                base_url=f"http://127.0.0.1:{port}", headers={"authorization": "Bearer for this test"}, timeout=60,
                trust_env=False,
            ) as client:  # fmt: skip
                wait_for(lambda: _ready(client, process), f"llama.cpp is ready; see {log.read_text()[-2000:]}", 60)
                yield client
        finally:
            process.terminate()
            process.wait(20)


def _ready(client: httpx.Client, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "llama.cpp ended"
    try:
        return client.get("/health").status_code == 200
    except httpx.HTTPError:
        time.sleep(0.02)
        return False


def answer(client: httpx.Client, lora: float | None = None) -> tuple[list[int], np.ndarray]:
    """Greedy tokens, and the log-probabilities of the ten likeliest at each place, by token."""
    body: dict[str, Any] = {
        "prompt": PROMPT, "n_predict": 12, "temperature": 0, "n_probs": 10, "cache_prompt": False,
        "ignore_eos": True,
    }  # fmt: skip
    if lora is not None:
        body["lora"] = [{"id": 0, "scale": lora}]
    found = client.post("/completion", json=body)
    assert found.status_code == 200, found.text
    places = found.json()["completion_probabilities"]
    tops = [sorted((one["id"], one["logprob"]) for one in place["top_logprobs"]) for place in places]
    return [place["id"] for place in places], np.array(tops)


@pytest.fixture(scope="module")
def tensors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    folder = tiny.write_tiny_checkpoint(tmp_path_factory.mktemp("tiny"))
    return lora_models.read_tensors(folder / "model.safetensors")


@pytest.mark.parametrize(("family", "kind"), [("llama", one) for one in KINDS] + [("qwen2", "plain")])
def test_the_adapter_does_what_its_sum_with_the_weights_does(tmp_path, tensors, family, kind):
    base = lora_models.write_as_gguf(tmp_path / "base.gguf", tensors, family)
    adapter = lora_models.write_peft(tmp_path / "adapter", strength=0.1, **KINDS[kind])
    merged = lora_models.write_as_gguf(tmp_path / "merged.gguf", lora_models.merged(tensors, adapter), family)
    converted = tmp_path / "converted.gguf"
    convert_to_gguf(read_peft(adapter), read_base(base, "gguf"), converted)
    assert read_gguf(converted).rank == read_peft(adapter).rank
    with engine(base, converted) as client:
        plain_tokens, _ = answer(client, 0.0)
        tokens, chances = answer(client, 1.0)
        again, _ = answer(client, 0.0)
    with engine(merged) as client:
        expected_tokens, expected = answer(client)
    assert tokens == expected_tokens
    assert np.array_equal(chances[..., 0], expected[..., 0])
    assert np.abs(chances[..., 1] - expected[..., 1]).max() < TOLERANCE
    assert plain_tokens == again != tokens
