"""vLLM: ``vllm serve``. Followed: engine/arg_utils.py and entrypoints/launchers/cli_args.py of vLLM 0.32.0."""

from __future__ import annotations

import json

from ansambl.domain.errors import UsageError
from ansambl.domain.text import text
from ansambl.engines.command_lines import parsers, parts
from ansambl.engines.command_lines.records import CommandInputs, EngineCommand
from ansambl.engines.command_lines.settings import EngineLines, Given, Kind, Setting

_NAME = "vllm"
_TITLE = "vLLM"
_PORT = 8000
_VERIFIED = parts.flags_checked("vLLM 0.32.0")
_KV_TYPES = {
    name: name
    for name in ("fp8", "fp8_e4m3", "fp8_e5m2", "int8_per_token_head", "int4_per_token_head", "fp8_per_token_head",
                 "nvfp4", "turboquant_k8v4", "turboquant_4bit_nc", "turboquant_k3v4_nc", "turboquant_3bit_nc")
}  # fmt: skip

_SETTINGS = (
    Setting("tensor_parallel", kind=Kind.WHOLE),
    Setting("gpu_memory_utilization", "--gpu-memory-utilization", Kind.NUMBER),
    Setting("kv_cache_memory_bytes", "--kv-cache-memory-bytes", Kind.WHOLE),
    Setting("max_num_seqs", "--max-num-seqs", Kind.WHOLE),
    Setting("max_num_batched_tokens", "--max-num-batched-tokens", Kind.WHOLE),
    Setting("block_size", "--block-size", Kind.WHOLE),
    Setting("enforce_eager", "--enforce-eager", Kind.SWITCH, off="--no-enforce-eager"),
    Setting("moe_backend", "--moe-backend"),
    Setting("cpu_offload_gb", "--cpu-offload-gb", Kind.NUMBER),
    Setting("enable_lora", kind=Kind.SWITCH),
    Setting("max_loras", "--max-loras", Kind.WHOLE),
    Setting("max_lora_rank", "--max-lora-rank", Kind.WHOLE),
    Setting("engine_version", forecast_only=True),
    Setting("total_memory", kind=Kind.SIZE, forecast_only=True),
    Setting("pipeline_parallel", "--pipeline-parallel-size", Kind.WHOLE, extra=True),
    Setting("data_parallel", "--data-parallel-size", Kind.WHOLE, extra=True),
    Setting("enable_expert_parallel", "--enable-expert-parallel", Kind.SWITCH, off="--no-enable-expert-parallel",
            extra=True),
    Setting("attention_backend", "--attention-backend", extra=True),
    Setting("dtype", "--dtype", extra=True),
    Setting("quantization", "--quantization", extra=True),
    Setting("load_format", "--load-format", extra=True),
    Setting("enable_prefix_caching", "--enable-prefix-caching", Kind.SWITCH, off="--no-enable-prefix-caching"),
    Setting("async_scheduling", "--async-scheduling", Kind.SWITCH, off="--no-async-scheduling", extra=True),
    Setting("enable_sleep_mode", "--enable-sleep-mode", Kind.SWITCH, off="--no-enable-sleep-mode", extra=True),
    Setting("trust_remote_code", "--trust-remote-code", Kind.SWITCH, off="--no-trust-remote-code", extra=True),
    Setting("max_cpu_loras", "--max-cpu-loras", Kind.WHOLE, extra=True),
    Setting("chat_template", "--chat-template", extra=True),
    Setting("limit_mm_per_prompt", "--limit-mm-per-prompt", extra=True),
    Setting("tool_call_parser", extra=True),
    Setting("reasoning_parser", extra=True),
    Setting("draft_tokens", kind=Kind.WHOLE, extra=True),
)  # fmt: skip


def _speculative(inputs: CommandInputs, given: Given) -> list[str]:
    tokens = given.whole("draft_tokens")
    if inputs.draft is None:
        parts.no_draft_tokens(tokens)
        return []
    if not tokens:
        raise UsageError(
            text("{engine} must be told how many tokens the draft model guesses; add --set draft_tokens=N",
                 engine=_TITLE)
        )  # fmt: skip
    return ["--speculative-config", json.dumps({"model": inputs.draft, "num_speculative_tokens": tokens})]


def _build(inputs: CommandInputs, given: Given) -> EngineCommand:
    parts.refuse_projector(inputs, _TITLE)
    host, port, where = parts.address(inputs, _PORT)
    ranks = parts.tensor_parallel(inputs, given.whole("tensor_parallel"))
    kv_type = parts.one_kv_type(inputs, _KV_TYPES, _TITLE)
    tool, reasoning = parsers.chosen("vllm", inputs.short_name, given)
    words = [
        "vllm", "serve", inputs.path or inputs.repo or parts.model_folder(inputs), "--served-model-name", inputs.model,
        "--host", host, "--port", str(port), "--max-model-len", str(inputs.context),
    ]  # fmt: skip
    if ranks > 1:
        words += ["--tensor-parallel-size", str(ranks)]
    words += given.flags()
    if kv_type is not None:
        words += ["--kv-cache-dtype", kv_type]
    if tool is not None:
        words += ["--enable-auto-tool-choice", "--tool-call-parser", tool]
    if reasoning is not None:
        words += ["--reasoning-parser", reasoning]
    if inputs.loras or given.switch("enable_lora"):
        words.append("--enable-lora")
    if inputs.loras:
        words += ["--lora-modules", *(f"{one.name}={one.path}" for one in inputs.loras)]
    words += _speculative(inputs, given)
    return EngineCommand(
        engine=_NAME, lines=(tuple(words),), verified=_VERIFIED, address=where,
        environment=parts.visible_gpus(inputs, ranks), key_variable="VLLM_API_KEY",
        notes=(
            parts.no_slots(_TITLE, inputs),
        ),
    )  # fmt: skip


LINES: EngineLines = EngineLines(_NAME, _TITLE, ("safetensors",), _SETTINGS, _build)
"""The engine."""
