"""SGLang: ``python -m sglang.launch_server``. Followed: srt/arg_groups/fields/*.py of SGLang 0.5.23."""

from __future__ import annotations

from ansambl.engines.command_lines import parsers, parts
from ansambl.engines.command_lines.records import CommandInputs, EngineCommand
from ansambl.engines.command_lines.settings import EngineLines, Given, Kind, Setting

_NAME = "sglang"
_TITLE = "SGLang"
_PORT = 30000
_VERIFIED = parts.flags_checked("SGLang 0.5.23")
_KV_TYPES = {"fp8": "fp8_e4m3", "fp8_e4m3": "fp8_e4m3", "fp8_e5m2": "fp8_e5m2", "bf16": "bf16", "bfloat16": "bf16",
             "mxfp8": "mxfp8", "nvfp4": "nvfp4", "fp4_mx_block16": "fp4_mx_block16"}  # fmt: skip

_SETTINGS = (
    Setting("tensor_parallel", kind=Kind.WHOLE),
    Setting("mem_fraction_static", "--mem-fraction-static", Kind.NUMBER),
    Setting("max_running_requests", "--max-running-requests", Kind.WHOLE),
    Setting("max_total_tokens", "--max-total-tokens", Kind.WHOLE),
    Setting("chunked_prefill_size", "--chunked-prefill-size", Kind.WHOLE),
    Setting("max_prefill_tokens", "--max-prefill-tokens", Kind.WHOLE),
    Setting("page_size", "--page-size", Kind.WHOLE),
    Setting("moe_backend", "--moe-runner-backend"),
    Setting("disable_cuda_graph", kind=Kind.SWITCH),
    Setting("swa_full_tokens_ratio", "--swa-full-tokens-ratio", Kind.NUMBER),
    Setting("mamba_full_memory_ratio", "--mamba-full-memory-ratio", Kind.NUMBER),
    Setting("multimodal", "--enable-multimodal", Kind.SWITCH),
    Setting("engine_version", forecast_only=True),
    Setting("total_memory", kind=Kind.SIZE, forecast_only=True),
    Setting("attention_backend", "--attention-backend", extra=True),
    Setting("cuda_graph_max_bs", "--cuda-graph-max-bs-decode", Kind.WHOLE),
    Setting("cpu_offload_gb", "--cpu-offload-gb", Kind.WHOLE, extra=True),
    Setting("dtype", "--dtype", extra=True),
    Setting("quantization", "--quantization", extra=True),
    Setting("load_format", "--load-format", extra=True),
    Setting("disable_radix_cache", "--disable-radix-cache", Kind.SWITCH, extra=True),
    Setting("trust_remote_code", "--trust-remote-code", Kind.SWITCH, extra=True),
    Setting("max_loras_per_batch", "--max-loras-per-batch", Kind.WHOLE),
    Setting("max_lora_rank", "--max-lora-rank", Kind.WHOLE),
    Setting("tool_call_parser", extra=True),
    Setting("reasoning_parser", extra=True),
    Setting("draft_tokens", "--speculative-num-draft-tokens", Kind.WHOLE, extra=True),
)


def _build(inputs: CommandInputs, given: Given) -> EngineCommand:
    parts.refuse_projector(inputs, _TITLE)
    host, port, where = parts.address(inputs, _PORT)
    ranks = parts.tensor_parallel(inputs, given.whole("tensor_parallel"))
    kv_type = parts.one_kv_type(inputs, _KV_TYPES, _TITLE)
    tool, reasoning = parsers.chosen("sglang", inputs.short_name, given)
    gguf = inputs.format == "gguf" and inputs.path is None
    where_it_is = parts.gguf_file(inputs) if gguf else inputs.path or inputs.repo or parts.model_folder(inputs)
    words = [
        "python", "-m", "sglang.launch_server", "--model-path", where_it_is, "--served-model-name", inputs.model,
        "--host", host, "--port", str(port), "--context-length", str(inputs.context),
    ]  # fmt: skip
    if ranks > 1:
        words += ["--tp-size", str(ranks)]
    words += given.flags()
    if given.switch("disable_cuda_graph"):
        words += ["--cuda-graph-backend-decode", "disabled", "--cuda-graph-backend-prefill", "disabled"]
    if kv_type is not None:
        words += ["--kv-cache-dtype", kv_type]
    if tool is not None:
        words += ["--tool-call-parser", tool]
    if reasoning is not None:
        words += ["--reasoning-parser", reasoning]
    if inputs.loras:
        words += ["--lora-paths", *(f"{one.name}={one.path}" for one in inputs.loras)]
    if inputs.draft is not None:
        words += ["--speculative-algorithm", "STANDALONE", "--speculative-draft-model-path", inputs.draft]
    fetch = parts.download(inputs, ".") if gguf else ()
    return EngineCommand(
        engine=_NAME, lines=(*fetch, tuple(words)), verified=_VERIFIED, address=where,
        environment=parts.visible_gpus(inputs, ranks), serving=len(fetch),
        notes=(
            parts.no_key(where),
            *(parts.guessed_name(inputs) if gguf else ()),
            parts.no_slots(_TITLE, inputs),
        ),
    )  # fmt: skip


LINES: EngineLines = EngineLines(_NAME, _TITLE, ("safetensors", "gguf"), _SETTINGS, _build)
"""The engine."""
