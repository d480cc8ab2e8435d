"""ExLlamaV3 served by TabbyAPI: a ``config.yml`` and its start script.

Followed: config_sample.yml @004e8374 and docs/10.-Tool-Calling.md @0158fb48 of theroyallab/tabbyAPI. ``cache_size`` is
the total of all sequences and a multiple of 256. It reads ``config.yml`` and ``api_tokens.yml`` where it is started
(common/tabby_config.py, common/auth.py), so it is started in the folder of the run. Log: backends/exllamav3/model.py
@004e8374; that backend loads no LoRA adapters. Never tried on the real engine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from ansambl.domain.catalog import ModelKind
from ansambl.domain.engine import (
    KEY_VARIABLE,
    RUN_FOLDER,
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
from ansambl.domain.errors import UsageError
from ansambl.domain.plan import Placement
from ansambl.domain.serving import Operation
from ansambl.domain.text import text
from ansambl.domain.units import Seconds
from ansambl.engines.adapter import NOWHERE
from ansambl.engines.command_lines import parsers, parts
from ansambl.engines.command_lines.exl3_words import cache_bits
from ansambl.engines.command_lines.records import CommandInputs, EngineCommand
from ansambl.engines.command_lines.settings import EngineLines, Given, Kind, Setting
from ansambl.engines.shared import gpu_builds, launching, metrics, words

_NAME = "exllamav3"
_TITLE = "TabbyAPI (ExLlamaV3)"
_PORT = 5000
_PAGE = 256
_VERIFIED = parts.as_documented("TabbyAPI, config_sample.yml @004e8374")

_SETTINGS = (
    Setting("tensor_parallel"),
    Setting("chunk_size", kind=Kind.WHOLE),
    Setting("cache_size", kind=Kind.WHOLE),
    Setting("max_batch_size", kind=Kind.WHOLE),
    Setting("autosplit_reserve", kind=Kind.NUMBER),
    Setting("engine_version", forecast_only=True),
    Setting("ram_margin", kind=Kind.SIZE, forecast_only=True),
    Setting("tensor_parallel_backend", choices=("native", "nccl"), extra=True),
    Setting("gpu_split", extra=True),
    Setting("reasoning", kind=Kind.SWITCH, extra=True),
    Setting("tool_call_parser", extra=True),
    Setting("reasoning_parser", extra=True, refusal=text("it takes the tokens around the reasoning instead of a name")),
    Setting("draft_tokens", kind=Kind.WHOLE, extra=True),
)


def splits_tensors(inputs: CommandInputs, given: Given) -> bool:
    """Whether all GPUs of the placement share each tensor: on, off, or how many (more than one means all).

    Raises:
        UsageError: it is none of these.
    """
    word = (given.word("tensor_parallel") or "off").lower()
    if word in {"off", "false", "0"}:
        return False
    if word not in {"on", "true"} and not (word.isascii() and word.isdigit()):
        raise UsageError(text("{name} is '{value}'; give on, off or auto", name="tensor_parallel", value=word))
    return len(inputs.gpus) > 1


def _cache_size(inputs: CommandInputs, given: Given) -> int:
    needed = -(-inputs.context * inputs.parallel // _PAGE) * _PAGE
    wanted = given.whole("cache_size")
    if wanted is None:
        return needed
    if wanted % _PAGE or wanted < inputs.context:
        raise UsageError(
            text("cache_size is {value}; give a multiple of 256 that holds a context of {context} tokens", value=wanted,
                 context=inputs.context)
        )  # fmt: skip
    return wanted


def _yaml(sections: Mapping[str, Mapping[str, Any]]) -> str:
    """Two levels of YAML; a JSON value is a YAML value."""
    lines = []
    for section, values in sections.items():
        lines.append(f"{section}:")
        lines += [f"  {name}: {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    return "\n".join(lines) + "\n"


def _model(inputs: CommandInputs, given: Given) -> dict[str, Any]:
    bits = cache_bits(inputs.kv_type)
    model: dict[str, Any] = {
        "model_dir": "models" if inputs.path is None else str(PurePath(inputs.path).parent),
        "model_name": parts.model_folder(inputs), "backend": "exllamav3", "max_seq_len": inputs.context,
        "cache_size": _cache_size(inputs, given), "cache_mode": "FP16" if bits[0] == 16 else f"{bits[0]},{bits[1]}",
        "max_batch_size": given.whole("max_batch_size") or inputs.parallel,
        "tensor_parallel": splits_tensors(inputs, given),
    }  # fmt: skip
    if given.word("tensor_parallel_backend") is not None:
        model["tensor_parallel_backend"] = given.word("tensor_parallel_backend")
    if given.whole("chunk_size") is not None:
        model["chunk_size"] = given.whole("chunk_size")
    if given.whole("autosplit_reserve") is not None:
        model["autosplit_reserve"] = [given.whole("autosplit_reserve")]
    split = given.word("gpu_split")
    if split is not None:
        model |= {"gpu_split_auto": False, "gpu_split": _split(split)}
    if inputs.vision:
        model["vision"] = True
    tool, _ = parsers.chosen("tabbyapi", inputs.short_name, given)
    reasons = given.switch("reasoning")
    if reasons or (reasons is None and inputs.kind is ModelKind.REASONING and tool != "harmony"):
        model["reasoning"] = True
    if tool is not None:
        model["tool_format"] = tool
    return model


def _split(words: str) -> list[float]:
    try:
        sizes = [float(one) for one in words.split(",")]
    except ValueError:
        sizes = [-1.0]
    if any(not 0 < size < 1e6 for size in sizes):
        raise UsageError(text("gpu_split is '{value}'; give GB for each GPU, for example 20,24", value=words))
    return sizes


def _build(inputs: CommandInputs, given: Given) -> EngineCommand:
    parts.refuse_projector(inputs, _TITLE)
    host, port, where = parts.address(inputs, _PORT)
    model = _model(inputs, given)
    sections: dict[str, dict[str, Any]] = {"network": {"host": host, "port": port}, "model": model}
    if inputs.draft is None:
        parts.no_draft_tokens(given.whole("draft_tokens"))
    else:
        draft = PurePath(inputs.draft)
        sections["draft_model"] = {
            "draft_mode": "model", "draft_model_dir": str(draft.parent), "draft_model_name": draft.name,
        }  # fmt: skip
        if given.whole("draft_tokens") is not None:
            sections["draft_model"]["draft_num_tokens"] = given.whole("draft_tokens")
    if inputs.loras:
        folders = {str(PurePath(one.path).parent) for one in inputs.loras}
        if len(folders) > 1:
            raise UsageError(text("TabbyAPI loads LoRA adapters from one folder; put them into the same"))
        sections["lora"] = {
            "lora_dir": folders.pop(),
            "loras": [{"name": PurePath(one.path).name, "scaling": 1.0} for one in inputs.loras],
        }
    fetch = parts.download(inputs, f"models/{model['model_name']}")
    return EngineCommand(
        engine=_NAME, lines=(*fetch, ("./start.sh",)), verified=_VERIFIED, address=where, serving=len(fetch),
        environment=parts.visible_gpus(inputs), files={"config.yml": _yaml(sections)},
        notes=(
            text("type it in TabbyAPI's own folder; it writes its keys into api_tokens.yml there at the first start"),
        ),
    )  # fmt: skip


LINES: EngineLines = EngineLines(_NAME, _TITLE, ("exl3",), _SETTINGS, _build)
"""How its command line is written."""

_TOKENS = "api_tokens.yml"
_LEAST = (8, 0)
"""The smallest compute capability: the generation of the RTX 30 series."""
_ENVIRONMENTS = ("venv", ".venv")
_OWN_WORDS: words.Words = (
    (ExitReason.PORT_TAKEN, re.compile(r"are in use by different services")),
    (
        ExitReason.MISSING_PROGRAM,
        re.compile(r"No module named '(?:exllamav3|torch)'|exllamav3.* is not (?:installed|found)"),
    ),
    (
        ExitReason.CHECKPOINT_MISSING,
        re.compile(r"model path .* does not exist|config\.json.*No such file", re.IGNORECASE),
    ),
)
_OLD_GPU = re.compile(r"must be ampere|an unsupported GPU", re.IGNORECASE)
_CONTEXT = re.compile(r"Using (?:configured|default) max_seq_len(?: from model)?: (?P<tokens>\d+) tokens")
_LIMITED = re.compile(r"will be limited to (?P<tokens>\d+) tokens")
_CACHE = re.compile(r"Using configured cache_size: (?P<tokens>\d+) tokens")


class TabbyAPI:
    """The adapter. `Installed.path` is the Python of the environment that lies in TabbyAPI's folder."""

    traits = EngineTraits(
        name=_NAME, title=_TITLE, formats=frozenset({"exl3"}), devices=frozenset({"cuda"}),
        dialects=frozenset({"openai_chat"}), operations=frozenset({Operation.COMPLETIONS, Operation.EMBEDDINGS}),
        documented="TabbyAPI @004e8374 with exllamav3 1.6.5, their source",
    )  # fmt: skip
    lines: EngineLines | None = LINES
    # It listens when its model is loaded.
    probe = ProbeSpec(path="/health", status=200, patience=Seconds(1200.0))

    def detect(self, around: Surroundings = NOWHERE) -> Installed | NotUsable:
        """The folder that its owner names, with the environment that its start script made in it."""
        if around.program is None:
            return NotUsable(
                text("where the folder of {engine} lies is not known", engine=_TITLE),
                text("set engines.{name}.program to the folder of TabbyAPI", name=_NAME),
            )
        named = Path(around.program).expanduser()
        folder = named if named.is_dir() else named.parent
        if not (folder / "main.py").is_file():
            return NotUsable(
                text("engines.{name}.program is '{path}', where no main.py of TabbyAPI is", name=_NAME,
                     path=around.program),
                text("set it to the folder that TabbyAPI was cloned into"),
            )  # fmt: skip
        for environment in _ENVIRONMENTS:
            for found in sorted((folder / environment).glob("lib/python3*/site-packages/exllamav3-*.dist-info")):
                version = found.name.removeprefix("exllamav3-").removesuffix(".dist-info")
                python = str(folder / environment / "bin" / "python")
                return _refuse_gpus(around) or Installed(version, python, "cuda")
        return NotUsable(
            text("TabbyAPI in '{path}' has no environment with exllamav3", path=str(folder)),
            text("run its start.sh there once, and choose your GPU"),
        )

    def launch_spec(self, placement: Placement, *, port: int, secret: str) -> LaunchSpec:
        """Its main.py, started where its settings and keys of this run lie."""
        python = PurePath(launching.program_of(placement, _TITLE, _NAME, installable=False))
        inputs = launching.inputs_for(placement)
        program = launching.Program(words=(str(python), str(python.parents[2] / "main.py")), key_variable=KEY_VARIABLE)
        spec = launching.launch_spec(LINES, placement, program, port=port, secret=secret, inputs=inputs)
        keys = _yaml_pairs({"api_key": secret, "admin_key": secret})
        return replace(
            spec, files={**spec.files, _TOKENS: keys}, working_folder=RUN_FOLDER,
            upstream_name=parts.model_folder(inputs),
        )  # fmt: skip

    def shares_prefixes(self, placement: Placement) -> bool | None:  # noqa: ARG002 - always
        """Pages of its cache are found by what they hold, and several requests use one at once."""
        return True

    def read_metrics(self, text: str) -> EngineMetrics:
        """It has no metrics page."""
        return metrics.read_metrics(text)

    def read_log(self, line: str) -> LogFacts | None:
        """What a request may hold and what the cache holds; it tells no memory."""
        limited = _LIMITED.search(line) or _CONTEXT.search(line)
        if limited:
            return LogFacts(context=int(limited["tokens"]))
        cache = _CACHE.search(line)
        return LogFacts(kv_tokens=int(cache["tokens"])) if cache else None

    def explain_exit(self, code: int | None, tail: Sequence[str]) -> ExitExplanation:
        """A GPU that is too old first, which it says in words of its own."""
        if any(_OLD_GPU.search(line) for line in tail):
            return ExitExplanation(
                ExitReason.UNKNOWN,
                text("{engine} needs NVIDIA GPUs of the RTX 30 series or newer; use llama.cpp for this GPU",
                     engine=_TITLE), restart_helps=False)  # fmt: skip
        return words.explain(code, tail, _TITLE, _OWN_WORDS)


def _refuse_gpus(around: Surroundings) -> NotUsable | None:
    machine = around.machine
    if machine is not None and not any("nvidia" in gpu.vendor.lower() for gpu in machine.gpus):
        return NotUsable(
            text("{engine} needs an NVIDIA GPU, and none was found", engine=_TITLE),
            text("take another checkpoint and llama.cpp, which runs on any device"),
        )
    return gpu_builds.refuse_build(machine, title=_TITLE, engine=_NAME, build="cuda", toolkit=None, capability=_LEAST)


def _yaml_pairs(values: Mapping[str, str]) -> str:
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in values.items())
