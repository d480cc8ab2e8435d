"""MLX on a Mac (and on a processor): ``mlx_lm.server`` of the package mlx-lm.

Flags and behaviour: mlx_lm/server.py of mlx-lm 0.32.2, tried with mlx 0.32.4 on a processor under Linux. It takes no
key and has no metrics page. It loads whatever model a request names, so requests name ``default_model``, the one that
it was started with, and it is started offline. Its list of models looks into the hub's cache, whose folder must exist.
A model that cannot be loaded does not end it: ``/health`` answers 503 from then on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePath

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
from ansambl.domain.plan import Placement
from ansambl.domain.serving import Operation
from ansambl.domain.text import text
from ansambl.domain.units import Seconds
from ansambl.engines.adapter import NOWHERE
from ansambl.engines.command_lines import parts
from ansambl.engines.command_lines.records import CommandInputs, EngineCommand
from ansambl.engines.command_lines.settings import EngineLines, Given, Kind, Setting
from ansambl.engines.shared import launching, metrics, words
from ansambl.engines.shared.python_environment import find_environment, with_warning

_NAME = "mlx"
_TITLE = "MLX"
_PORT = 8080
_TESTED = "0.32.2"
_VERIFIED = parts.tried(f"mlx-lm {_TESTED} on a processor")
_KV_TYPES = {"q8": "8", "q8_0": "8", "q4": "4", "q4_0": "4"}
_STARTED_WITH = "default_model"

_SETTINGS = (
    Setting("prompt_cache_size", "--prompt-cache-size", Kind.WHOLE, extra=True),
    Setting("prompt_cache", kind=Kind.SIZE, extra=True),
    Setting("prefill_step_size", "--prefill-step-size", Kind.WHOLE, extra=True),
    Setting("max_tokens", kind=Kind.WHOLE, extra=True),
    Setting("trust_remote_code", "--trust-remote-code", Kind.SWITCH, extra=True),
    Setting("draft_tokens", "--num-draft-tokens", Kind.WHOLE, extra=True),
)


def _write(inputs: CommandInputs, given: Given) -> EngineCommand:
    parts.refuse_projector(inputs, _TITLE)
    parts.refuse_beside(inputs, _TITLE, ("LoRA",))
    host, port, where = parts.address(inputs, _PORT)
    kv_bits = parts.one_kv_type(inputs, _KV_TYPES, _TITLE)
    command = [
        "mlx_lm.server", "--model", inputs.path or inputs.repo or parts.model_folder(inputs), "--host", host,
        "--port", str(port), "--decode-concurrency", str(inputs.parallel),
        # Else an answer ends after 512 tokens where the client names no limit.
        "--max-tokens", str(given.whole("max_tokens") or inputs.context), *given.flags(),
    ]  # fmt: skip
    if given.whole("prompt_cache") is not None:
        command += ["--prompt-cache-bytes", str(given.whole("prompt_cache"))]
    if kv_bits is not None:
        command += ["--kv-bits", kv_bits]
    if inputs.draft is not None:
        command += ["--draft-model", inputs.draft]
    return EngineCommand(
        engine=_NAME, lines=(tuple(command),), verified=_VERIFIED, address=where,
        environment=parts.visible_gpus(inputs),
        notes=(
            parts.no_key(where),
            text("MLX has no limit of context: its KV cache grows with each conversation; requests name the model "
                 "'{name}'", name=_STARTED_WITH),
        ),
    )  # fmt: skip


LINES: EngineLines = EngineLines(_NAME, _TITLE, ("mlx", "safetensors"), _SETTINGS, _write)
"""How its command line is written."""

_OWN_WORDS: words.Words = (
    (ExitReason.UNSUPPORTED_MODEL, re.compile(r"Model type \S+ not supported")),
    (ExitReason.CHECKPOINT_MISSING, re.compile(r"Repo id must be in the form|No safetensors found")),
    (ExitReason.MISSING_PROGRAM, re.compile(r"No module named 'mlx")),
)


class MLX:
    """The adapter."""

    traits = EngineTraits(
        name=_NAME, title=_TITLE, formats=frozenset({"mlx", "safetensors"}),
        devices=frozenset({"metal", "cpu", "cuda"}), dialects=frozenset({"openai_chat"}),
        operations=frozenset({Operation.COMPLETIONS}),
        verified=f"mlx-lm {_TESTED} with mlx 0.32.4, Linux x86-64 on the processor",
    )  # fmt: skip
    lines: EngineLines | None = LINES
    probe = ProbeSpec(path="/health", status=200, patience=Seconds(600.0))

    def detect(self, around: Surroundings = NOWHERE) -> Installed | NotUsable:
        """An environment that holds mlx-lm."""
        packages = ("mlx-lm", "mlx-cuda-13", "mlx-cuda-12", "mlx-cpu")
        found = find_environment(around, title=_TITLE, engine=_NAME, script="mlx_lm.server", packages=packages)
        version = None if isinstance(found, NotUsable) else found.packages.get("mlx-lm")
        if isinstance(found, NotUsable) or version is None:
            if isinstance(found, NotUsable) and around.program is not None:
                return found
            return NotUsable(
                text("{engine} is not installed", engine=_TITLE),
                text("install the package mlx-lm (on a Mac, or with its extra cpu), and set engines.{name}.program to "
                     "that Python", name=_NAME),
            )  # fmt: skip
        build = "cuda" if any("cuda" in one for one in found.packages) else "cpu"
        if around.machine is not None and around.machine.system == "Darwin":
            build = "metal"
        return replace(with_warning(version, _TESTED, _TITLE), path=found.python, build=build)

    def launch_spec(self, placement: Placement, *, port: int, secret: str) -> LaunchSpec:
        """The module in its environment, offline; it asks for no key."""
        python = launching.program_of(placement, _TITLE, _NAME, installable=False)
        path = placement.checkpoint.path if placement.checkpoint else ""
        program = launching.Program(
            words=(python, "-m", "mlx_lm", "server"), key_variable=KEY_VARIABLE,
            environment={"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(PurePath(path).parent)},
        )  # fmt: skip
        spec = launching.launch_spec(LINES, placement, program, port=port, secret=secret)
        return replace(spec, upstream_name=_STARTED_WITH)

    def shares_prefixes(self, placement: Placement) -> bool | None:  # noqa: ARG002 - the same for all
        """It does: while one answered, two others found 783 of their 798 tokens in what it had read."""
        return True

    def read_metrics(self, text: str) -> EngineMetrics:
        """It has no metrics page."""
        return metrics.read_metrics(text)

    def read_log(self, line: str) -> LogFacts | None:  # noqa: ARG002 - it tells nothing at load
        """Nothing: it tells neither memory nor context at load."""
        return None

    def explain_exit(self, code: int | None, tail: Sequence[str]) -> ExitExplanation:
        """Its own words, then what every process can die of."""
        return words.explain(code, tail, _TITLE, _OWN_WORDS)
