"""llama.cpp's own server, ``llama-server``: one that Ansambl installed, the owner's own, or one on the PATH.

Followed: tools/server/README.md of ggml-org/llama.cpp @00dc8057 and the flags compiled into build b11549; tried on the
real program of build 11434. ``--ctx-size`` is the total that the slots divide.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath

from ansambl.domain.engine import (
    EngineTraits,
    ExitExplanation,
    Installed,
    LaunchSpec,
    NotUsable,
    ProbeSpec,
    Surroundings,
)
from ansambl.domain.plan import Placement
from ansambl.domain.text import Text, text
from ansambl.domain.units import MIB, Seconds
from ansambl.engines.adapter import NOWHERE
from ansambl.engines.command_lines import parts
from ansambl.engines.command_lines.llama_words import (
    check_cache_beside_loras,
    kind_words,
    kv_words,
    total_context,
)
from ansambl.engines.command_lines.records import CommandInputs, EngineCommand
from ansambl.engines.command_lines.settings import EngineLines, Given, Kind, Setting
from ansambl.engines.installations import find_installed, not_installed
from ansambl.engines.shared import llama_exits, openmp
from ansambl.engines.shared.launching import Program, inputs_for, launch_spec, program_of
from ansambl.engines.shared.llama_abilities import OPERATIONS, LlamaAbilities
from ansambl.engines.shared.llama_loras import FORMAT
from ansambl.engines.shared.llama_placements import check_placement, settings_of
from ansambl.engines.shared.llama_program import LlamaProgram, ask_program

_NAME = "llama.cpp"
TITLE = "llama.cpp"
PORT = 8080
ALL_LAYERS = 999
"""More layers than any model has: means all of them in old builds too, which do not know the word "all"."""

_VERIFIED = parts.flags_checked("llama.cpp b11549")

TRIED_BUILDS = (11434, 11549)
"""The program of the first was tried itself, of the second its code in the bundled engine. What lies between has the
same flags; before and after them flags, slots and LoRA adapters may differ."""
TRIED_RELEASE = "0.6."
"""The release that both belong to: all that a build out of a source archive knows of itself."""
# Where the load of a model is told part by part (weights, KV cache, compute buffers); no message text is logged.
_VERBOSITY = "4"
_PROGRAM = "llama-server"

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


def _lora_words(inputs: CommandInputs, given: Given) -> list[str]:
    """LoRA adapters that nobody uses unasked: with ``--lora`` every request without a list of its own uses all."""
    check_cache_beside_loras(inputs, given)
    if not inputs.loras:
        return []
    return ["--lora-scaled", ",".join(f"{_quoted(one.path)}:0" for one in inputs.loras)]


def _quoted(path: str) -> str:
    return '"' + path.replace('"', '""') + '"' if "," in path or '"' in path else path


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
    words += kind_words(inputs, given)
    if inputs.mmproj is not None:
        words += ["--mmproj", inputs.mmproj]
    elif inputs.path is None and inputs.repo is not None and not inputs.vision:
        words.append("--no-mmproj")
    words += _lora_words(inputs, given)
    if inputs.loras:
        notes += (
            text('a request says which LoRA adapter it uses, and must always say all of them: "lora": {example}',
                 example=json.dumps([{"id": at, "scale": float(not at)} for at in range(len(inputs.loras))])),
        )  # fmt: skip
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


def _known(asked: LlamaProgram) -> bool:
    if asked.number is None:
        return asked.version.startswith(TRIED_RELEASE)
    return TRIED_BUILDS[0] <= asked.number <= TRIED_BUILDS[1]


def _warning(asked: LlamaProgram, around: Surroundings, *, managed: bool) -> Text | None:
    gpus = around.machine.gpus if around.machine else ()
    if gpus and asked.build == "cpu":
        return text(
            "this llama-server computes on the processor only, and the machine has a GPU ({gpu}); for the GPU run: "
            "ansambl engines install llama.cpp", gpu=gpus[0].name or gpus[0].vendor,
        )  # fmt: skip
    if managed or _known(asked):
        return None
    return text(
        "llama.cpp {version} was never tried with Ansambl; b{first} to b{last} were. It is used all the same",
        version=asked.version, first=TRIED_BUILDS[0], last=TRIED_BUILDS[1],
    )  # fmt: skip


class LlamaCpp(LlamaAbilities):
    """The adapter."""

    traits = EngineTraits(
        name=_NAME, title=TITLE, formats=frozenset({"gguf"}),
        devices=frozenset({"cpu", "cuda", "rocm", "vulkan", "metal"}),
        # See the bundled one: what these two lose is said there.
        dialects=frozenset({"openai_chat", "openai_responses", "anthropic_messages"}), operations=OPERATIONS,
        lora_formats=frozenset({FORMAT}),
        activated_loras=True,
        names_tools=False,
        verified="b11434 (CPU)", documented="b11549, its flags and README (CUDA, ROCm, Vulkan, Metal)",
    )  # fmt: skip
    lines: EngineLines | None = LINES
    # It listens at once and answers 503 until the model is loaded, which takes minutes for a big one on a slow disk.
    probe = ProbeSpec(path="/health", status=200, patience=Seconds(600.0))

    def detect(self, around: Surroundings = NOWHERE) -> Installed | NotUsable:
        """The owner's program, else the one that Ansambl installed, else the one on the PATH; asked for its version."""
        managed = None if around.program else find_installed(around, _NAME)
        path = _own_program(around) if around.program else managed.path if managed else None
        if path is None and not around.program and around.search_path:
            path = shutil.which(_PROGRAM, path=around.search_path)
        if path is None:
            return not_installed(TITLE, _NAME) if not around.program else _no_such_program(around.program)
        asked = ask_program(path)
        if isinstance(asked, NotUsable):
            return asked
        warning = _warning(asked, around, managed=managed is not None)
        if managed is not None:
            return replace(managed, warning=warning)
        return Installed(asked.version, path, asked.build, warning=warning)

    def launch_spec(self, placement: Placement, *, port: int, secret: str) -> LaunchSpec:
        """The table's command with the program that was found; slots, metrics and the log as Ansambl needs them."""
        check_placement(placement, TITLE)
        folder = placement.state_folder
        program = Program(
            words=(program_of(placement, TITLE, _NAME),),
            arguments=("--no-ui", "--metrics", "--verbosity", _VERBOSITY),
            of_this_run=() if folder is None else ("--slot-save-path", folder.rstrip("/") + "/"),
            environment=openmp.ENVIRONMENT,
        )  # fmt: skip
        inputs = replace(inputs_for(placement, FORMAT), settings=settings_of(placement))
        return launch_spec(LINES, placement, program, port=port, secret=secret, inputs=inputs)

    def explain_exit(self, code: int | None, tail: Sequence[str]) -> ExitExplanation:
        """What every process can die of, and llama.cpp's own words."""
        return llama_exits.explain_exit(code, tail, TITLE)


def _own_program(around: Surroundings) -> str | None:
    name = around.program or ""
    if len(PurePath(name).parts) > 1:
        return name if Path(name).exists() else None
    return shutil.which(name, path=around.search_path)


def _no_such_program(name: str) -> NotUsable:
    return NotUsable(
        text("there is no program {path}", path=name),
        text('set engines."llama.cpp".program to the path of a llama-server, or leave it out'),
    )
