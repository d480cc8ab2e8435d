"""The memory forecast beside what the real llama.cpp logs when it loads the embedded model."""

import os
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from ansambl.domain.device import DeviceKind, DeviceModel, PlannedDevice, PlannedMachine
from ansambl.domain.engine import EngineOptions
from ansambl.domain.footprint import WeightBytes
from ansambl.domain.plan import Placement
from ansambl.domain.units import GIB, MIB, Bytes
from ansambl.engines.adapters.llama_cpp_bundled import LlamaCppBundled
from ansambl.model_catalog import embedded, gguf_model
from ansambl.planner.memory import MemoryInputs, forecast

pytestmark = pytest.mark.engine

RAM = PlannedDevice(DeviceKind.RAM, DeviceModel("ram", "RAM", "any"), Bytes(8 * GIB))
# llama.cpp logs MiB with two decimals, one line for each part.
ROUNDING = 0.006 * MIB
PARTS = {"weights", "kv_cache", "compute", "overhead"}


def logged(placement: Placement) -> Counter[str]:
    """Bytes by part as llama.cpp says while it loads; the process has ended when this returns."""
    adapter = LlamaCppBundled()
    spec = adapter.launch_spec(placement, port=0, secret="for this test")
    memory: Counter[str] = Counter()
    lines = []
    with subprocess.Popen(
        spec.argv, env={**os.environ, **spec.environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        encoding="utf-8", errors="replace",
    ) as process:  # fmt: skip
        try:
            for line in process.stdout:
                lines.append(line)
                facts = adapter.read_log(line)
                if facts is not None:
                    memory.update(facts.memory)
                # The compute buffer is the last that is allocated; whether it answers then is other tests' concern.
                if memory.keys() >= PARTS or line.startswith("ansambl: error"):
                    break
        finally:
            # It has nothing to save.
            process.kill()
    assert memory.keys() >= PARTS, "".join(lines[-20:])
    return memory


@pytest.mark.parametrize("kv_type", ["f16", "q8_0"])
@pytest.mark.parametrize(("context", "parallel"), [(2048, 1), (4096, 1), (8192, 1), (1000, 3)])
def test_weights_and_kv_cache_are_exact_and_the_total_is_near(
    context: int, parallel: int, kv_type: str, embedded_model_folder: Path
):
    checkpoint = replace(embedded.find(embedded_model_folder, verify=False), context=None)
    headers = [header for _, header in gguf_model.read_parts(Path(checkpoint.path))]
    architecture = gguf_model.architecture(headers)
    weights = gguf_model.weights(headers, architecture.layer_count)
    assert weights is not None
    options = EngineOptions(arguments=("--cache-type-k", kv_type, "--cache-type-v", kv_type, "--flash-attn", "on"))
    memory = logged(Placement("small", "llama.cpp-bundled", checkpoint, context, parallel, options, threads=1))
    expected = forecast(
        "llama.cpp-bundled",
        MemoryInputs(
            architecture, WeightBytes.of(weights, "the file's header"), PlannedMachine("here", "here", (), RAM),
            context, parallel, kv_type, {"flash_attention": True},
        ),
    )  # fmt: skip
    ram = expected.devices[0]
    assert abs(ram.weights.expected - memory["weights"]) <= ROUNDING
    assert ram.weights.low == ram.weights.high
    assert abs(ram.kv_cache.expected - memory["kv_cache"]) <= ROUNDING
    assert ram.kv_cache.low == ram.kv_cache.high
    # The rows of logits are logged apart from the compute buffer.
    compute = memory["compute"] + memory["overhead"]
    assert ram.compute.expected == pytest.approx(compute, rel=0.02)
    total = ram.total.expected - ram.overhead.expected
    assert total == pytest.approx(sum(memory.values()), rel=0.05)
    assert ram.total.high >= sum(memory.values())
