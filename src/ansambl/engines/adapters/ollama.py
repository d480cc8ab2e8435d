"""Ollama: a Modelfile, and ``ollama serve``, ``create`` and ``run``.

Followed: docs/modelfile.mdx @071c82b1, docs/faq.mdx @00182b50, api/types.go (Runner) of ollama/ollama. Ollama itself
multiplies ``num_ctx`` by the number of parallel requests.
"""

from __future__ import annotations

import re

from ansambl.domain.text import text
from ansambl.engines.command_lines import parts
from ansambl.engines.command_lines.records import CommandInputs, EngineCommand
from ansambl.engines.command_lines.settings import EngineLines, Given, Kind, Setting, written

_NAME = "ollama"
_TITLE = "Ollama"
_PORT = 11434
_VERIFIED = parts.as_documented("Ollama, docs/modelfile.mdx @071c82b1, docs/faq.mdx @00182b50")
_DECIDES = text("Ollama decides that by itself; take llama.cpp (--engine llama.cpp) to set it")
_KV_TYPES = {"q8_0": "q8_0", "q4_0": "q4_0"}
_UNFIT = re.compile(r"[^a-z0-9._-]+")

_SETTINGS = (
    Setting("n_gpu_layers", kind=Kind.LAYERS),
    Setting("n_batch", kind=Kind.WHOLE),
    Setting("flash_attention", kind=Kind.SWITCH),
    Setting("n_cpu_moe", kind=Kind.WHOLE, refusal=_DECIDES),
    Setting("cpu_moe", kind=Kind.SWITCH, refusal=_DECIDES),
    Setting("n_ubatch", kind=Kind.WHOLE, refusal=_DECIDES),
    Setting("kv_unified", kind=Kind.SWITCH, refusal=_DECIDES),
    Setting("swa_full", kind=Kind.SWITCH, refusal=_DECIDES),
    Setting("prompt_cache", kind=Kind.SIZE, refusal=_DECIDES),
    Setting("kv_offload", kind=Kind.SWITCH, refusal=_DECIDES, usual=True),
    Setting("split_mode", refusal=_DECIDES),
    Setting("tensor_split", refusal=_DECIDES),
    Setting("main_gpu", kind=Kind.WHOLE),
    Setting("mmproj_offload", kind=Kind.SWITCH, refusal=_DECIDES, usual=True),
    Setting("mmproj", kind=Kind.SIZE, refusal=_DECIDES),
    Setting("lora", kind=Kind.SIZE, forecast_only=True),
    Setting("engine_version", forecast_only=True),
    Setting("ram_margin", kind=Kind.SIZE, forecast_only=True),
    Setting("threads", kind=Kind.WHOLE, extra=True),
    Setting("keep_alive", extra=True),
    Setting("draft_tokens", kind=Kind.WHOLE, extra=True),
)
_PARAMETERS = {"n_gpu_layers": "num_gpu", "n_batch": "num_batch", "threads": "num_thread", "main_gpu": "main_gpu",
               "draft_tokens": "draft_num_predict"}  # fmt: skip


def model_name(model: str) -> str:
    """A name that Ollama takes for a model."""
    return _UNFIT.sub("-", model.lower()).strip("-.") or "model"


def _source(inputs: CommandInputs) -> str:
    if inputs.path is not None:
        return inputs.path
    if inputs.format == "gguf" and inputs.repo is not None:
        return f"hf.co/{inputs.repo}:{inputs.quantization}"
    return f"./{parts.gguf_file(inputs) if inputs.format == 'gguf' else parts.model_folder(inputs)}"


def _build(inputs: CommandInputs, given: Given) -> EngineCommand:
    parts.refuse_beside(inputs, _TITLE, ("mmproj", "draft"))
    host, port, where = parts.address(inputs, _PORT)
    kv_type = parts.one_kv_type(inputs, _KV_TYPES, _TITLE)
    flash = given.switch("flash_attention")
    if kv_type is not None and flash is False:
        raise parts.contradiction("flash_attention=off", f"--kv-type {kv_type}", _TITLE)
    lines = [f"FROM {_source(inputs)}", f"PARAMETER num_ctx {inputs.context}"]
    layers = given.whole("n_gpu_layers") if inputs.gpus else 0
    for name, parameter in _PARAMETERS.items():
        value = layers if name == "n_gpu_layers" else given.whole(name)
        if value is not None:
            lines.append(f"PARAMETER {parameter} {written(value)}")
    lines += [f"ADAPTER {one.path}" for one in inputs.loras]
    environment = {
        **parts.visible_gpus(inputs), "OLLAMA_HOST": f"{host}:{port}",
        "OLLAMA_NUM_PARALLEL": str(inputs.parallel), "OLLAMA_CONTEXT_LENGTH": str(inputs.context),
    }  # fmt: skip
    if flash is not None or kv_type is not None:
        environment["OLLAMA_FLASH_ATTENTION"] = "0" if flash is False else "1"
    if kv_type is not None:
        environment["OLLAMA_KV_CACHE_TYPE"] = kv_type
    if given.word("keep_alive") is not None:
        environment["OLLAMA_KEEP_ALIVE"] = str(given.word("keep_alive"))
    fetch = parts.download(inputs, parts.model_folder(inputs)) if inputs.format != "gguf" else ()
    name = model_name(inputs.model)
    return EngineCommand(
        engine=_NAME, verified=_VERIFIED, address=where, environment=environment, serving=len(fetch),
        lines=(*fetch, ("ollama", "serve"), ("ollama", "create", name, "-f", "Modelfile"), ("ollama", "run", name, "")),
        files={"Modelfile": "\n".join(lines) + "\n"},
        notes=(
            text("'{command}' stays in the foreground: type what follows in a second terminal, with the same "
                 "environment; where Ollama runs as a service, set the environment there and leave it out",
                 command="ollama serve"),
            parts.no_key(where),
        ),
    )  # fmt: skip


LINES: EngineLines = EngineLines(_NAME, _TITLE, ("gguf", "safetensors"), _SETTINGS, _build)
"""The engine."""
