"""What rows of ``data/compatibility.toml`` say beyond their fields: sentences, by the stable code of the reason."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ansambl.domain.text import Text, text

NOTES: Mapping[str, Text] = MappingProxyType({
    "llama-cpp-inside": text("it carries llama.cpp; which build is in which of its versions is not recorded"),
    "weight-only": text("the weights stay small and are multiplied in 16 bits (Marlin), so only memory is saved"),
    "wheel-binaries": text("earlier wheels hold no binaries for it, so vLLM must be built from source there"),
    "source-build": text("its wheels leave it out, and Triton refuses it; a changed build from source was reported"),
    "gguf-plugin": text("GGUF left the core; the plugin vllm-gguf-plugin adds it again"),
    "bnb-gone": text("the newest list of quantizations has no bitsandbytes"),
    "exl3-only": text("it runs models converted to EXL3"),
    "exl2-branch": text("the loader was removed; only the branch exl2-checkpoint keeps it"),
    "fp4-slow-path": text("the fast MXFP4 kernels are for gfx942, gfx950 and gfx1250 only; 7.9 tokens/s was reported"),
    "fp4-marlin": text("MXFP4 experts run weight-only (Marlin) unless FlashInfer's CUTLASS kernels are installed"),
    "fp8-kv-triton": text("the Triton kernel cannot do it there; use fp8_e5m2, int8_per_token_head or FlashInfer"),
    "maintenance": text("it is in maintenance mode since 2025-12-11: no new models; its README points to vLLM, SGLang "
                        "and llama.cpp"),
    "metal-plugin": text("through the plugin vllm-metal, a package of its own"),
    "dequantized": text("without its kernels the weights are unpacked to BF16, four times as large"),
    "unpacked-on-load": text("the weights are unpacked when they are loaded, so no memory is saved"),
})  # fmt: skip
"""Sentences by code; every one is used by a row."""
