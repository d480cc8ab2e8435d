"""Engines that follow one rule, by the names that forecasts have for them: one list for all rooms of the planner."""

from __future__ import annotations

LLAMA_CPP = frozenset({"llama.cpp", "llama.cpp-bundled", "ollama", "lm_studio", "textgen"})
"""llama.cpp and the programs that run it: layers and experts may lie in RAM, and it works without a GPU."""

RANKED = frozenset({"vllm", "sglang", "tgi"})
"""Engines that divide each tensor over a number of GPUs; others spread whole layers over all of them by themselves."""

GPU_ONLY = frozenset({"vllm", "sglang", "exllamav3", "tgi"})
"""Engines that a plan gives to GPUs only."""

CPU_WHEN_NAMED = frozenset({"vllm"})
"""Those of them whose rules know the processor too: tried on a machine without a GPU only where the engine is named."""

FOR_SAFETENSORS = frozenset({"vllm", "sglang", "tgi", "transformers"})
"""Engines that were made for safetensors; other formats they convert or read by slower kernels."""

SMALLER_CACHE = {
    **dict.fromkeys(LLAMA_CPP, "q8_0"), **dict.fromkeys(RANKED, "fp8"), "exllamav3": "q8_0", "tabbyapi": "q8_0",
}  # fmt: skip
"""By engine, the KV type of half the bytes of `SIXTEEN_BITS` whose loss tests hardly notice."""

SIXTEEN_BITS = frozenset({"f16", "bf16"})
"""KV types that are halved by `SMALLER_CACHE`."""
