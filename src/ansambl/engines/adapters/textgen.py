"""Text Generation WebUI (TextGen): ``python server.py``.

Followed: modules/shared.py of oobabooga/text-generation-webui, version 4 (loaders llama.cpp, ExLlamav3, Transformers).
``--ctx-size`` is the total that the slots of llama.cpp divide. API: modules/api/script.py @952435fa; its key is a flag
only, which everybody could read, so it is started without one. Never tried on the real engine.
"""

from __future__ import annotations

import re
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
from ansambl.domain.plan import Placement
from ansambl.domain.serving import Operation
from ansambl.domain.text import Text, text
from ansambl.domain.units import Seconds
from ansambl.engines.adapter import NOWHERE
from ansambl.engines.command_lines import parts
from ansambl.engines.command_lines.exl3_words import cache_bits
from ansambl.engines.command_lines.records import CommandInputs, EngineCommand
from ansambl.engines.command_lines.settings import EngineLines, Given, Kind, Setting
from ansambl.engines.shared import exits, launching, metrics, words

_NAME = "textgen"
_TITLE = "Text Generation WebUI"
_PORT = 5000
_FOLDER = "user_data/models"
_VERIFIED = parts.as_documented("text-generation-webui 4, modules/shared.py")
_LOADERS = {"gguf": "llama.cpp", "exl3": "ExLlamav3", "safetensors": "Transformers"}
_KV_TYPES = {"q8_0": "q8_0", "q4_0": "q4_0"}
_LLAMA_CPP_ONLY = text("only its loader llama.cpp (GGUF files) has it")
_NO_FLAG = text("its loader takes flash attention by itself")

_SETTINGS = (
    Setting("n_gpu_layers", kind=Kind.LAYERS),
    Setting("n_cpu_moe", kind=Kind.WHOLE),
    Setting("cpu_moe", "--cpu-moe", Kind.SWITCH),
    Setting("n_batch", "--batch-size", Kind.WHOLE),
    Setting("n_ubatch", "--ubatch-size", Kind.WHOLE),
    Setting("kv_unified", kind=Kind.SWITCH),
    Setting("swa_full", kind=Kind.SWITCH),
    Setting("flash_attention", kind=Kind.SWITCH, refusal=_NO_FLAG),
    Setting("prompt_cache", kind=Kind.SIZE),
    Setting("kv_offload", kind=Kind.SWITCH, usual=True),
    Setting("split_mode", choices=("none", "layer", "row", "tensor")),
    Setting("tensor_split", "--tensor-split"),
    Setting("main_gpu", kind=Kind.WHOLE),
    Setting("mmproj_offload", kind=Kind.SWITCH, usual=True),
    Setting("mmproj", kind=Kind.SIZE, forecast_only=True),
    Setting("lora", kind=Kind.SIZE, forecast_only=True),
    Setting("tensor_parallel", kind=Kind.WHOLE),
    Setting("engine_version", forecast_only=True),
    Setting("ram_margin", kind=Kind.SIZE, forecast_only=True),
    Setting("threads", "--threads", Kind.WHOLE, extra=True),
    Setting("gpu_split", "--gpu-split", extra=True),
    Setting("attn_implementation", "--attn-implementation", extra=True),
    Setting("draft_tokens", "--draft-max", Kind.WHOLE, extra=True),
)
_OF_LLAMA_CPP = ("n_gpu_layers", "n_cpu_moe", "cpu_moe", "n_batch", "n_ubatch", "kv_unified", "swa_full",
                 "prompt_cache", "split_mode", "tensor_split", "main_gpu")  # fmt: skip


def _llama_cpp(inputs: CommandInputs, given: Given) -> tuple[list[str], tuple[Text, ...]]:
    if (given.whole("tensor_parallel") or 1) > 1:
        raise parts.refused(_TITLE, "tensor_parallel", text("its loader llama.cpp divides layers, not tensors"))
    layers = given.whole("n_gpu_layers")
    words = ["--gpu-layers", str((999 if layers is None else layers) if inputs.gpus else 0)]
    words += ["--ctx-size", str(inputs.context * inputs.parallel), "--parallel", str(inputs.parallel)]
    kv_type = parts.one_kv_type(inputs, _KV_TYPES, _TITLE)
    if kv_type is not None:
        words += ["--cache-type", kv_type]
    if inputs.mmproj is not None:
        words += ["--mmproj", inputs.mmproj]
    # Flags of llama-server without one here go through in this form.
    through = [f"n-cpu-moe={given.whole('n_cpu_moe')}"] if given.whole("n_cpu_moe") else []
    through += ["kv-unified"] if given.switch("kv_unified") else []
    through += ["swa-full"] if given.switch("swa_full") else []
    through += [f"split-mode={given.word('split_mode')}"] if given.word("split_mode") else []
    through += [f"main-gpu={given.whole('main_gpu')}"] if given.whole("main_gpu") is not None else []
    through += ["no-mmproj-offload"] if given.switch("mmproj_offload") is False else []
    through.append(f"cache-ram={(given.whole('prompt_cache') or 0) >> 20}")
    if given.switch("kv_offload") is False:
        words.append("--no-kv-offload")
    return [*words, "--extra-flags", ",".join(through)], ()


def _exllamav3(inputs: CommandInputs, given: Given) -> tuple[list[str], tuple[Text, ...]]:
    bits = cache_bits(inputs.kv_type)
    words = ["--ctx-size", str(-(-inputs.context * inputs.parallel // 256) * 256)]
    if bits[0] != 16:
        words += ["--cache-type", f"q{bits[0]}" if bits[0] == bits[1] else f"q{bits[0]}_q{bits[1]}"]
    if parts.tensor_parallel(inputs, given.whole("tensor_parallel")) > 1:
        words.append("--enable-tp")
    return words, ()


def _transformers(inputs: CommandInputs, given: Given) -> tuple[list[str], tuple[Text, ...]]:
    parts.one_kv_type(inputs, {}, _TITLE)
    if (given.whole("tensor_parallel") or 1) > 1:
        raise parts.refused(_TITLE, "tensor_parallel", text("its loader Transformers does not split tensors"))
    words = ["--ctx-size", str(inputs.context)]
    return [*words, *([] if inputs.gpus else ["--cpu"])], ()


def _write(inputs: CommandInputs, given: Given) -> EngineCommand:
    loader = _LOADERS[inputs.format]
    if inputs.format != "gguf":
        for name in _OF_LLAMA_CPP:
            if given.word(name) not in {None, "False"}:
                raise parts.refused(_TITLE, name, _LLAMA_CPP_ONLY)
        for name in ("kv_offload", "mmproj_offload"):
            if given.switch(name) is False:
                raise parts.refused(_TITLE, name, _LLAMA_CPP_ONLY)
        if inputs.mmproj is not None:
            raise parts.refused(_TITLE, "mmproj", _LLAMA_CPP_ONLY)
    else:
        parts.refuse_beside(inputs, _TITLE, ("LoRA",))
    host, port, where = parts.address(inputs, _PORT)
    one_file = inputs.format == "gguf"
    name = parts.gguf_file(inputs) if one_file else parts.model_folder(inputs)
    folder = _FOLDER if inputs.path is None else str(PurePath(inputs.path).parent)
    by_loader = {"gguf": _llama_cpp, "exl3": _exllamav3, "safetensors": _transformers}
    own, notes = by_loader[inputs.format](inputs, given)
    words = ["python", "server.py", "--model-dir", folder, "--model", name, "--loader", loader, *own, *given.flags()]
    words += ["--api", "--api-port", str(port), "--nowebui"]
    if host not in {"127.0.0.1", "localhost"}:
        words += ["--listen", "--listen-host", host]
    if inputs.draft is not None:
        words += ["--model-draft", inputs.draft]
    if inputs.loras:
        words += ["--lora-dir", str(PurePath(inputs.loras[0].path).parent), "--lora"]
        words += [PurePath(one.path).name for one in inputs.loras]
    fetch = parts.download(inputs, folder if one_file else f"{folder}/{name}")
    notes += parts.guessed_name(inputs) if one_file else ()
    notes += (
        text("type it in the folder of {engine}; leave --nowebui out to have its pages too", engine=_TITLE),
        parts.no_key(where),
    )
    return EngineCommand(
        engine=_NAME, lines=(*fetch, tuple(words)), verified=_VERIFIED, address=where, serving=len(fetch),
        environment=parts.visible_gpus(inputs), notes=notes,
    )  # fmt: skip


LINES: EngineLines = EngineLines(_NAME, _TITLE, ("gguf", "exl3", "safetensors"), _SETTINGS, _write)
"""How its command line is written."""

# Where its start script puts an environment, and where people put one themselves; the folder is above.
_ENVIRONMENTS = (PurePath("installer_files", "env"), PurePath("venv"), PurePath(".venv"))
_OWN_WORDS: words.Words = (
    (
        ExitReason.CHECKPOINT_MISSING,
        re.compile(r"The (?:path to the )?model .*(?:does not exist|not found)", re.IGNORECASE),
    ),
    (ExitReason.MISSING_PROGRAM, re.compile(r"No module named '(?:torch|transformers|exllamav3|gradio)'")),
)


def _folder_of(python: PurePath) -> PurePath:
    return python.parents[3] if "installer_files" in python.parts else python.parents[2]


class TextGen:
    """The adapter. `Installed.path` is the Python of the environment in its folder."""

    traits = EngineTraits(
        name=_NAME, title=_TITLE, formats=frozenset({"gguf", "exl3", "safetensors"}),
        devices=frozenset({"cpu", "cuda", "rocm", "metal"}), dialects=frozenset({"openai_chat"}),
        # Vectors, transcriptions and images come from models of its own, whichever it was started with.
        operations=frozenset({Operation.COMPLETIONS, Operation.EMBEDDINGS, Operation.TRANSCRIPTION, Operation.IMAGES,
                              Operation.MODERATION}),
        documented="text-generation-webui 4, modules/shared.py and modules/api/script.py @952435fa",
    )  # fmt: skip
    lines: EngineLines | None = LINES
    # It listens when its model is loaded.
    probe = ProbeSpec(path="/v1/models", status=200, patience=Seconds(1200.0))

    def detect(self, around: Surroundings = NOWHERE) -> Installed | NotUsable:
        """The folder that its owner names, with the environment that its start script made in it."""
        if around.program is None:
            return NotUsable(
                text("where the folder of {engine} lies is not known", engine=_TITLE),
                text("set engines.{name}.program to the folder of {engine}", name=_NAME, engine=_TITLE),
            )
        named = Path(around.program).expanduser()
        folder = named if named.is_dir() else named.parent
        if not (folder / "server.py").is_file():
            return NotUsable(
                text("engines.{name}.program is '{path}', where no server.py of {engine} is", name=_NAME,
                     path=around.program, engine=_TITLE),
                text("set it to the folder of {engine}", engine=_TITLE),
            )  # fmt: skip
        for environment in _ENVIRONMENTS:
            python = folder / environment / "bin" / "python"
            if python.exists():
                # It tells its version nowhere; its command line is that of version 4.
                return Installed("-", str(python), _build(around))
        return NotUsable(
            text("{engine} in '{path}' has no environment", engine=_TITLE, path=str(folder)),
            text("run its start script there once, and choose your GPU"),
        )

    def launch_spec(self, placement: Placement, *, port: int, secret: str) -> LaunchSpec:
        """Its server.py in its own folder, with its API and without its pages."""
        python = PurePath(launching.program_of(placement, _TITLE, _NAME, installable=False))
        program = launching.Program(words=(str(python), "server.py"), instead_of=2, key_variable=KEY_VARIABLE)
        spec = launching.launch_spec(LINES, placement, program, port=port, secret=secret)
        return replace(spec, working_folder=str(_folder_of(python)), upstream_name=placement.model)

    def shares_prefixes(self, placement: Placement) -> bool | None:
        """Its llama.cpp shares nothing between requests that run at once; of the other loaders nothing is known."""
        return False if placement.checkpoint is not None and placement.checkpoint.format == "gguf" else None

    def read_metrics(self, text: str) -> EngineMetrics:
        """It has no metrics page."""
        return metrics.read_metrics(text)

    def read_log(self, line: str) -> LogFacts | None:
        """What its llama.cpp says of memory and context."""
        return exits.read_llama_log(line)

    def explain_exit(self, code: int | None, tail: Sequence[str]) -> ExitExplanation:
        """Its own words, then those of its loaders and of every process."""
        return words.explain(code, tail, _TITLE, _OWN_WORDS)


def _build(around: Surroundings) -> str:
    gpus = around.machine.gpus if around.machine else ()
    builds = {"nvidia": "cuda", "amd": "rocm", "apple": "metal"}
    return next((build for one in gpus for vendor, build in builds.items() if vendor in one.vendor.lower()), "cpu")
