"""The memory forecast beside what the real llama.cpp logs for files of random weights of many architectures."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections import Counter
from pathlib import Path

import pytest
import random_models

from ansambl.domain.device import DeviceKind, DeviceModel, PlannedDevice, PlannedMachine
from ansambl.domain.engine import EngineOptions
from ansambl.domain.footprint import DeviceFootprint, WeightBytes
from ansambl.domain.model import Checkpoint
from ansambl.domain.plan import Placement
from ansambl.domain.units import GIB, MIB, Bytes
from ansambl.engines.adapters.llama_cpp_bundled import LlamaCppBundled
from ansambl.model_catalog import gguf_model
from ansambl.planner.memory import MemoryInputs, forecast

pytestmark = pytest.mark.engine

RAM = PlannedDevice(DeviceKind.RAM, DeviceModel("ram", "RAM", "any"), Bytes(8 * GIB))
PARTS = {"weights", "kv_cache", "compute"}
# MiB are logged with two decimals, and weights and caches in up to three lines each.
ROUNDING = 0.016 * MIB
# A load takes a tenth of a second. Of some 4000 loads four stopped without a word before their buffers, three of them
# with files that llama.cpp refuses; it never came again, not in 1800 loads under a debugger's watch, so the
# cause is not known and a file is loaded once more.
PATIENCE, TRIES = 15.0, 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("random-models")


def model(folder: Path, family: str) -> Path:
    """The file of an architecture, written when it is first asked for."""
    path = folder / f"{family}.gguf"
    if not path.is_file():
        random_models.write(path, family)
    return path


def once(placement: Placement, unified: bool) -> tuple[Counter[str], str]:
    """Bytes by part as llama.cpp says while it loads, and its last words."""
    adapter = LlamaCppBundled()
    spec = adapter.launch_spec(placement, port=0, secret="for this test")
    *program, given = spec.argv
    parameters = json.loads(given)
    # The product always keeps slots apart, so there is no flag for it.
    parameters["options"]["kv_unified"] = unified
    memory: Counter[str] = Counter()
    lines: list[str] = []
    with subprocess.Popen(
        [*program, json.dumps(parameters)], env={**os.environ, **spec.environment}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace",
    ) as process:  # fmt: skip
        patience = threading.Timer(PATIENCE, process.kill)
        patience.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                facts = adapter.read_log(line)
                if facts is not None:
                    memory.update(facts.memory)
                # The compute buffer is the last that is allocated.
                if "compute" in memory or line.startswith("ansambl: error"):
                    break
        finally:
            patience.cancel()
            process.kill()
    return memory, "".join(lines[-20:])


def logged(placement: Placement, unified: bool) -> Counter[str]:
    words = ""
    for _ in range(TRIES):
        memory, words = once(placement, unified)
        if memory.keys() >= PARTS or "ansambl: error" in words:
            break
    assert memory.keys() >= PARTS, words
    return memory


def compare(
    path: Path, context: int, *, parallel: int = 1, kv_type: str = "f16", flash: bool = True, unified: bool = False,
    flags: tuple[str, ...] = (), **settings: object,
) -> tuple[Counter[str], DeviceFootprint]:  # fmt: skip
    """What llama.cpp logs, and the forecast for the same settings."""
    headers = [header for _, header in gguf_model.read_parts(path)]
    architecture = gguf_model.architecture(headers)
    weights = gguf_model.weights(headers, architecture.layer_count)
    assert weights is not None
    checkpoint = Checkpoint(path.name, str(path), "gguf", Bytes(path.stat().st_size), path.name)
    options = EngineOptions(
        arguments=(
            "--cache-type-k",
            kv_type,
            "--cache-type-v",
            kv_type,
            "--flash-attn",
            "on" if flash else "off",
            *flags,
        )
    )
    placement = Placement("random", "llama.cpp-bundled", checkpoint, context, parallel, options, threads=1)
    memory = logged(placement, unified)
    expected = forecast(
        "llama.cpp-bundled",
        MemoryInputs(
            architecture, WeightBytes.of(weights, "the file's header"), PlannedMachine("here", "here", (), RAM),
            context, parallel, kv_type, {"flash_attention": flash, "kv_unified": unified, **settings},
        ),
    )  # fmt: skip
    return memory, expected.devices[0]


def check(memory: Counter[str], ram: DeviceFootprint) -> None:
    """Weights and KV cache exact, all of it within 5 %, and nothing above the high end."""
    assert abs(ram.weights.expected - memory["weights"]) <= ROUNDING
    assert ram.weights.low == ram.weights.high
    assert abs(ram.kv_cache.expected - memory["kv_cache"]) <= ROUNDING
    assert ram.kv_cache.low == ram.kv_cache.high
    total = ram.total.expected - ram.overhead.expected
    assert total == pytest.approx(sum(memory.values()), rel=0.05)
    assert ram.total.high >= sum(memory.values())


@pytest.mark.parametrize("kv_type", ["f16", "q8_0"])
@pytest.mark.parametrize("context", [1000, 4096, 8192])
@pytest.mark.parametrize("family", random_models.SHAPES)
def test_weights_and_kv_cache_are_exact_and_the_total_is_near(family: str, context: int, kv_type: str, folder: Path):
    memory, ram = compare(model(folder, family), context, kv_type=kv_type)
    check(memory, ram)
    # The widest layer is known to 3 %; the rows of logits are logged apart from it.
    assert ram.compute.expected == pytest.approx(memory["compute"] + memory["overhead"], rel=0.03)


@pytest.mark.parametrize("family", random_models.SHAPES)
def test_slots_of_their_own_and_slots_that_share(family: str, folder: Path):
    check(*compare(model(folder, family), 2048, parallel=3))
    check(*compare(model(folder, family), 2048, parallel=3, unified=True))


@pytest.mark.parametrize("family", random_models.SHAPES)
def test_without_flash_attention(family: str, folder: Path):
    check(*compare(model(folder, family), 4096, flash=False))


@pytest.mark.parametrize("batch", [128, 1024])
@pytest.mark.parametrize("family", random_models.SHAPES)
def test_batches_of_other_sizes(family: str, batch: int, folder: Path):
    check(*compare(model(folder, family), 4096, flags=("--ubatch-size", str(batch)), n_ubatch=batch))


@pytest.mark.parametrize("family", ["gpt-oss", "gemma2", "gemma3"])
def test_windows_may_be_kept_in_full(family: str, folder: Path):
    check(*compare(model(folder, family), 4096, flags=("--swa-full",), swa_full=True))
