"""Placements whose commands are kept in golden files: the same for every engine as far as it can run them."""

from __future__ import annotations

from typing import Any

from ansambl.domain.catalog import ModelKind
from ansambl.engines.command_lines import CommandInputs, EngineCommand, Lora
from ansambl.engines.registry import engine_lines

AWKWARD_PATH = "/models/it's my модель/model file.gguf"
GPT_OSS = {"model": "gpt-oss-120b", "quantization": "MXFP4", "layers": 36, "kind": ModelKind.REASONING}
QWEN = {"model": "qwen3.5-27b", "quantization": "Q4_K_M", "layers": 64, "kind": ModelKind.REASONING, "vision": True}

TUNED: dict[str, dict[str, Any]] = {
    "vllm": {"kv_type": "fp8", "settings": {"tensor_parallel": 2, "gpu_memory_utilization": "0.95", "max_num_seqs": "8",
             "enforce_eager": "on", "enable_prefix_caching": "off", "draft_tokens": "3", "max_lora_rank": 32},
             "draft": "openai/gpt-oss-20b", "loras": (Lora("style", "/lora/style"),)},
    "sglang": {"kv_type": "fp8_e5m2", "settings": {"tensor_parallel": 2, "mem_fraction_static": 0.88,
               "disable_cuda_graph": True, "chunked_prefill_size": 4096, "draft_tokens": 4},
               "draft": "openai/gpt-oss-20b", "loras": (Lora("style", "/lora/style"),)},
    "tgi": {"kv_type": "fp8", "settings": {"tensor_parallel": 2, "cuda_memory_fraction": 0.9, "enforce_eager": True},
            "loras": (Lora("style", "/lora/style"),)},
    "transformers": {"settings": {"continuous_batching": "on", "cb_num_blocks": 4096, "cb_block_size": 32,
                                  "quantization": "bnb-4bit", "attention": "sdpa"}},
    "llama.cpp": {"kv_type": "q8_0/q4_0", "settings": {"n_cpu_moe": 26, "n_ubatch": "2048", "swa_full": "on",
                  "kv_unified": "on", "prompt_cache": "2GiB", "tensor_split": "3,1", "ram_margin": "4GiB"},
                  "mmproj": "/models/mmproj.gguf", "draft": "/models/draft.gguf",
                  "loras": (Lora("one", "/lora/one.gguf"), Lora("two", "/lora/two.gguf"))},
    "llama.cpp-bundled": {"gpus": (), "kv_type": "q8_0", "settings": {"n_ubatch": 1024, "threads": 8,
                          "prompt_cache": "512MiB", "swa_full": True}},
    "ollama": {"kv_type": "q8_0", "settings": {"n_gpu_layers": 30, "n_batch": 256, "keep_alive": "-1"},
               "loras": (Lora("one", "/lora/one.gguf"),)},
    "lm_studio": {"settings": {"n_gpu_layers": 18, "ttl": 600}},
    "exllamav3": {"kv_type": "q8/q4", "settings": {"tensor_parallel": 2, "gpu_split": "22,24", "chunk_size": 1024,
                  "tool_call_parser": "none"}, "loras": (Lora("style", "/lora/style"),), "draft": "/models/draft"},
    "textgen": {"kv_type": "q4_0", "settings": {"n_cpu_moe": 26, "n_ubatch": 2048, "cpu_moe": "off", "threads": 8},
                "mmproj": "/models/mmproj.gguf"},
}  # fmt: skip
"""Settings of each engine's own, for two GPUs."""


def cases(engine: str) -> dict[str, CommandInputs]:
    """The placements of one engine by name."""
    form = engine_lines()[engine].formats[0]
    gpus = () if engine == "llama.cpp-bundled" else (0,)
    path = AWKWARD_PATH if form == "gguf" else AWKWARD_PATH.removesuffix(".gguf")
    found = {
        "local file": CommandInputs(**QWEN, format=form, context=8192, path=path, gpus=gpus),
        "two at once from a hub": CommandInputs(
            **GPT_OSS, format=form, context=32768, parallel=2, repo="owner/gpt-oss-120b", gpus=gpus
        ),
        "no GPU, nobody knows where the files are": CommandInputs(**QWEN, format=form, context=1000, parallel=3),
        "own settings": CommandInputs(
            **GPT_OSS,
            **{"format": form, "context": 16384, "repo": "owner/gpt-oss-120b", "gpus": (1, 2), **TUNED[engine]},
        ),
    }  # fmt: skip
    if engine == "llama.cpp":
        found["embeddings on AMD"] = CommandInputs(
            model="bge-m3", format=form, quantization="Q8_0", context=8192, repo="owner/bge-m3-GGUF",
            file="bge-m3-Q8_0.gguf", gpus=(0,), vendor="amd", kind=ModelKind.EMBEDDING, port=9090, host="::1",
        )  # fmt: skip
    return found


def document(command: EngineCommand) -> dict[str, Any]:
    """A command as a golden file keeps it."""
    return {
        "environment": dict(command.environment),
        "files": {name: content.splitlines() for name, content in command.files.items()},
        "lines": [list(line) for line in command.lines],
        "serving": command.serving,
        "address": command.address,
        "key_variable": command.key_variable,
        "notes": [str(one) for one in command.notes],
    }
