"""Engines' own metrics pages, in the text format of Prometheus."""

from __future__ import annotations

import math
import re

from ansambl.domain.engine import EngineMetrics
from ansambl.domain.units import TokensPerSecond

_SAMPLE = re.compile(r"^(?P<name>[A-Za-z_:][\w:]*)(?:\{[^}]*\})?\s+(?P<value>\S+)")

# The same quantity under the names that engines give it; the first that is there counts. llama.cpp counts cached prompt
# tokens apart. Recorded on vLLM 0.32.0; older names of it and SGLang's are as documented.
_PROMPT = ("llamacpp:prompt_tokens_total", "vllm:prompt_tokens_total", "sglang:prompt_tokens_total")
_OUTPUT = ("llamacpp:tokens_predicted_total", "vllm:generation_tokens_total", "sglang:generation_tokens_total")
_RUNNING = ("llamacpp:requests_processing", "vllm:num_requests_running", "sglang:num_running_reqs")
_WAITING = ("llamacpp:requests_deferred", "vllm:num_requests_waiting", "sglang:num_queue_reqs")
_PREFILL = ("llamacpp:prompt_tokens_seconds",)
_DECODE = ("llamacpp:predicted_tokens_seconds",)
_CACHED = (
    "llamacpp:prompt_tokens_cached_total", "vllm:prompt_tokens_cached_total", "vllm:prefix_cache_hits_total",
    "vllm:gpu_prefix_cache_hits_total", "sglang:cached_tokens_total",
)  # fmt: skip
_KV_SHARE = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "sglang:token_usage")
# vLLM tells no rate: what it computed, and how long that took for the requests that are done.
_PREFILL_COMPUTED = ("llamacpp:prompt_tokens_total", "vllm:request_prefill_kv_computed_tokens_sum")
_PREFILL_SECONDS = ("llamacpp:prompt_seconds_total", "vllm:request_prefill_time_seconds_sum")
_GAPS = (
    "llamacpp:tokens_predicted_total", "vllm:inter_token_latency_seconds_count",
    "vllm:time_per_output_token_seconds_count",
)  # fmt: skip
_GAP_SECONDS = (
    "llamacpp:tokens_predicted_seconds_total", "vllm:inter_token_latency_seconds_sum",
    "vllm:time_per_output_token_seconds_sum",
)  # fmt: skip


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

    def rate(told: tuple[str, ...], amount: tuple[str, ...], seconds: tuple[str, ...]) -> TokensPerSecond | None:
        value = pick(told)
        if value is None:
            done, took = pick(amount), pick(seconds)
            value = done / took if done and took else None
        return TokensPerSecond(value) if value else None

    return EngineMetrics(
        prompt_tokens=whole(_PROMPT), output_tokens=whole(_OUTPUT), requests_running=whole(_RUNNING),
        requests_waiting=whole(_WAITING), prefill_rate=rate(_PREFILL, _PREFILL_COMPUTED, _PREFILL_SECONDS),
        decode_rate=rate(_DECODE, _GAPS, _GAP_SECONDS), cached_prompt_tokens=whole(_CACHED),
        kv_cache_share=_mean(page, _KV_SHARE), prefilled_tokens=pick(_PREFILL_COMPUTED),
        prefill_seconds=pick(_PREFILL_SECONDS), decoded_tokens=pick(_GAPS), decode_seconds=pick(_GAP_SECONDS),
    )  # fmt: skip


def _mean(page: str, names: tuple[str, ...]) -> float | None:
    """The mean of a share over the parts of an engine that tell it each, kept within 0 to 1."""
    for name in names:
        lines = [line for line in page.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
        if lines:
            total = read_samples("\n".join(lines)).get(name)
            return None if total is None else min(max(total / len(lines), 0.0), 1.0)
    return None
