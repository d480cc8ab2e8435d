"""Transformers: ``transformers serve``. Followed: cli/serve.py of Transformers 5.23.0."""

from __future__ import annotations

from ansambl.domain.text import text
from ansambl.engines.command_lines import parts
from ansambl.engines.command_lines.records import CommandInputs, EngineCommand
from ansambl.engines.command_lines.settings import EngineLines, Given, Kind, Setting

_NAME = "transformers"
_TITLE = "Transformers"
_PORT = 8000
_VERIFIED = parts.flags_checked("Transformers 5.23.0")
_NO_FLAG = text("'transformers serve' has no flag for it")
_ONE_GPU = text("it splits tensors only under torchrun; take vLLM or SGLang for several GPUs")

_SETTINGS = (
    Setting("dtype", "--dtype", choices=("auto", "bfloat16", "float16", "float32")),
    Setting("quantization", choices=("auto", "none", "bnb-4bit", "bnb-8bit")),
    Setting("attention", choices=("auto", "sdpa", "eager", "flash_attention_2", "flash_attention_3")),
    Setting("device_map", choices=("auto", "cuda", "cpu")),
    Setting("double_quant", kind=Kind.SWITCH, refusal=_NO_FLAG),
    Setting("prefill_chunk_size", kind=Kind.WHOLE, refusal=_NO_FLAG),
    Setting("tensor_parallel", kind=Kind.WHOLE),
    Setting("mxfp4_kernels", kind=Kind.SWITCH, forecast_only=True),
    Setting("ram_margin", kind=Kind.SIZE, forecast_only=True),
    Setting("engine_version", forecast_only=True),
    Setting("continuous_batching", kind=Kind.SWITCH, extra=True),
    Setting("cb_block_size", "--cb-block-size", Kind.WHOLE, extra=True),
    Setting("cb_num_blocks", "--cb-num-blocks", Kind.WHOLE, extra=True),
    Setting("cb_max_batch_tokens", "--cb-max-batch-tokens", Kind.WHOLE, extra=True),
    Setting("cb_max_memory_percent", "--cb-max-memory-percent", Kind.NUMBER, extra=True),
    Setting("compile", "--compile", Kind.SWITCH, off="--no-compile", extra=True),
    Setting("trust_remote_code", "--trust-remote-code", Kind.SWITCH, off="--no-trust-remote-code", extra=True),
    Setting("reasoning", "--reasoning", choices=("on", "off", "auto"), extra=True),
)


def _source(inputs: CommandInputs) -> str:
    if inputs.format == "gguf" and inputs.path is None and inputs.repo is not None:
        return f"{inputs.repo}:{parts.gguf_file(inputs)}"
    return inputs.path or inputs.repo or parts.model_folder(inputs)


def _build(inputs: CommandInputs, given: Given) -> EngineCommand:
    parts.refuse_beside(inputs, _TITLE)
    host, port, where = parts.address(inputs, _PORT)
    parts.one_kv_type(inputs, {}, _TITLE)
    if (given.whole("tensor_parallel") or 1) > 1:
        raise parts.refused(_TITLE, "tensor_parallel", _ONE_GPU)
    words = ["transformers", "serve", _source(inputs), "--host", host, "--port", str(port)]
    words += ["--device", given.word("device_map") or ("auto" if inputs.gpus else "cpu")]
    for name, flag in (("quantization", "--quantization"), ("attention", "--attn-implementation")):
        if given.word(name) not in {None, "auto", "none"}:
            words += [flag, str(given.word(name))]
    batching = given.switch("continuous_batching")
    wanted = inputs.parallel > 1 or any(word.startswith("--cb-") for word in given.flags())
    if batching or (batching is None and wanted):
        words.append("--continuous-batching")
    return EngineCommand(
        engine=_NAME, lines=((*words, *given.flags()),), verified=_VERIFIED, address=where,
        environment=parts.visible_gpus(inputs),
        notes=(
            parts.no_key(where),
            *(parts.guessed_name(inputs) if inputs.format == "gguf" else ()),
            text("{engine} has no limit of context on its command line: it grows with each request, so keep requests "
                 "within {context} tokens", engine=_TITLE, context=inputs.context),
        ),
    )  # fmt: skip


LINES: EngineLines = EngineLines(_NAME, _TITLE, ("safetensors", "gguf"), _SETTINGS, _build)
"""The engine."""
