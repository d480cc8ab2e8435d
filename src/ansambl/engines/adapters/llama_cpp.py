"""llama.cpp's own server, ``llama-server``.

Followed: tools/server/README.md of ggml-org/llama.cpp @00dc8057 and the flags compiled into build b11549.
``--ctx-size`` is the total that the slots divide.
"""

from __future__ import annotations

from ansambl.domain.catalog import ModelKind
from ansambl.domain.text import Text, text
from ansambl.domain.units import MIB
from ansambl.engines.command_lines import parts
from ansambl.engines.command_lines.llama_words import kv_words, total_context
from ansambl.engines.command_lines.records import CommandInputs, EngineCommand
from ansambl.engines.command_lines.settings import EngineLines, Given, Kind, Setting

_NAME = "llama.cpp"
TITLE = "llama.cpp"
PORT = 8080
ALL_LAYERS = 999
"""More layers than any model has: means all of them in old builds too, which do not know the word "all"."""

_VERIFIED = parts.flags_checked("llama.cpp b11549")

SETTINGS = (
    Setting("n_gpu_layers", kind=Kind.LAYERS),
    Setting("n_cpu_moe", "--n-cpu-moe", Kind.WHOLE),
    Setting("cpu_moe", "--cpu-moe", Kind.SWITCH),
    Setting("n_batch", "--batch-size", Kind.WHOLE),
    Setting("n_ubatch", "--ubatch-size", Kind.WHOLE),
    Setting("flash_attention", kind=Kind.SWITCH),
    Setting("kv_unified", "--kv-unified", Kind.SWITCH, off="--no-kv-unified"),
    Setting("swa_full", "--swa-full", Kind.SWITCH),
    Setting("prompt_cache", kind=Kind.SIZE),
    Setting("kv_offload", "--kv-offload", Kind.SWITCH, off="--no-kv-offload", usual=True),
    Setting("split_mode", "--split-mode", choices=("none", "layer", "row", "tensor")),
    Setting("tensor_split", "--tensor-split"),
    Setting("main_gpu", "--main-gpu", Kind.WHOLE),
    Setting("mmproj_offload", "--mmproj-offload", Kind.SWITCH, off="--no-mmproj-offload", usual=True),
    Setting("mmproj", kind=Kind.SIZE, forecast_only=True),
    Setting("lora", kind=Kind.SIZE, forecast_only=True),
    Setting("engine_version", forecast_only=True),
    Setting("ram_margin", kind=Kind.SIZE, forecast_only=True),
    Setting("n_cpu_ffn", "--n-cpu-ffn", Kind.WHOLE, extra=True),
    Setting("threads", "--threads", Kind.WHOLE, extra=True),
    Setting("threads_batch", "--threads-batch", Kind.WHOLE, extra=True),
    Setting("cache_reuse", "--cache-reuse", Kind.WHOLE, extra=True),
    Setting("ctx_checkpoints", "--ctx-checkpoints", Kind.WHOLE, extra=True),
    Setting("load_mode", "--load-mode", choices=("auto", "none", "mmap", "mlock", "mmap+mlock", "dio"), extra=True),
    Setting("numa", "--numa", choices=("distribute", "isolate", "numactl"), extra=True),
    Setting("jinja", "--jinja", Kind.SWITCH, off="--no-jinja", extra=True),
    Setting("chat_template_file", "--chat-template-file", extra=True),
    Setting("reasoning_format", "--reasoning-format", choices=("auto", "none", "deepseek", "deepseek-legacy"),
            extra=True),
    Setting("reasoning_budget", "--reasoning-budget", Kind.WHOLE, extra=True),
    Setting("slot_save_path", "--slot-save-path", extra=True),
    Setting("metrics", "--metrics", Kind.SWITCH, extra=True),
    Setting("draft_tokens", "--spec-draft-n-max", Kind.WHOLE, extra=True),
)  # fmt: skip


def layer_words(inputs: CommandInputs, given: Given) -> tuple[list[str], tuple[Text, ...]]:
    """Which layers go to the GPUs; without GPUs none may be tried."""
    layers = given.whole("n_gpu_layers")
    if inputs.gpus:
        return ["--n-gpu-layers", str(ALL_LAYERS if layers is None else layers)], ()
    unused = () if layers is None else (text("the placement has no GPU: n_gpu_layers={count} says nothing here",
                                             count=layers),)  # fmt: skip
    return ["--device", "none"], unused


def _source(inputs: CommandInputs) -> list[str]:
    if inputs.path is not None:
        return ["--model", inputs.path]
    if inputs.repo is None:
        return ["--model", parts.gguf_file(inputs)]
    if inputs.file is not None and not parts.is_pattern(inputs.file):
        return ["--hf-repo", inputs.repo, "--hf-file", inputs.file]
    return ["--hf-repo", f"{inputs.repo}:{inputs.quantization}"]


def _build(inputs: CommandInputs, given: Given) -> EngineCommand:
    host, port, where = parts.address(inputs, PORT)
    layers, notes = layer_words(inputs, given)
    words = [
        "llama-server", *_source(inputs), "--alias", inputs.model, "--host", host, "--port", str(port),
        "--ctx-size", str(total_context(inputs)), "--parallel", str(inputs.parallel), *layers, *given.flags(),
        *kv_words(inputs, given),
        # What fits was decided before; llama-server would try again and could change it.
        "--fit", "off",
        # Its own default keeps up to 8 GiB of finished prompts in RAM, which the forecast does not count.
        "--cache-ram", str((given.whole("prompt_cache") or 0) // MIB),
    ]  # fmt: skip
    if inputs.kind is ModelKind.EMBEDDING:
        words.append("--embeddings")
    if inputs.kind is ModelKind.RERANKER:
        words.append("--reranking")
    if inputs.mmproj is not None:
        words += ["--mmproj", inputs.mmproj]
    elif inputs.path is None and inputs.repo is not None and not inputs.vision:
        words.append("--no-mmproj")
    if inputs.loras:
        words += ["--lora", ",".join(one.path for one in inputs.loras)]
    if inputs.draft is not None:
        words += ["--model-draft", inputs.draft, "--spec-type", "draft-simple"]
    if inputs.parallel > 1:
        notes += (
            text("llama.cpp divides its cells among the slots: {total} = {parallel} × {context} tokens",
                 total=total_context(inputs), parallel=inputs.parallel, context=inputs.context),
        )  # fmt: skip
    return EngineCommand(
        engine=_NAME, lines=(tuple(words),), verified=_VERIFIED, address=where,
        environment=parts.visible_gpus(inputs), notes=notes, key_variable="LLAMA_API_KEY",
    )  # fmt: skip


LINES: EngineLines = EngineLines(_NAME, TITLE, ("gguf",), SETTINGS, _build)
"""The engine."""
