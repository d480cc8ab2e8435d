"""Text Generation Inference: ``text-generation-launcher``.

Followed: docs/source/reference/launcher.md of huggingface/text-generation-inference @032fc4c4. It is in maintenance
mode since December 2025 (README of the project, commit 34988476).
"""

from __future__ import annotations

from ansambl.domain.text import text
from ansambl.engines.command_lines import parts
from ansambl.engines.command_lines.records import CommandInputs, EngineCommand
from ansambl.engines.command_lines.settings import EngineLines, Given, Kind, Setting

_NAME = "tgi"
_TITLE = "TGI"
_PORT = 3000
_VERIFIED = parts.as_documented("text-generation-inference @032fc4c4, launcher reference")
_KV_TYPES = {"fp8": "fp8_e4m3fn", "fp8_e4m3": "fp8_e4m3fn", "fp8_e4m3fn": "fp8_e4m3fn", "fp8_e5m2": "fp8_e5m2"}
_QUANTIZE = ("awq", "compressed-tensors", "eetq", "exl2", "gptq", "marlin", "bitsandbytes", "bitsandbytes-nf4",
             "bitsandbytes-fp4", "fp8")  # fmt: skip

_SETTINGS = (
    Setting("tensor_parallel", kind=Kind.WHOLE),
    Setting("cuda_memory_fraction", "--cuda-memory-fraction", Kind.NUMBER),
    Setting("max_batch_prefill_tokens", "--max-batch-prefill-tokens", Kind.WHOLE),
    Setting("enforce_eager", kind=Kind.SWITCH, extra=True),
    Setting("engine_version", forecast_only=True),
    Setting("max_concurrent_requests", "--max-concurrent-requests", Kind.WHOLE, extra=True),
    Setting("quantize", "--quantize", choices=_QUANTIZE, extra=True),
    Setting("dtype", "--dtype", choices=("float16", "bfloat16"), extra=True),
    Setting("trust_remote_code", "--trust-remote-code", Kind.SWITCH, extra=True),
)


def _build(inputs: CommandInputs, given: Given) -> EngineCommand:
    parts.refuse_beside(inputs, _TITLE, ("mmproj", "draft"))
    host, port, where = parts.address(inputs, _PORT)
    ranks = parts.tensor_parallel(inputs, given.whole("tensor_parallel"))
    kv_type = parts.one_kv_type(inputs, _KV_TYPES, _TITLE)
    words = [
        "text-generation-launcher", "--model-id", inputs.path or inputs.repo or parts.model_folder(inputs),
        "--hostname", host, "--port", str(port),
        # The prompt must be shorter than prompt and answer together.
        "--max-input-tokens", str(max(1, inputs.context - 1)), "--max-total-tokens", str(inputs.context),
        "--max-batch-total-tokens", str(inputs.context * inputs.parallel), "--num-shard", str(ranks), *given.flags(),
    ]  # fmt: skip
    if given.switch("enforce_eager"):
        words += ["--cuda-graphs", "0"]
    if kv_type is not None:
        words += ["--kv-cache-dtype", kv_type]
    if inputs.loras:
        words += ["--lora-adapters", ",".join(f"{one.name}={one.path}" for one in inputs.loras)]
    return EngineCommand(
        engine=_NAME, lines=(tuple(words),), verified=_VERIFIED, address=where,
        environment=parts.visible_gpus(inputs, ranks), key_variable="API_KEY",
        notes=(
            text("TGI is in maintenance mode since December 2025; its page points to vLLM, SGLang and llama.cpp"),
        ),
    )  # fmt: skip


LINES: EngineLines = EngineLines(_NAME, _TITLE, ("safetensors",), _SETTINGS, _build)
"""The engine."""
