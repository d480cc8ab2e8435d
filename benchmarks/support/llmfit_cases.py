"""The measured memory cases as llmfit, another planner, forecasts them; it is asked only where it is installed.

Both are told the model, its quantization, the context and the KV type. llmfit multiplies parameters by bits; ours reads
the sizes of the files, as it does for its users.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansambl.domain.units import GIB
from support.memory_cases import Compared, compare, load

PATIENCE = 30.0
"""Seconds for one question."""
_NAMES = {
    "gpt-oss-120b": "openai/gpt-oss-120b", "gpt-oss-20b": "openai/gpt-oss-20b",
    "gemma-4-26B-A4B": "google/gemma-4-26B-A4B-it", "Llama-3.1-8B": "meta-llama/Llama-3.1-8B-Instruct",
    "Llama-3.1-70B": "meta-llama/Llama-3.1-70B-Instruct", "Qwen3-14B": "Qwen/Qwen3-14B",
    "Qwen2.5-7B": "Qwen/Qwen2.5-7B-Instruct", "Qwen3-30B-A3B": "Qwen/Qwen3-30B-A3B",
    "gemma-3-27b": "google/gemma-3-27b-it", "DeepSeek-V3": "deepseek-ai/DeepSeek-V3-0324",
    "Qwen2.5-14B": "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B", "Llama-2-7B": "meta-llama/Llama-2-7b-hf",
    "Phi-4": "microsoft/phi-4", "GLM-4-32B": "zai-org/GLM-4-32B-0414",
}  # fmt: skip
_KV = {"f16": "fp16", "fp8": "fp8", "q8_0": "q8_0"}
_GIGA = 10**9


@dataclass(frozen=True, slots=True)
class Answer:
    """What llmfit forecasts for one sequence, in bytes."""

    weights: float
    kv_cache: float
    total: float


@dataclass(frozen=True, slots=True)
class Rival:
    """One measurement beside both forecasts; `figure` is None where llmfit gives none."""

    ours: Compared
    figure: float | None

    @property
    def error(self) -> float | None:
        """(llmfit's figure - measured) / measured."""
        return None if self.figure is None else (self.figure - self.ours.measured) / self.ours.measured


def program() -> str | None:
    """The llmfit that is installed beside this Python or on the path."""
    beside = Path(sys.executable).with_name("llmfit")
    return str(beside) if beside.is_file() else shutil.which("llmfit")


def arguments(case: dict[str, Any]) -> list[str] | None:
    """How llmfit is asked for a case: a card of this memory, the model, its quantization, context and KV type."""
    name, kv_type = _NAMES.get(case["model"]), _KV.get(case["kv_type"])
    if name is None or kv_type is None or "quantization" not in case:
        return None
    memory = sum(gpu["memory"] for gpu in case["machine"]["gpus"]) or case["machine"]["ram"]
    return [
        "--json", "--memory", f"{memory // GIB}G", "plan", name, "--no-dashboard", "--quant", case["quantization"],
        "--context", str(case["context"] * case["parallel"]), "--kv-quant", kv_type,
    ]  # fmt: skip


def parse(output: str) -> Answer | None:
    """Read the JSON of ``llmfit plan``; None when it is an error.

    Its "GB" are 10^9 bytes for weights (parameters by bits) and 2^30 for the KV cache and what is added to both.
    """
    try:
        table = json.loads(output[output.index("{") :])
        weights, total = table["disk_size_gb"], table["minimum"]["vram_gb"]
        kv_cache = next(one["kv_cache_gb"] for one in table["kv_alternatives"] if one["kv_quant"] == table["kv_quant"])
    except (ValueError, KeyError, TypeError, StopIteration):
        return None
    rest = total - weights - kv_cache
    return Answer(weights * _GIGA, kv_cache * GIB, weights * _GIGA + (kv_cache + rest) * GIB)


def ask(binary: str, case: dict[str, Any]) -> Answer | None:
    """The answer of llmfit for a case; None when it knows no such model or fails."""
    given = arguments(case)
    if given is None:
        return None
    try:
        done = subprocess.run([binary, *given], capture_output=True, text=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse(done.stdout)


def figure(what: str, answer: Answer, ranks: int) -> float | None:
    """The part of an answer that stands beside a measurement; weights of one of `ranks` GPUs are divided evenly."""
    if what in ("gpu", "gpu_used", "ram"):
        return answer.total
    if what in ("gpu_weights", "ram_weights"):
        return answer.weights / ranks
    return answer.kv_cache if what in ("gpu_kv", "ram_kv") else None


def rivals(binary: str) -> Iterator[Rival]:
    """Every measurement of weights, KV cache or a whole device beside both forecasts."""
    cases, architectures = load()
    for case in cases:
        answer = ask(binary, case)
        ranks = case["settings"].get("tensor_parallel", 1) if case.get("per_gpu") else 1
        layers_in_ram = len(case["machine"]["gpus"]) > 0
        for one in compare(case, architectures):
            if case.get("weights_from_log") and one.what in ("gpu_weights", "ram_weights"):
                continue
            if one.what == "ram_weights" and layers_in_ram:
                continue
            if one.what in ("gpu", "gpu_used", "ram", "gpu_weights", "ram_weights", "gpu_kv", "ram_kv"):
                yield Rival(one, figure(one.what, answer, ranks) if answer else None)
