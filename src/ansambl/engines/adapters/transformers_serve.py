"""Transformers: ``transformers serve``, in a Python environment of its own.

Followed: cli/serve.py of Transformers 5.23.0; 5.19.0 was tried on the processor.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

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
from ansambl.domain.errors import NotSupportedError
from ansambl.domain.plan import Placement
from ansambl.domain.serving import Operation
from ansambl.domain.text import text
from ansambl.domain.units import Seconds
from ansambl.engines.adapter import NOWHERE
from ansambl.engines.command_lines import parts
from ansambl.engines.command_lines.records import CommandInputs, EngineCommand
from ansambl.engines.command_lines.settings import EngineLines, Given, Kind, Setting
from ansambl.engines.shared import metrics, openmp, words
from ansambl.engines.shared.launching import Program, launch_spec, program_of
from ansambl.engines.shared.python_environment import find_environment, is_python, with_warning

_NAME = "transformers"
_TITLE = "Transformers"
_PORT = 8000
_VERSION = "5.19.0"
_VERIFIED = parts.flags_checked("Transformers 5.23.0")
_OLDEST = 5
"""The first major version whose server is given a model and takes no other."""

_PACKAGES = ("transformers", "torch", "accelerate")
_SILENT: Mapping[str, str] = MappingProxyType({
    # It asks the package index for newer versions of itself; the checkpoint is a folder here.
    "HF_HUB_DISABLE_UPDATE_CHECK": "1", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1",
    # Nothing of the folder that Ansambl was started in may stand before the standard library.
    "PYTHONSAFEPATH": "1",
})  # fmt: skip
_WORDS: words.Words = tuple(
    (reason, re.compile(pattern))
    for reason, pattern in (
        (ExitReason.PORT_TAKEN, r"error while attempting to bind on address"),
        (ExitReason.MISSING_PROGRAM, (r"requires `accelerate`|Missing dependencies for serving|No module named|"
                                     r"ImportError: .* requires ")),
        (ExitReason.UNSUPPORTED_MODEL, r"does not recognize this architecture|module transformers has no attribute"),
        (ExitReason.CHECKPOINT_MISSING, r"no file named model\.safetensors|Repo id must be in the form"),
        (ExitReason.BAD_FLAG, r"No such option|Invalid value for|ValueError: Unsupported "),
    )
)  # fmt: skip
_NO_FLAG = text("'transformers serve' has no flag for it")
_ONE_GPU = text("it splits tensors only under torchrun; take vLLM or SGLang for several GPUs")

_PAGE = 256
"""Tokens of a page where no setting says: generation/configuration_utils.py of Transformers 5.19."""

_BATCH = 2048
"""Tokens that pass at once; longer prompts pass in pieces."""

_SETTINGS = (
    Setting("dtype", "--dtype", choices=("auto", "bfloat16", "float16", "float32")),
    Setting("quantization", choices=("auto", "none", "bnb-4bit", "bnb-8bit")),
    Setting("attention", choices=("auto", "sdpa", "eager", "flash_attention_2", "flash_attention_3")),
    Setting("device_map", choices=("auto", "cuda", "cpu")),
    Setting("double_quant", kind=Kind.SWITCH, refusal=_NO_FLAG),
    Setting("prefill_chunk_size", kind=Kind.WHOLE, refusal=_NO_FLAG),
    Setting("tensor_parallel", kind=Kind.WHOLE),
    Setting("mxfp4_kernels", kind=Kind.SWITCH, forecast_only=True),
    Setting("ram_margin", kind=Kind.SIZE, forecast_only=True),
    Setting("engine_version", forecast_only=True),
    Setting("continuous_batching", kind=Kind.SWITCH, extra=True),
    Setting("cb_block_size", "--cb-block-size", Kind.WHOLE, extra=True),
    Setting("cb_num_blocks", "--cb-num-blocks", Kind.WHOLE, extra=True),
    Setting("cb_max_batch_tokens", "--cb-max-batch-tokens", Kind.WHOLE, extra=True),
    Setting("cb_max_memory_percent", "--cb-max-memory-percent", Kind.NUMBER, extra=True),
    Setting("compile", "--compile", Kind.SWITCH, off="--no-compile", extra=True),
    Setting("trust_remote_code", "--trust-remote-code", Kind.SWITCH, off="--no-trust-remote-code", extra=True),
    Setting("reasoning", "--reasoning", choices=("on", "off", "auto"), extra=True),
)


def _source(inputs: CommandInputs) -> str:
    if inputs.format == "gguf" and inputs.path is None and inputs.repo is not None:
        return f"{inputs.repo}:{parts.gguf_file(inputs)}"
    return inputs.path or inputs.repo or parts.model_folder(inputs)


def _bounded_cache(inputs: CommandInputs, given: Given) -> list[str]:
    """Flags that keep the pages of continuous batching to what was asked for.

    Left alone it fills eight or nine tenths of the free memory with them at the first request, also of the RAM (5.19.0:
    20 GiB for a model of 2 MB), and makes masks for batches of 8192 tokens.
    """
    words: list[str] = []
    told = given.flags()
    if not {"--cb-num-blocks", "--cb-max-memory-percent"} & set(told):
        page = given.whole("cb_block_size") or _PAGE
        # One more for each, since a page is taken before it is filled.
        words += ["--cb-num-blocks", str(inputs.parallel * (-(-inputs.context // page) + 1))]
    if "--cb-max-batch-tokens" not in told:
        words += ["--cb-max-batch-tokens", str(_BATCH)]
    return words


def _build(inputs: CommandInputs, given: Given) -> EngineCommand:
    parts.refuse_beside(inputs, _TITLE)
    host, port, where = parts.address(inputs, _PORT)
    parts.one_kv_type(inputs, {}, _TITLE)
    if (given.whole("tensor_parallel") or 1) > 1:
        raise parts.refused(_TITLE, "tensor_parallel", _ONE_GPU)
    words = ["transformers", "serve", _source(inputs), "--host", host, "--port", str(port)]
    words += ["--device", given.word("device_map") or ("auto" if inputs.gpus else "cpu")]
    for name, flag in (("quantization", "--quantization"), ("attention", "--attn-implementation")):
        if given.word(name) not in {None, "auto", "none"}:
            words += [flag, str(given.word(name))]
    batching = given.switch("continuous_batching")
    wanted = inputs.parallel > 1 or any(word.startswith("--cb-") for word in given.flags())
    if batching or (batching is None and wanted):
        words += ["--continuous-batching", *_bounded_cache(inputs, given)]
    return EngineCommand(
        engine=_NAME, lines=((*words, *given.flags()),), verified=_VERIFIED, address=where,
        environment=parts.visible_gpus(inputs),
        notes=(
            parts.no_key(where),
            *(parts.guessed_name(inputs) if inputs.format == "gguf" else ()),
            text("{engine} has no limit of context on its command line: it grows with each request, so keep requests "
                 "within {context} tokens", engine=_TITLE, context=inputs.context),
        ),
    )  # fmt: skip


LINES: EngineLines = EngineLines(_NAME, _TITLE, ("safetensors", "gguf"), _SETTINGS, _build)
"""How its command line is written."""


class TransformersServe:
    """The adapter: for checkpoints that no faster engine knows.

    It has no key, no limit of context, no metrics and no report of cached tokens.
    """

    traits = EngineTraits(
        name=_NAME,
        title=_TITLE,
        formats=frozenset({"safetensors"}),
        devices=frozenset({"cuda", "rocm", "metal", "cpu"}),
        dialects=frozenset({"openai_chat", "openai_responses"}),
        operations=frozenset({Operation.COMPLETIONS, Operation.TRANSCRIPTION}),
        verified=f"{_VERSION} (CPU)",
        documented="5.23.0, its source (GPUs)",
    )
    lines: EngineLines | None = LINES
    # It loads the model that it is given before it listens. Its /v1/models fails where nothing was ever downloaded.
    probe = ProbeSpec(path="/health", status=200, patience=Seconds(1800.0))

    def detect(self, around: Surroundings = NOWHERE) -> Installed | NotUsable:
        """By the packages of its environment."""
        found = find_environment(around, title=_TITLE, engine=_NAME, script=_NAME, packages=_PACKAGES)
        if isinstance(found, NotUsable):
            return found
        for name in _PACKAGES:
            if name not in found.packages:
                return NotUsable(
                    text("the Python environment of {path} has no {package}, which Transformers' server needs",
                         path=found.python, package=name),
                    text("install {package} there, or let Ansambl make an environment: ansambl engines install "
                         "transformers", package=name),
                )  # fmt: skip
        version = found.packages["transformers"]
        if int((re.match(r"\d+", version) or [str(_OLDEST)])[0]) < _OLDEST:
            return NotUsable(
                text("Transformers {version} is too old: its server cannot be given a model", version=version),
                text("install {least} or newer there, or: ansambl engines install transformers", least=f"{_OLDEST}.0"),
            )
        local = re.search(r"\+(cpu|rocm|cu)", found.packages["torch"])
        build = {"cpu": "cpu", "rocm": "rocm", "cu": "cuda"}[local[1]] if local else found.build
        known = with_warning(version, _VERSION, _TITLE)
        return replace(known, path=found.script(_NAME) or found.python, build=build, managed=found.managed)

    def launch_spec(self, placement: Placement, *, port: int, secret: str) -> LaunchSpec:
        """``transformers serve CHECKPOINT``: it answers requests for this one, named by its path, and for no other."""
        path = program_of(placement, _TITLE, _NAME)
        checkpoint = placement.checkpoint
        if checkpoint is not None and checkpoint.format not in self.traits.formats:
            raise NotSupportedError(
                text("models.{model}: Transformers would unpack a {format} file to 16 bits; run it on llama.cpp",
                     model=placement.model, format=checkpoint.format)
            )  # fmt: skip
        if checkpoint is not None and {"@", ":"} & set(checkpoint.path):
            raise NotSupportedError(
                text("models.{model}: Transformers' server cannot read a path with @ or : in it ({path}); rename the "
                     "folder", model=placement.model, path=checkpoint.path)
            )  # fmt: skip
        if checkpoint is not None and checkpoint.context is not None and placement.context > checkpoint.context:
            raise NotSupportedError(
                text("models.{model}.context is {context}, but the model was trained for {trained} tokens; lower it",
                     model=placement.model, context=placement.context, trained=checkpoint.context)
            )  # fmt: skip
        program = Program(
            words=(path, "-m", "transformers.cli.transformers") if is_python(path) else (path,),
            environment={**_SILENT, **({} if placement.gpus else openmp.ENVIRONMENT), **_threads(placement)},
            # It asks for no key; this one is sent with requests all the same, and does no harm.
            key_variable=KEY_VARIABLE,
        )  # fmt: skip
        spec = launch_spec(LINES, placement, program, port=port, secret=secret)
        return replace(spec, upstream_name=checkpoint.path if checkpoint else None)

    def shares_prefixes(self, placement: Placement) -> bool:  # noqa: ARG002 - it does for none
        """It has no prefix cache: each request reads its whole prompt."""
        return False

    def read_metrics(self, text: str) -> EngineMetrics:
        """It has no metrics page; one that somebody put before it is read as any other."""
        return metrics.read_metrics(text)

    def read_log(self, line: str) -> LogFacts | None:  # noqa: ARG002 - see below
        """It tells nothing of its memory."""
        return None

    def explain_exit(self, code: int | None, tail: Sequence[str]) -> ExitExplanation:
        """By its own words first."""
        return words.explain(code, tail, _TITLE, _WORDS)


def _threads(placement: Placement) -> dict[str, str]:
    return {"OMP_NUM_THREADS": str(placement.threads)} if placement.threads is not None else {}
