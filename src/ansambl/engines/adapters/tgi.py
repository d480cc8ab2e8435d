"""Text Generation Inference: ``text-generation-launcher``.

Followed: docs/source/reference/launcher.md of huggingface/text-generation-inference @032fc4c4. It is in maintenance
mode since December 2025 (README of the project, commit 34988476), and has no gpt-oss: it is attached to where somebody
runs it, and nothing more. Metrics: docs/source/reference/metrics.md. Never tried on the real engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

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
from ansambl.domain.plan import Placement
from ansambl.domain.serving import Operation
from ansambl.domain.text import text
from ansambl.domain.units import Seconds
from ansambl.engines.adapter import NOWHERE
from ansambl.engines.command_lines import parts
from ansambl.engines.command_lines.records import CommandInputs, EngineCommand
from ansambl.engines.command_lines.settings import EngineLines, Given, Kind, Setting
from ansambl.engines.shared import attaching, metrics

_NAME = "tgi"
_TITLE = "TGI"
_PORT = 3000
_VERIFIED = parts.as_documented("text-generation-inference @032fc4c4, launcher reference")
_KV_TYPES = {"fp8": "fp8_e4m3fn", "fp8_e4m3": "fp8_e4m3fn", "fp8_e4m3fn": "fp8_e4m3fn", "fp8_e5m2": "fp8_e5m2"}
_QUANTIZE = ("awq", "compressed-tensors", "eetq", "exl2", "gptq", "marlin", "bitsandbytes", "bitsandbytes-nf4",
             "bitsandbytes-fp4", "fp8")  # fmt: skip

_SETTINGS = (
    Setting("tensor_parallel", kind=Kind.WHOLE),
    Setting("cuda_memory_fraction", "--cuda-memory-fraction", Kind.NUMBER),
    Setting("max_batch_prefill_tokens", "--max-batch-prefill-tokens", Kind.WHOLE),
    Setting("enforce_eager", kind=Kind.SWITCH, extra=True),
    Setting("engine_version", forecast_only=True),
    Setting("max_concurrent_requests", "--max-concurrent-requests", Kind.WHOLE, extra=True),
    Setting("quantize", "--quantize", choices=_QUANTIZE, extra=True),
    Setting("dtype", "--dtype", choices=("float16", "bfloat16"), extra=True),
    Setting("trust_remote_code", "--trust-remote-code", Kind.SWITCH, extra=True),
)


def _build(inputs: CommandInputs, given: Given) -> EngineCommand:
    parts.refuse_beside(inputs, _TITLE, ("mmproj", "draft"))
    host, port, where = parts.address(inputs, _PORT)
    ranks = parts.tensor_parallel(inputs, given.whole("tensor_parallel"))
    kv_type = parts.one_kv_type(inputs, _KV_TYPES, _TITLE)
    words = [
        "text-generation-launcher", "--model-id", inputs.path or inputs.repo or parts.model_folder(inputs),
        "--hostname", host, "--port", str(port),
        # The prompt must be shorter than prompt and answer together.
        "--max-input-tokens", str(max(1, inputs.context - 1)), "--max-total-tokens", str(inputs.context),
        "--max-batch-total-tokens", str(inputs.context * inputs.parallel), "--num-shard", str(ranks), *given.flags(),
    ]  # fmt: skip
    if given.switch("enforce_eager"):
        words += ["--cuda-graphs", "0"]
    if kv_type is not None:
        words += ["--kv-cache-dtype", kv_type]
    if inputs.loras:
        words += ["--lora-adapters", ",".join(f"{one.name}={one.path}" for one in inputs.loras)]
    return EngineCommand(
        engine=_NAME, lines=(tuple(words),), verified=_VERIFIED, address=where,
        environment=parts.visible_gpus(inputs, ranks), key_variable="API_KEY",
        notes=(
            text("TGI is in maintenance mode since December 2025; its page points to vLLM, SGLang and llama.cpp"),
        ),
    )  # fmt: skip


LINES: EngineLines = EngineLines(_NAME, _TITLE, ("safetensors",), _SETTINGS, _build)
"""How its command line is written."""

_INSTEAD = text(
    "it is in maintenance mode and has no gpt-oss: take engine = {vllm} (or {llama} for GGUF files), or give the model "
    "the address of yours", vllm='"vllm"', llama='"llama.cpp"',
)  # fmt: skip


class TGI:
    """The adapter: thin, because its project takes fixes only."""

    attach_only = True
    traits = EngineTraits(
        name=_NAME, title=_TITLE, formats=frozenset({"safetensors"}), devices=frozenset({"cuda", "rocm"}),
        dialects=frozenset({"openai_chat"}), operations=frozenset({Operation.COMPLETIONS}),
        documented="text-generation-inference @032fc4c4, launcher and metrics reference",
    )  # fmt: skip
    lines: EngineLines | None = LINES
    probe = ProbeSpec(path="/health", status=200, patience=Seconds(30.0))

    def detect(self, around: Surroundings = NOWHERE) -> Installed | NotUsable:  # noqa: ARG002 - never started
        """Never to be started; the reason names what to take instead."""
        return NotUsable(text("{engine} can only be attached to", engine=_TITLE), _INSTEAD)

    def launch_spec(self, placement: Placement, *, port: int, secret: str) -> LaunchSpec:  # noqa: ARG002 - never started
        """Never."""
        raise attaching.refuse_start(placement, _TITLE, _INSTEAD)

    def shares_prefixes(self, placement: Placement) -> bool | None:  # noqa: ARG002 - unknown for all
        """Unknown: its prefix cache depends on the model and on a switch (``PREFIX_CACHING``)."""
        return None

    def read_metrics(self, text: str) -> EngineMetrics:
        """Requests that run and wait, and tokens, from sums of its histograms."""
        samples = metrics.read_samples(text)

        def whole(name: str) -> int | None:
            value = samples.get(name)
            return None if value is None else int(value)

        return replace(
            EngineMetrics(), prompt_tokens=whole("tgi_request_input_length_sum"),
            output_tokens=whole("tgi_request_generated_tokens_sum"), requests_running=whole("tgi_batch_current_size"),
            requests_waiting=whole("tgi_queue_size"),
        )  # fmt: skip

    def read_log(self, line: str) -> LogFacts | None:  # noqa: ARG002 - its log is not ours
        """Nothing: its log is not ours."""
        return None

    def explain_exit(self, code: int | None, tail: Sequence[str]) -> ExitExplanation:  # noqa: ARG002 - not our child
        """All that can be said is that it went away."""
        return attaching.gone(_TITLE)
