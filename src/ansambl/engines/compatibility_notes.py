"""What rows of ``data/compatibility.toml`` say beyond their fields: sentences, by the stable code of the reason."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ansambl.domain.text import Text, text

NOTES: Mapping[str, Text] = MappingProxyType({
    "carried-engine": text("it carries another engine that does; which version of that is inside is not recorded"),
    "weight-only": text("the weights stay small and are multiplied in 16 bits (Marlin): memory is saved, not work"),
    "wheel-binaries": text("earlier wheels hold no binaries for it; they must be built from source"),
    "source-build": text("wheels leave it out and Triton refuses it; only changed builds from source were reported"),
    "gguf-plugin": text("GGUF left the core; the plugin vllm-gguf-plugin adds it again"),
    "bnb-gone": text("bitsandbytes left its list of quantizations"),
    "exl3-only": text("quantized models must be converted to EXL3"),
    "exl2-branch": text("the loader was removed; only the branch exl2-checkpoint keeps it"),
    "fp4-slow-path": text("the fast MXFP4 kernels are for gfx942, gfx950 and gfx1250; 7.9 tokens/s was reported"),
    "fp4-marlin": text("the experts run weight-only (Marlin) unless FlashInfer's CUTLASS kernels are installed"),
    "fp8-kv-triton": text("Triton attention refuses it there; FlashInfer (8.0 and newer) or int8_per_token_head can"),
    "maintenance": text("TGI is in maintenance mode since 2025-12-11: no new models; it points to vLLM and SGLang"),
    "metal-plugin": text("through the plugin vllm-metal, a package of its own"),
    "needs-kernels": text("with Triton and the package kernels; without them it unpacks the weights to 16 bits"),
    "dequantized": text("the weights are unpacked to 16 bits, so the memory is that of BF16"),
    "unpacked-on-load": text("the weights are unpacked when they are loaded, so no memory is saved"),
    "xeon-guide": text("its guide for processors is about Intel Xeon with AMX"),
    "cpu-wheel": text("the wheel that Ansambl installs is for processors; install llama.cpp for this GPU"),
    "openai-protocol": text("by the OpenAI protocol, which both speak; no page names the pair"),
    "own-engine": text("it loads models by itself and is no front end to other servers"),
})  # fmt: skip
"""Sentences by code; every one is used by a row."""
