"""Ollama: a Modelfile, and ``ollama serve``, ``create`` and ``run``.

Followed: docs/modelfile.mdx @071c82b1, docs/faq.mdx @00182b50, api/types.go (Runner) of ollama/ollama. Ollama itself
multiplies ``num_ctx`` by the number of parallel requests. Started: ``ollama serve``, with the settings that it takes
from the environment (envconfig/config.go @4bf0d41c), on the store in which the checkpoint lies; what only a Modelfile
says cannot be told to it this way. Its store: ``blobs/sha256-…`` beside ``manifests``. Never tried on the real engine.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath

from ansambl.domain.engine import (
    KEY_VARIABLE,
    EngineMetrics,
    EngineTraits,
    ExitExplanation,
    ExitReason,
    Installed,
    LaunchSpec,
    LogFacts,
    NotUsable,
    ProbeSpec,
    Surroundings,
)
from ansambl.domain.errors import NotSupportedError, UsageError
from ansambl.domain.model import Checkpoint
from ansambl.domain.plan import Placement
from ansambl.domain.serving import Operation
from ansambl.domain.text import text
from ansambl.domain.units import GIB, KIB, MIB, Bytes, Seconds
from ansambl.engines.adapter import NOWHERE
from ansambl.engines.command_lines import parts
from ansambl.engines.command_lines.records import CommandInputs, EngineCommand
from ansambl.engines.command_lines.settings import EngineLines, Given, Kind, Setting, written
from ansambl.engines.shared import exits, launching, metrics, words
from ansambl.foundation.processes import hear

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
"""How its command line is written."""

_PATIENCE = 10.0
_NOBODY = "127.0.0.1:1"
"""An address where no server answers: its program then names its own version, not that of a server that runs."""
_CLIENT = re.compile(r"client version is (?P<version>\d[\w.+-]*)")
_SERVER = re.compile(r"ollama version is (?P<version>\d[\w.+-]*)")
_BLOB = re.compile(r"sha256[-:][0-9a-f]{64}")
_REFERENCE = "ollama:"
_BUILDS = {"nvidia": "cuda", "amd": "rocm", "apple": "metal"}
_NO_GPU = {"cuda": {"CUDA_VISIBLE_DEVICES": "-1"}, "rocm": {"ROCR_VISIBLE_DEVICES": "-1"}}
_OWN_WORDS: words.Words = (
    (ExitReason.OUT_OF_MEMORY, re.compile(r"requires more system memory")),
    (ExitReason.MISSING_PROGRAM, re.compile(r"unable to (?:locate|find) .*runner", re.IGNORECASE)),
)
_PARTS = {"model weights": "weights", "kv cache": "kv_cache", "compute graph": "compute"}
_MEMORY = re.compile(
    r'msg="(?P<part>model weights|kv cache|compute graph)" device=\S+ size="(?P<size>[\d.]+) (?P<unit>\w+)"'
)
_UNITS = {"B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB, "TiB": 1024 * GIB}


def known_as(placement: Placement) -> str:
    """The model's name in Ollama: what its owner wrote, else what a reference into its store says.

    Raises:
        UsageError: neither says one.
    """
    reference = placement.checkpoint.reference if placement.checkpoint else ""
    name = placement.options.name or (reference.removeprefix(_REFERENCE) if reference.startswith(_REFERENCE) else None)
    if not name:
        raise UsageError(
            text("models.{model} does not say what it is called in Ollama; write checkpoint = {example}, with the name "
                 "that `ollama list` shows", model=placement.model, example='"ollama:NAME"')
        )  # fmt: skip
    return name


def store_of(checkpoint: Checkpoint, model: str) -> str:
    """The store of Ollama's models in which a checkpoint lies.

    Raises:
        NotSupportedError: it lies in none.
    """
    path = PurePath(checkpoint.path)
    if path.parent.name == "blobs" and _BLOB.fullmatch(path.name):
        return str(path.parent.parent)
    raise NotSupportedError(
        text("models.{model}: Ollama runs only what lies in its own store, and {path} does not; take "
             'engine = "llama.cpp" for it', model=model, path=checkpoint.path)
    )  # fmt: skip


class Ollama:
    """The adapter: a server of our own beside the user's, on the user's store."""

    traits = EngineTraits(
        name=_NAME, title=_TITLE, formats=frozenset({"gguf"}), devices=frozenset({"cpu", "cuda", "rocm", "metal"}),
        dialects=frozenset({"openai_chat", "ollama"}),
        operations=frozenset({Operation.COMPLETIONS, Operation.EMBEDDINGS}),
        documented="Ollama, envconfig/config.go @4bf0d41c, docs/faq.mdx @00182b50",
    )  # fmt: skip
    lines: EngineLines | None = LINES
    # It answers before it has loaded a model, which it does at the first request.
    probe = ProbeSpec(path="/api/version", status=200, patience=Seconds(60.0))

    def detect(self, around: Surroundings = NOWHERE) -> Installed | NotUsable:
        """Its program, which is asked for its own version and starts nothing for that."""
        found = around.program and str(Path(around.program).expanduser())
        program = found or (shutil.which(_NAME, path=around.search_path) if around.search_path else None)
        if program is None:
            return NotUsable(
                text("{engine} is not installed", engine=_TITLE),
                text("install it from its own site, or set engines.{name}.program to it", name=_NAME),
            )
        version = _version_of(program)
        if version is None:
            return NotUsable(
                text("{program} does not tell a version of {engine}", program=program, engine=_TITLE),
                text("set engines.{name}.program to the '{program}' program", name=_NAME, program=_NAME),
            )
        gpus = around.machine.gpus if around.machine else ()
        vendors = [vendor for one in gpus for vendor in _BUILDS if vendor in one.vendor.lower()]
        return Installed(version, program, _BUILDS[vendors[0]] if vendors else "cpu")

    def launch_spec(self, placement: Placement, *, port: int, secret: str) -> LaunchSpec:
        """``ollama serve`` on the store that holds the checkpoint; it asks for no key."""
        installed = launching.program_of(placement, _TITLE, _NAME, installable=False)
        inputs = launching.inputs_for(placement)
        if placement.checkpoint is None:
            raise UsageError(text("models.{model} has no checkpoint; set one", model=placement.model))
        for name in _PARAMETERS:
            if placement.settings.get(name) is not None and not (name == "n_gpu_layers" and not placement.gpus):
                raise parts.refused(_TITLE, name, text("a Modelfile says it, not the start of the server"))
        build = placement.installed.build if placement.installed else None
        environment = {
            "OLLAMA_MODELS": store_of(placement.checkpoint, placement.model),
            # It would remove what it takes for unused from the user's store.
            "OLLAMA_NOPRUNE": "1", "OLLAMA_MAX_LOADED_MODELS": "1",
            # What is asked here stays here.
            "OLLAMA_NO_CLOUD": "1",
            **({} if placement.gpus else _NO_GPU.get(build or "", {})),
        }  # fmt: skip
        if placement.settings.get("keep_alive") is None:
            environment["OLLAMA_KEEP_ALIVE"] = "-1"
        program = launching.Program(words=(installed,), environment=environment, key_variable=KEY_VARIABLE)
        spec = launching.launch_spec(LINES, placement, program, port=port, secret=secret, inputs=inputs)
        return replace(spec, files={}, upstream_name=known_as(placement))

    def read_metrics(self, text: str) -> EngineMetrics:
        """It has no metrics page."""
        return metrics.read_metrics(text)

    def read_log(self, line: str) -> LogFacts | None:
        """Memory by part and device. Its llama.cpp tells the same again, so of that only the context is taken."""
        told = _MEMORY.search(line)
        if told:
            size = Bytes(round(float(told["size"]) * _UNITS.get(told["unit"], 0)))
            return LogFacts(memory={_PARTS[told["part"]]: size})
        inner = exits.read_llama_log(line)
        return LogFacts(context=inner.context) if inner is not None and inner.context is not None else None

    def explain_exit(self, code: int | None, tail: Sequence[str]) -> ExitExplanation:
        """Its own words, then what every process can die of."""
        return words.explain(code, tail, _TITLE, _OWN_WORDS)


def _version_of(program: str) -> str | None:
    try:
        answer = hear(
            [program, "--version"], patience=_PATIENCE,
            environment={"OLLAMA_HOST": _NOBODY, "HOME": str(Path.home())},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    said = (answer.stdout + answer.stderr).decode("utf-8", "replace")
    match = _CLIENT.search(said) or _SERVER.search(said)
    return match["version"] if match else None
