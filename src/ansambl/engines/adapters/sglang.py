"""SGLang: ``python -m sglang.launch_server``. Followed: the wheel of SGLang 0.5.23; never tried on the real engine.

Flags: srt/arg_groups/fields/*.py. The key: ``--config``, a YAML file of flags (srt/utils/server_args_config_parser.py),
because the only other way is the command line, which everybody can read. LoRA: srt/entrypoints/openai/serving_base.py
(``model`` is ``base:adapter``, else ``lora_path`` counts) and http_server.py. Log: srt/model_executor/model_runner.py,
srt/mem_cache/memory_pool.py, srt/managers/scheduler.py; its GB are 2^30 bytes.

It has no ability to sleep here: ``/release_memory_occupation`` exists, but nothing tells whether the memory is
released, and a request that comes in that state computes with weights that are not there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

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
from ansambl.domain.lora import LoraAdapter
from ansambl.domain.plan import Placement
from ansambl.domain.serving import Operation
from ansambl.domain.text import text
from ansambl.domain.units import GIB, Bytes, Seconds, TokensPerSecond
from ansambl.engines.adapter import NOWHERE, EngineCall
from ansambl.engines.command_lines import parsers, parts
from ansambl.engines.command_lines.records import CommandInputs, EngineCommand
from ansambl.engines.command_lines.settings import EngineLines, Given, Kind, Setting
from ansambl.engines.installations import not_installed
from ansambl.engines.shared import gpu_builds, launching, metrics, torch_builds, words
from ansambl.engines.shared.python_environment import find_environment
from ansambl.engines.shared.salts import with_cache_salt

_NAME = "sglang"
_TITLE = "SGLang"
_PORT = 30000
_VERIFIED = parts.flags_checked("SGLang 0.5.23")
_KV_TYPES = {"fp8": "fp8_e4m3", "fp8_e4m3": "fp8_e4m3", "fp8_e5m2": "fp8_e5m2", "bf16": "bf16", "bfloat16": "bf16",
             "mxfp8": "mxfp8", "nvfp4": "nvfp4", "fp4_mx_block16": "fp4_mx_block16"}  # fmt: skip

_SETTINGS = (
    Setting("tensor_parallel", kind=Kind.WHOLE),
    Setting("mem_fraction_static", "--mem-fraction-static", Kind.NUMBER),
    Setting("max_running_requests", "--max-running-requests", Kind.WHOLE),
    Setting("max_total_tokens", "--max-total-tokens", Kind.WHOLE),
    Setting("chunked_prefill_size", "--chunked-prefill-size", Kind.WHOLE),
    Setting("max_prefill_tokens", "--max-prefill-tokens", Kind.WHOLE),
    Setting("page_size", "--page-size", Kind.WHOLE),
    Setting("moe_backend", "--moe-runner-backend"),
    Setting("disable_cuda_graph", kind=Kind.SWITCH),
    Setting("swa_full_tokens_ratio", "--swa-full-tokens-ratio", Kind.NUMBER),
    Setting("mamba_full_memory_ratio", "--mamba-full-memory-ratio", Kind.NUMBER),
    Setting("multimodal", "--enable-multimodal", Kind.SWITCH),
    Setting("engine_version", forecast_only=True),
    Setting("total_memory", kind=Kind.SIZE, forecast_only=True),
    Setting("attention_backend", "--attention-backend", extra=True),
    Setting("cuda_graph_max_bs", "--cuda-graph-max-bs-decode", Kind.WHOLE),
    Setting("cpu_offload_gb", "--cpu-offload-gb", Kind.WHOLE, extra=True),
    Setting("dtype", "--dtype", extra=True),
    Setting("quantization", "--quantization", extra=True),
    Setting("load_format", "--load-format", extra=True),
    Setting("disable_radix_cache", "--disable-radix-cache", Kind.SWITCH, extra=True),
    Setting("trust_remote_code", "--trust-remote-code", Kind.SWITCH, extra=True),
    Setting("max_loras_per_batch", "--max-loras-per-batch", Kind.WHOLE),
    Setting("max_lora_rank", "--max-lora-rank", Kind.WHOLE),
    Setting("tool_call_parser", extra=True),
    Setting("reasoning_parser", extra=True),
    Setting("draft_tokens", "--speculative-num-draft-tokens", Kind.WHOLE, extra=True),
)


def _build(inputs: CommandInputs, given: Given) -> EngineCommand:
    parts.refuse_projector(inputs, _TITLE)
    host, port, where = parts.address(inputs, _PORT)
    ranks = parts.tensor_parallel(inputs, given.whole("tensor_parallel"))
    kv_type = parts.one_kv_type(inputs, _KV_TYPES, _TITLE)
    tool, reasoning = parsers.chosen("sglang", inputs.short_name, given)
    gguf = inputs.format == "gguf" and inputs.path is None
    where_it_is = parts.gguf_file(inputs) if gguf else inputs.path or inputs.repo or parts.model_folder(inputs)
    words = [
        "python", "-m", "sglang.launch_server", "--model-path", where_it_is, "--served-model-name", inputs.model,
        "--host", host, "--port", str(port), "--context-length", str(inputs.context),
    ]  # fmt: skip
    if ranks > 1:
        words += ["--tp-size", str(ranks)]
    words += given.flags()
    if given.switch("disable_cuda_graph"):
        words += ["--cuda-graph-backend-decode", "disabled", "--cuda-graph-backend-prefill", "disabled"]
    if kv_type is not None:
        words += ["--kv-cache-dtype", kv_type]
    if tool is not None:
        words += ["--tool-call-parser", tool]
    if reasoning is not None:
        words += ["--reasoning-parser", reasoning]
    if inputs.loras:
        words += ["--lora-paths", *(f"{one.name}={one.path}" for one in inputs.loras)]
    if inputs.draft is not None:
        words += ["--speculative-algorithm", "STANDALONE", "--speculative-draft-model-path", inputs.draft]
    fetch = parts.download(inputs, ".") if gguf else ()
    return EngineCommand(
        engine=_NAME, lines=(*fetch, tuple(words)), verified=_VERIFIED, address=where,
        environment=parts.visible_gpus(inputs, ranks), serving=len(fetch),
        notes=(
            parts.no_key(where),
            *(parts.guessed_name(inputs) if gguf else ()),
            parts.no_slots(_TITLE, inputs),
        ),
    )  # fmt: skip


LINES: EngineLines = EngineLines(_NAME, _TITLE, ("safetensors", "gguf"), _SETTINGS, _build)
"""How its command line is written."""

_CONFIG = "config.yaml"
_LEAST = (7, 5)
"""The smallest compute capability: srt/model_loader of 0.5.23."""
_OWN_WORDS: words.Words = (
    (ExitReason.OUT_OF_MEMORY, re.compile(r"Not enough memory\. Please try", re.IGNORECASE)),
    (ExitReason.UNSUPPORTED_MODEL, re.compile(r"Model architectures .* are not supported", re.IGNORECASE)),
    (ExitReason.CHECKPOINT_MISSING, re.compile(r"Repo id must be in the form|is not a local folder", re.IGNORECASE)),
)
_WEIGHTS = re.compile(r"Load weight end\..*?mem usage=(?P<gb>\d+(?:\.\d+)?) GB")
_GRAPHS = re.compile(r"Capture .* end\..*?mem usage=(?P<gb>\d+(?:\.\d+)?) GB")
_KV = re.compile(r"KV Cache is allocated\..*?#tokens: (?P<tokens>\d+)")
_STATE = re.compile(r"Mamba Cache is allocated\.")
_SIZES = re.compile(r"(?:K|V|KV|conv_state|ssm_state) size: (?P<gb>\d+(?:\.\d+)?) ?GB")
_CAPACITY = re.compile(r"max_total_num_tokens=(?P<tokens>\d+),.*?context_len=(?P<context>\d+)")


def _gib(word: str) -> Bytes:
    return Bytes(round(float(word) * GIB))


@dataclass(frozen=True, slots=True)
class _Loras:
    """Adapters are chosen by the model's name, ``base:adapter``; those of the placement are there from the start."""

    base: str
    at_start: bool = True
    can_load: bool = True
    max_rank: int | None = None

    def load(self, lora: LoraAdapter) -> EngineCall:
        return EngineCall("/load_lora_adapter", {"lora_name": lora.name, "lora_path": lora.files["peft"]})

    def unload(self, lora: LoraAdapter) -> EngineCall:
        return EngineCall("/unload_lora_adapter", {"lora_name": lora.name})

    def listed(self) -> EngineCall:
        return EngineCall("/v1/models", {}, "GET")

    def read_listed(self, body: bytes) -> frozenset[str] | None:
        try:
            models = json.loads(body)["data"]
            return frozenset(str(one["id"]) for one in models if one.get("parent"))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None

    def applied(self, body: bytes, path: str, lora: str | None) -> bytes:  # noqa: ARG002 - the same for every path
        # The last of two equal keys counts, so ours replace the client's.
        chosen = json.dumps({"model": self.base if lora is None else f"{self.base}:{lora}", "lora_path": None})
        return body[: body.rindex(b"}")] + b"," + chosen[1:].encode()


class SGLang:
    """The adapter."""

    traits = EngineTraits(
        name=_NAME, title=_TITLE, formats=frozenset({"safetensors", "gguf"}),
        devices=frozenset({"cuda", "rocm", "cpu", "xpu"}), dialects=frozenset({"openai_chat"}),
        lora_formats=frozenset({"peft"}), documented="SGLang 0.5.23, its wheel",
        operations=frozenset({Operation.COMPLETIONS, Operation.EMBEDDINGS, Operation.RERANK, Operation.TRANSCRIPTION,
                              Operation.COUNTING}),
    )  # fmt: skip
    lines: EngineLines | None = LINES
    # It answers 503 until it has warmed up with one token.
    probe = ProbeSpec(path="/health", status=200, patience=Seconds(1800.0))

    def detect(self, around: Surroundings = NOWHERE) -> Installed | NotUsable:
        """An environment that holds it."""
        found = find_environment(around, title=_TITLE, engine=_NAME, script=_NAME, packages=(_NAME, "torch"))
        if isinstance(found, NotUsable):
            return found
        version = found.packages.get(_NAME)
        if version is None:
            return not_installed(_TITLE, _NAME)
        torch = found.packages.get("torch")
        build = found.build or torch_builds.build_of(torch)
        refusal = gpu_builds.refuse_build(
            around.machine,
            title=_TITLE,
            engine=_NAME,
            build=build or "",
            toolkit=torch_builds.toolkit_of(torch),
            capability=_LEAST,
        )
        return refusal or Installed(version, found.python, build, managed=found.managed)

    def launch_spec(self, placement: Placement, *, port: int, secret: str) -> LaunchSpec:
        """The module in its environment; the key in a private file of flags."""
        program = launching.Program(
            words=(launching.program_of(placement, _TITLE, _NAME), "-m", "sglang.launch_server"), instead_of=3,
            arguments=("--enable-metrics", "--enable-cache-report"),
            of_this_run=("--config", f"{RUN_FOLDER}/{_CONFIG}"),
            # Else every look at its health computes a token.
            environment={"SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION": "false"}, key_variable=KEY_VARIABLE,
        )  # fmt: skip
        spec = launching.launch_spec(
            LINES, placement, program, port=port, secret=secret, inputs=launching.inputs_for(placement, "peft")
        )
        # The name that its command line serves; the owner's own name is for servers that are attached to.
        return replace(
            spec, upstream_name=placement.model, files={**spec.files, _CONFIG: f"api-key: {json.dumps(secret)}\n"}
        )

    def salted(self, body: bytes, salt: str) -> bytes:
        """A field of the request."""
        return with_cache_salt(body, salt)

    def shares_prefixes(self, placement: Placement) -> bool | None:
        """It does (RadixAttention), unless its owner switched that off."""
        off = "--disable-radix-cache" in placement.options.arguments
        given = Given(LINES, {"disable_radix_cache": placement.settings.get("disable_radix_cache")})
        return not (off or given.switch("disable_radix_cache"))

    def lora_calls(self, placement: Placement) -> _Loras | NotUsable:
        """It is started for adapters where the placement has any."""
        if not any("peft" in one.files for one in placement.loras):
            return NotUsable(
                text("{engine} was started without LoRA adapters", engine=_TITLE),
                text("add one with: ansambl lora add NAME PATH --model {model}, and start it again",
                     model=placement.model),
            )  # fmt: skip
        # Where nobody says the rank, it takes the largest of those that it starts with (its --max-lora-rank).
        given = Given(LINES, {"max_lora_rank": placement.settings.get("max_lora_rank")}).whole("max_lora_rank")
        return _Loras(placement.model, max_rank=given or max(one.rank for one in placement.loras))

    def read_metrics(self, text: str) -> EngineMetrics:
        """Its metrics page, with the rate of the last moment, which it tells itself."""
        rate = metrics.read_samples(text).get("sglang:gen_throughput")
        return replace(metrics.read_metrics(text), decode_rate=TokensPerSecond(rate) if rate else None)

    def read_log(self, line: str) -> LogFacts | None:
        """Memory of weights, cache and graphs, and what the cache holds; each GPU tells its own."""
        weights, graphs, kv = _WEIGHTS.search(line), _GRAPHS.search(line), _KV.search(line)
        if weights:
            return LogFacts(memory={"weights": _gib(weights["gb"])})
        if graphs:
            return LogFacts(memory={"compute": _gib(graphs["gb"])})
        if kv or _STATE.search(line):
            size = Bytes(sum(_gib(one["gb"]) for one in _SIZES.finditer(line)))
            return LogFacts(memory={"kv_cache": size}, kv_tokens=int(kv["tokens"]) if kv else None)
        capacity = _CAPACITY.search(line)
        return LogFacts(context=int(capacity["context"]), kv_tokens=int(capacity["tokens"])) if capacity else None

    def explain_exit(self, code: int | None, tail: Sequence[str]) -> ExitExplanation:
        """When a child of it fails, it kills itself: what the child said counts, not the signal."""
        return words.explain(code, tail, _TITLE, _OWN_WORDS)
