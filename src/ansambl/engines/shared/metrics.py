"""Engines' own metrics pages, in the text format of Prometheus."""

from __future__ import annotations

import math
import re

from ansambl.domain.engine import EngineMetrics
from ansambl.domain.units import TokensPerSecond

_SAMPLE = re.compile(r"^(?P<name>[A-Za-z_:][\w:]*)(?:\{[^}]*\})?\s+(?P<value>\S+)")

# The same quantity under the names that engines give it; llama.cpp counts cached prompt tokens apart.
_PROMPT = ("llamacpp:prompt_tokens_total", "vllm:prompt_tokens_total", "sglang:prompt_tokens_total")
_OUTPUT = ("llamacpp:tokens_predicted_total", "vllm:generation_tokens_total", "sglang:generation_tokens_total")
_RUNNING = ("llamacpp:requests_processing", "vllm:num_requests_running", "sglang:num_running_reqs")
_WAITING = ("llamacpp:requests_deferred", "vllm:num_requests_waiting", "sglang:num_queue_reqs")
_PREFILL = ("llamacpp:prompt_tokens_seconds",)
_DECODE = ("llamacpp:predicted_tokens_seconds",)


def read_samples(page: str) -> dict[str, float]:
    """Every sample of a metrics page; those that differ only in labels are added up, other lines are skipped."""
    samples: dict[str, float] = {}
    for line in page.splitlines():
        match = _SAMPLE.match(line)
        if not match:
            continue
        try:
            value = float(match["value"])
        except ValueError:
            continue
        if math.isfinite(value):
            samples[match["name"]] = samples.get(match["name"], 0.0) + value
    return samples


def read_metrics(page: str) -> EngineMetrics:
    """What a metrics page of llama.cpp, vLLM or SGLang says; None for what it does not say."""
    samples = read_samples(page)

    def pick(names: tuple[str, ...]) -> float | None:
        return next((samples[name] for name in names if name in samples), None)

    def whole(names: tuple[str, ...]) -> int | None:
        value = pick(names)
        return None if value is None else int(value)

    def rate(names: tuple[str, ...]) -> TokensPerSecond | None:
        value = pick(names)
        return TokensPerSecond(value) if value else None

    return EngineMetrics(
        prompt_tokens=whole(_PROMPT), output_tokens=whole(_OUTPUT), requests_running=whole(_RUNNING),
        requests_waiting=whole(_WAITING), prefill_rate=rate(_PREFILL), decode_rate=rate(_DECODE),
    )  # fmt: skip
