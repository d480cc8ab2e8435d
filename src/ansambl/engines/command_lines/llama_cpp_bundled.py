"""The llama.cpp that Ansambl brings: our own module with its parameters as JSON.

The flags are llama-server's, mapped by `ansambl.engines.shared.llama_flags`; tried on the real engine by the tests.
"""

from __future__ import annotations

import json

from ansambl.domain.engine import KEY_VARIABLE
from ansambl.domain.errors import NotSupportedError
from ansambl.domain.text import text
from ansambl.domain.units import MIB
from ansambl.engines.command_lines import llama_cpp, parts
from ansambl.engines.command_lines.records import CommandInputs, EngineCommand
from ansambl.engines.command_lines.settings import EngineLines, Given, Kind, Setting
from ansambl.engines.shared import openmp
from ansambl.engines.shared.llama_flags import read_flags
from ansambl.engines.shared.llama_server import Parameters

_NAME = "llama.cpp-bundled"
_TITLE = "llama.cpp-bundled"
_MODULE = "ansambl.engines.shared.llama_server"
_USE_LLAMA_CPP = text("take llama.cpp itself for that (--engine llama.cpp)")
_VERIFIED = parts.tried("xllamacpp 2026.10.11549")

_SETTINGS = (
    Setting("n_gpu_layers", "--n-gpu-layers", Kind.LAYERS),
    Setting("n_cpu_moe", kind=Kind.WHOLE, refusal=_USE_LLAMA_CPP),
    Setting("cpu_moe", kind=Kind.SWITCH, refusal=_USE_LLAMA_CPP),
    Setting("n_batch", "--batch-size", Kind.WHOLE),
    Setting("n_ubatch", "--ubatch-size", Kind.WHOLE),
    Setting("flash_attention", kind=Kind.SWITCH),
    Setting("kv_unified", kind=Kind.SWITCH, refusal=_USE_LLAMA_CPP),
    Setting("swa_full", "--swa-full", Kind.SWITCH),
    Setting("prompt_cache", kind=Kind.SIZE),
    Setting("kv_offload", kind=Kind.SWITCH, usual=True),
    Setting("split_mode", "--split-mode", choices=("none", "layer", "row", "tensor")),
    Setting("tensor_split", "--tensor-split"),
    Setting("main_gpu", "--main-gpu", Kind.WHOLE),
    Setting("mmproj_offload", kind=Kind.SWITCH, usual=True, refusal=_USE_LLAMA_CPP),
    Setting("mmproj", kind=Kind.SIZE, refusal=_USE_LLAMA_CPP),
    Setting("lora", kind=Kind.SIZE, refusal=_USE_LLAMA_CPP),
    Setting("engine_version", forecast_only=True),
    Setting("ram_margin", kind=Kind.SIZE, forecast_only=True),
    Setting("threads", kind=Kind.WHOLE, extra=True),
)


def _build(inputs: CommandInputs, given: Given) -> EngineCommand:
    if inputs.gpus and inputs.vendor != "apple":
        raise NotSupportedError(
            text("{engine} runs on the processor (and on Metal on a Mac), not on this GPU; use --engine llama.cpp",
                 engine=_TITLE)
        )  # fmt: skip
    parts.refuse_beside(inputs, _TITLE)
    host, port, where = parts.address(inputs, llama_cpp.PORT)
    arguments = [*given.flags(), *llama_cpp.kv_words(inputs, given)]
    if given.switch("kv_offload") is False:
        arguments.append("--no-kv-offload")
    parameters = Parameters(
        checkpoint=inputs.path or parts.gguf_file(inputs), model=inputs.model, host=host, port=port,
        context=inputs.context, parallel=inputs.parallel, threads=given.whole("threads"),
        prompt_cache_mib=(given.whole("prompt_cache") or 0) // MIB, options=read_flags(arguments, inputs.model),
    )  # fmt: skip
    words = ("python", "-P", "-m", _MODULE, json.dumps(parameters, ensure_ascii=False))
    return EngineCommand(
        engine=_NAME, lines=(*parts.download(inputs, "."), words), verified=_VERIFIED, address=where,
        environment=dict(openmp.ENVIRONMENT), key_variable=KEY_VARIABLE, notes=parts.guessed_name(inputs),
        serving=len(parts.download(inputs, ".")),
    )  # fmt: skip


LINES: EngineLines = EngineLines(_NAME, _TITLE, ("gguf",), _SETTINGS, _build)
"""The engine."""
