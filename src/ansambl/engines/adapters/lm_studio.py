"""LM Studio: its program ``lms``.

Followed: src/subcommands/load.ts (with ``--parallel``), server.ts and importCmd.ts of lmstudio-ai/lms, and its pages on
``lms load`` and parallel requests. Its server is a part of the application (or of its daemon), which ``lms`` only
controls: it is attached to. Never tried on the real engine.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path, PurePath

from ansambl.domain.engine import (
    EngineMetrics,
    EngineTraits,
    ExitExplanation,
    Installed,
    LaunchSpec,
    LogFacts,
    NotUsable,
    ProbeSpec,
    Surroundings,
)
from ansambl.domain.errors import NotSupportedError
from ansambl.domain.plan import Placement
from ansambl.domain.serving import Operation
from ansambl.domain.text import Text, text
from ansambl.domain.units import Seconds
from ansambl.engines.adapter import NOWHERE
from ansambl.engines.command_lines import parts
from ansambl.engines.command_lines.records import CommandInputs, EngineCommand
from ansambl.engines.command_lines.settings import EngineLines, Given, Kind, Setting, written
from ansambl.engines.shared import attaching, metrics

_NAME = "lm_studio"
_TITLE = "LM Studio"
_PORT = 1234
_VERIFIED = parts.as_documented("lmstudio-ai/lms, load.ts, server.ts, importCmd.ts")
_IN_THE_APP = text("LM Studio has it in the application only (model, advanced settings)")

_SETTINGS = (
    Setting("n_gpu_layers", kind=Kind.LAYERS),
    Setting("n_cpu_moe", kind=Kind.WHOLE, refusal=_IN_THE_APP),
    Setting("cpu_moe", kind=Kind.SWITCH, refusal=_IN_THE_APP),
    Setting("n_batch", kind=Kind.WHOLE, refusal=_IN_THE_APP),
    Setting("n_ubatch", kind=Kind.WHOLE, refusal=_IN_THE_APP),
    Setting("flash_attention", kind=Kind.SWITCH, refusal=_IN_THE_APP),
    Setting("kv_unified", kind=Kind.SWITCH, refusal=_IN_THE_APP),
    Setting("swa_full", kind=Kind.SWITCH, refusal=_IN_THE_APP),
    Setting("prompt_cache", kind=Kind.SIZE, refusal=_IN_THE_APP),
    Setting("kv_offload", kind=Kind.SWITCH, refusal=_IN_THE_APP, usual=True),
    Setting("split_mode", refusal=_IN_THE_APP),
    Setting("tensor_split", refusal=_IN_THE_APP),
    Setting("main_gpu", kind=Kind.WHOLE, refusal=_IN_THE_APP),
    Setting("mmproj_offload", kind=Kind.SWITCH, refusal=_IN_THE_APP, usual=True),
    Setting("mmproj", kind=Kind.SIZE, refusal=_IN_THE_APP),
    Setting("lora", kind=Kind.SIZE, refusal=_IN_THE_APP),
    Setting("engine_version", forecast_only=True),
    Setting("ram_margin", kind=Kind.SIZE, forecast_only=True),
    Setting("ttl", "--ttl", Kind.WHOLE, extra=True),
)


def _offload(inputs: CommandInputs, given: Given) -> str:
    """``--gpu`` takes off, max, or the share of the layers."""
    layers = given.whole("n_gpu_layers")
    if not inputs.gpus or layers == 0:
        return "off"
    if layers is None:
        return "max"
    if inputs.layers is None:
        raise parts.refused(
            _TITLE, "n_gpu_layers", text("it takes a share of the layers, and how many this model has is not known")
        )
    return "max" if layers >= inputs.layers else written(round(layers / inputs.layers, 3))


def _build(inputs: CommandInputs, given: Given) -> EngineCommand:
    parts.refuse_beside(inputs, _TITLE)
    _, port, where = parts.address(inputs, _PORT)
    if inputs.host not in {"127.0.0.1", "localhost"}:
        raise NotSupportedError(
            text("LM Studio is opened to the network in its application, not by a flag; leave the host out")
        )
    if inputs.kv_type.lower() not in parts.SIXTEEN_BITS:
        raise parts.refused(_TITLE, "kv_type", _IN_THE_APP)
    if inputs.path is not None:
        # Without --symbolic-link it would move the user's file.
        key = PurePath(inputs.path).stem
        fetch: tuple[str, ...] = ("lms", "import", inputs.path, "--symbolic-link", "--yes")
    else:
        key = inputs.repo or inputs.model
        fetch = ("lms", "get", f"{key}@{inputs.quantization.lower()}", "--yes")
    load = (
        "lms", "load", key, "--gpu", _offload(inputs, given), "--context-length",
        str(inputs.context * inputs.parallel), "--parallel", str(inputs.parallel), "--identifier", inputs.model,
        *given.flags(), "--yes",
    )  # fmt: skip
    notes: tuple[Text, ...] = (parts.no_key(where),)
    if inputs.gpus not in {(), (0,)}:
        notes += (
            text("LM Studio chooses its GPUs in the application; the placement means those with the indexes {indexes}",
                 indexes=", ".join(map(str, inputs.gpus))),
        )  # fmt: skip
    return EngineCommand(
        engine=_NAME, verified=_VERIFIED, address=where, serving=1,
        lines=(fetch, ("lms", "server", "start", "--port", str(port)), load),
        notes=(
            text("LM Studio must be installed and must have run once; '{command}' starts it in the background",
                 command="lms server start"),
            text("LM Studio's parallel predictions share the cells of --context-length: {parallel} × {context} "
                 "tokens", parallel=inputs.parallel, context=inputs.context),
            *notes,
        ),
    )  # fmt: skip


LINES: EngineLines = EngineLines(_NAME, _TITLE, ("gguf",), _SETTINGS, _build)
"""How its command line is written."""

_INSTEAD = text(
    "start its server with '{start}', load the model with '{load}', and give models.{gap} the address {address}",
    start="lms server start", load="lms load", gap="NAME", address=f"http://127.0.0.1:{_PORT}/v1",
)  # fmt: skip
_ALSO_HERE = Path(".lmstudio") / "bin" / "lms"


class LMStudio:
    """The adapter."""

    attach_only = True
    traits = EngineTraits(
        name=_NAME, title=_TITLE, formats=frozenset({"gguf", "mlx"}),
        devices=frozenset({"cpu", "cuda", "rocm", "metal", "vulkan"}),
        dialects=frozenset({"openai_chat", "openai_responses"}),
        # Its documentation says that it keeps earlier responses and calls servers of tools, which a chat completion
        # cannot ask for.
        native=frozenset({"openai_responses"}), operations=frozenset({Operation.COMPLETIONS, Operation.EMBEDDINGS}),
        # Its bug tracker's issue 670: an object is refused.
        names_tools=False,
        documented="lmstudio-ai/lms, load.ts and server.ts, and the documentation of LM Studio",
    )  # fmt: skip
    lines: EngineLines | None = LINES
    probe = ProbeSpec(path="/v1/models", status=200, patience=Seconds(30.0))

    def detect(self, around: Surroundings = NOWHERE) -> Installed | NotUsable:
        """Never to be started; says how its owner starts it where its program is here."""
        program = around.program or (shutil.which("lms", path=around.search_path) if around.search_path else None)
        if program is None and around.search_path and (Path.home() / _ALSO_HERE).is_file():
            program = str(Path.home() / _ALSO_HERE)
        if program is None:
            return NotUsable(
                text("{engine} is not installed", engine=_TITLE),
                text("install it from its own site, or take engine = {llama}, which runs the same files",
                     llama='"llama.cpp"'),
            )  # fmt: skip
        return NotUsable(text("{engine} can only be attached to", engine=_TITLE), _INSTEAD)

    def launch_spec(self, placement: Placement, *, port: int, secret: str) -> LaunchSpec:  # noqa: ARG002 - never started
        """Never."""
        raise attaching.refuse_start(placement, _TITLE, _INSTEAD)

    def shares_prefixes(self, placement: Placement) -> bool | None:  # noqa: ARG002 - unknown for all
        """Unknown: it runs llama.cpp or MLX, and says nothing of their caches."""
        return None

    def read_metrics(self, text: str) -> EngineMetrics:
        """It has no metrics page."""
        return metrics.read_metrics(text)

    def read_log(self, line: str) -> LogFacts | None:  # noqa: ARG002 - its log is not ours
        """Nothing: its log is not ours."""
        return None

    def explain_exit(self, code: int | None, tail: Sequence[str]) -> ExitExplanation:  # noqa: ARG002 - not our child
        """All that can be said is that it went away."""
        return attaching.gone(_TITLE)
