"""llama.cpp out of the ``xllamacpp`` wheel, in a child process: the engine that every installation has."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import sys
from collections.abc import Sequence
from dataclasses import replace

from ansambl.domain.engine import (
    KEY_VARIABLE,
    EngineTraits,
    ExitExplanation,
    ExitReason,
    Installed,
    LaunchSpec,
    NotUsable,
    ProbeSpec,
    Surroundings,
)
from ansambl.domain.errors import NotSupportedError
from ansambl.domain.plan import Placement
from ansambl.domain.text import text
from ansambl.domain.units import MIB, Seconds
from ansambl.engines.adapter import NOWHERE
from ansambl.engines.command_lines import llama_words, parts
from ansambl.engines.command_lines.records import CommandInputs, EngineCommand
from ansambl.engines.command_lines.settings import EngineLines, Given, Kind, Setting
from ansambl.engines.shared import exits, llama_exits, openmp
from ansambl.engines.shared.digest import launch_digest
from ansambl.engines.shared.launching import inputs_for
from ansambl.engines.shared.llama_abilities import OPERATIONS, LlamaAbilities
from ansambl.engines.shared.llama_flags import read_flags
from ansambl.engines.shared.llama_loras import FORMAT
from ansambl.engines.shared.llama_placements import check_placement, settings_of
from ansambl.engines.shared.llama_server import (
    EXIT_MODEL,
    EXIT_NO_WHEEL,
    EXIT_PARAMETERS,
    EXIT_PORT,
    Parameters,
)

_WHEEL = "xllamacpp"
_MODULE = "ansambl.engines.shared.llama_server"
_TITLE = "llama.cpp"
_NAME = "llama.cpp-bundled"
_LINES_TITLE = "llama.cpp-bundled"
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
    Setting("lora", kind=Kind.SIZE, forecast_only=True),
    Setting("engine_version", forecast_only=True),
    Setting("ram_margin", kind=Kind.SIZE, forecast_only=True),
    Setting("threads", kind=Kind.WHOLE, extra=True),
)


def _parameters(
    inputs: CommandInputs, given: Given, *, host: str = "127.0.0.1", port: int = 0, arguments: Sequence[str] = ()
) -> Parameters:
    """What the program is told; `arguments` are the user's own, which come last and win."""
    parts.refuse_beside(inputs, _LINES_TITLE, ("mmproj", "draft"))
    llama_words.check_cache_beside_loras(inputs, given)
    words = [*given.flags(), *llama_words.kv_words(inputs, given), *llama_words.kind_words(inputs, given)]
    if given.switch("kv_offload") is False:
        words.append("--no-kv-offload")
    parameters = Parameters(
        checkpoint=inputs.path or parts.gguf_file(inputs), model=inputs.model, host=host, port=port,
        context=inputs.context, parallel=inputs.parallel, threads=given.whole("threads"),
        prompt_cache_mib=(given.whole("prompt_cache") or 0) // MIB,
        options={**read_flags(words, inputs.model), **read_flags(arguments, inputs.model)},
    )  # fmt: skip
    if inputs.loras:
        parameters["loras"] = [one.path for one in inputs.loras]
    return parameters


def _build(inputs: CommandInputs, given: Given) -> EngineCommand:
    if inputs.gpus and inputs.vendor != "apple":
        raise NotSupportedError(
            text("{engine} runs on the processor (and on Metal on a Mac), not on this GPU; use --engine llama.cpp",
                 engine=_LINES_TITLE)
        )  # fmt: skip
    host, port, where = parts.address(inputs, llama_words.PORT)
    parameters = _parameters(inputs, given, host=host, port=port)
    words = ("python", "-P", "-m", _MODULE, json.dumps(parameters, ensure_ascii=False))
    return EngineCommand(
        engine=_NAME, lines=(*parts.download(inputs, "."), words), verified=_VERIFIED, address=where,
        environment=dict(openmp.ENVIRONMENT), key_variable=KEY_VARIABLE, notes=parts.guessed_name(inputs),
        serving=len(parts.download(inputs, ".")),
    )  # fmt: skip


LINES: EngineLines = EngineLines(_NAME, _LINES_TITLE, ("gguf",), _SETTINGS, _build)
"""How its command line is written; the flags are llama-server's, mapped by `ansambl.engines.shared.llama_flags`."""


def _version() -> str:
    try:
        return importlib.metadata.version(_WHEEL)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


class LlamaCppBundled(LlamaAbilities):
    """The adapter. The wheel of the package index runs on the CPU (and on Metal on a Mac)."""

    traits = EngineTraits(
        name="llama.cpp-bundled",
        title=_TITLE,
        formats=frozenset({"gguf"}),
        devices=frozenset({"cpu", "metal"}),
        # Its own /v1/messages and /v1/responses lose more than a translation does: tried on 2026.10.11549, the first
        # hears no slot, no LoRA adapter and no output format, and drops documents; the second hears no output format,
        # and calls an answer complete that was cut.
        dialects=frozenset({"openai_chat", "openai_responses", "anthropic_messages"}),
        operations=OPERATIONS,
        lora_formats=frozenset({FORMAT}),
        activated_loras=True,
        # Tried on 2026.10.11549, and llama.cpp's issue 26535: an object is taken for "auto", without a word.
        names_tools=False,
        verified="xllamacpp 2026.10.11549 (CPU)",
    )
    lines: EngineLines | None = LINES
    # It listens at once and answers 503 until the model is loaded, which takes minutes for a big one on a slow disk.
    probe = ProbeSpec(path="/health", status=200, patience=Seconds(600.0))

    def detect(self, around: Surroundings = NOWHERE) -> Installed | NotUsable:
        """Usable where the wheel is installed and the processor has what it was compiled for."""
        if importlib.util.find_spec(_WHEEL) is None:
            return NotUsable(
                text("the xllamacpp package is not installed"),
                text("install it (pip install xllamacpp), or give a model an address or a command"),
            )
        cpu = around.machine.cpu if around.machine else None
        if cpu and cpu.architecture in ("x86_64", "AMD64") and cpu.flags and "avx2" not in cpu.flags:
            return NotUsable(
                text("this processor has no AVX2, which the xllamacpp package was compiled for"),
                text("build one for it: ansambl engines install llama.cpp --compile"),
            )
        return Installed(version=_version())

    def launch_spec(self, placement: Placement, *, port: int, secret: str) -> LaunchSpec:
        """Our own module as a child process, its parameters as JSON in one argument."""
        check_placement(placement, _TITLE)
        inputs = replace(inputs_for(placement, FORMAT), settings=settings_of(placement))
        parameters = _parameters(
            inputs, Given(LINES, inputs.settings), arguments=placement.options.arguments
        )  # fmt: skip
        identity = placement.checkpoint.identity if placement.checkpoint else ""
        # Nothing of the folder that Ansambl was started in may stand before the standard library (-P).
        program = (sys.executable, "-P", "-m", _MODULE)
        environment = {**openmp.ENVIRONMENT, **placement.options.environment}
        digest = launch_digest(
            (*program, json.dumps(parameters)),
            environment,
            " ".join((_version(), identity, *(one.identity for one in placement.loras))),
        )
        parameters["port"] = port
        if placement.state_folder is not None:
            # It joins folder and name as they are.
            parameters["options"]["slot_save_path"] = placement.state_folder.rstrip("/") + "/"
        return LaunchSpec(
            engine=self.traits.name, argv=(*program, json.dumps(parameters)), port=port,
            environment={**environment, KEY_VARIABLE: secret}, secret_environment=frozenset({KEY_VARIABLE}),
            upstream_name=placement.model, digest=digest,
        )  # fmt: skip

    def explain_exit(self, code: int | None, tail: Sequence[str]) -> ExitExplanation:
        """Our child's own exit codes first, then what every process can die of."""
        if code == EXIT_PORT:
            return exits.explain(ExitReason.PORT_TAKEN, _TITLE, exits.last_words(tail))
        if code == EXIT_NO_WHEEL:
            return exits.explain(ExitReason.MISSING_PROGRAM, _TITLE, _own_words(tail))
        if code == EXIT_PARAMETERS:
            return exits.explain(ExitReason.BAD_FLAG, _TITLE, _own_words(tail))
        found = llama_exits.explain_exit(code, tail, _TITLE)
        if code == EXIT_MODEL and found.reason is ExitReason.UNKNOWN:
            return ExitExplanation(
                ExitReason.UNSUPPORTED_MODEL,
                text("llama.cpp cannot load the checkpoint; its last words: {words}",
                     words=exits.last_words(tail) or "-"), restart_helps=False)  # fmt: skip
        return found


def _own_words(tail: Sequence[str]) -> str:
    marker = "ansambl: error: "
    return next((line.partition(marker)[2] for line in reversed(tail) if marker in line), exits.last_words(tail))
