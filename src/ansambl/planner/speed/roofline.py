"""The roofline: bytes over bandwidth for decode, operations over the device's rate for prefill.

Decode of one token takes, for each device, the bytes that it must read (its layers, the experts that a token passes
through, the KV cache of the context) over the part of its bandwidth that engines reach, and for each layer a fixed
time (launches of kernels, waits between devices). A step for several sequences reads the weights once, the KV cache of
each, and of the experts all that any of the tokens passes through; each further sequence adds its operations.

Prefill takes for each batch of tokens two operations for each active parameter and token with the attention's own,
beside the reading of the weights (a smooth roofline: the root of the sum of both squares), and the fixed time of the
layers. Matrix units are held back by their power as much as by their rate: what the measured cards reach goes with the
square root of the rate times the watts (one factor serves cards of 119 to 756 TFLOPS and 140 to 575 W). Weights of 16
bits need no unpacking and go faster. Few tokens for each expert leave the units partly idle. Cards that hold layers one
after the other work on several batches at once, in part; cards that work on each layer together exchange what they
found over their links. Weights that lie in RAM are copied to the GPUs for each batch.
The parts reached are fitted to measurements (`factors`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ansambl.domain.device import DeviceKind, DeviceModel
from ansambl.planner.speed.inputs import Part, SpeedInputs
from ansambl.planner.speed.work import Work

BATCH_TOKENS = {"llama.cpp": 512, "vllm": 2048, "transformers": 1 << 20}
"""Tokens that an engine computes at once: llama.cpp's n_ubatch, vLLM's smallest default of max_num_batched_tokens;
Transformers computes a whole prompt at once."""

RATES = {"llama.cpp": ("fp16", "bf16", "fp32"), "vllm": ("bf16", "fp16"), "transformers": ("bf16", "fp16")}
"""The number formats whose dense operations prefill is measured against, the first that is known. llama.cpp sums in
fp16 or int8, vLLM in fp32; the factor holds what a format of the weights gains or loses."""

FEWEST_COPIED = 32
"""From this many tokens on, llama.cpp copies weights from RAM to the GPU; fewer are computed where the weights lie
(ggml-org/llama.cpp, ggml-cuda.cu: the least batch of an operation that is offloaded)."""

# Data center chips with stacked memory: CUDA capabilities of A100, H100/H200, B200/B300; AMD's MI200 and MI300 lines.
_STACKED_MEMORY = frozenset({"8.0", "9.0", "10.0", "10.3", "gfx90a", "gfx942", "gfx950"})
_TERA = 1e12


@dataclass(frozen=True, slots=True)
class Factors:
    """What is fitted, by ``"engine class"`` (`device_class` for the first two, `rate_class` for the third).

    `bandwidth` is the part of the bandwidth that decode reaches, `seconds` the fixed time of a layer, `operations` the
    part of the reference rate (`reference`) that prefill reaches. `experts` are the tokens for each expert that reach
    half of that; `link` is the part of the link's bandwidth that copies reach. `routing` is the power of the tokens of
    a step that pass through experts of their own (1: each routes for itself); `crowd`, by engine, is the power of the
    number of sequences that a server loses. `sixteen` is what matrix units gain by weights of 16 bits, `pipeline` the
    part of the ideal gain that cards reach that work one after the other. The ``ram`` of `seconds` is added for each
    layer whose experts lie in RAM while the rest is on a GPU: the wait of both for each other.
    """

    bandwidth: Mapping[str, float]
    seconds: Mapping[str, float]
    operations: Mapping[str, float]
    experts: float
    link: float
    routing: float
    sixteen: float
    pipeline: float
    crowd: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Rates:
    """What one forecast takes for a device: bytes a second, and operations a second as `reference` has them."""

    bandwidth: Callable[[DeviceModel], float]
    operations: Callable[[DeviceModel], float]


def device_class(model: DeviceModel) -> str:
    """The class whose factors a device shares.

    ``ram``, ``superchip`` (NVIDIA's GPUs in the processor's memory), ``unified`` (the others), ``stacked``, ``amd`` or
    ``gpu``.
    """
    if model.kind is DeviceKind.RAM:
        return "ram"
    if model.unified_memory:
        return "superchip" if model.vendor == "nvidia" else "unified"
    if model.capability in _STACKED_MEMORY:
        return "stacked"
    return "amd" if model.vendor == "amd" else "gpu"


def rate_class(model: DeviceModel) -> str:
    """The class whose part of the operations a device shares: ``ram``, ``apple`` (no matrix units) or ``gpu``."""
    if model.kind is DeviceKind.RAM:
        return "ram"
    return "apple" if model.vendor == "apple" else "gpu"


def known_rate(model: DeviceModel, engine: str) -> tuple[float, float] | None:
    """The dense operations a second (low, high) that `engine` is measured against; None where no source tells them."""
    formats = RATES.get(engine, ())
    return next((model.operations[one] for one in formats if one in model.operations), None)


def reference(model: DeviceModel, rate: float, watts: float | None = None) -> float:
    """What the operations' factor is a part of: the rate alone where there are no matrix units, else with the power.

    The watts are the model's unless given; a model without either has the rate alone.
    """
    power = watts or model.watts
    if rate_class(model) != "gpu" or not power:
        return rate
    return math.sqrt(rate * power * _TERA)


def touched(work: Work, tokens: float, routing: float) -> float:
    """The share of the experts that any of `tokens` passes through."""
    return float(1 - (1 - work.active) ** (tokens**routing)) if work.active else 0.0


def decode_seconds(
    inputs: SpeedInputs, work: Work, engine: str, factors: Factors, rates: Rates, sequences: int = 1
) -> float:
    """Seconds of one step, which gives each of `sequences` a token; more than one need the device's operations.

    Raises:
        KeyError: no factor was fitted for the engine on such a device.
    """
    experts = work.experts * touched(work, sequences, factors.routing)
    plain = work.plain + sequences * work.kv
    further = (sequences - 1) * work.token_operations
    each, slowest, waits = [], 0.0, 0.0
    for part in inputs.parts:
        model = part.device.model
        kind = device_class(model)
        size = part.layers * plain + part.experts * experts
        seconds = size / (rates.bandwidth(model) * factors.bandwidth[f"{engine} {kind}"])
        if further:
            share = _share_of_operations(part, work)
            seconds += share * further / (rates.operations(model) * factors.operations[f"{engine} {rate_class(model)}"])
        each.append(seconds)
        if kind == "ram":
            waits += max(0.0, part.experts - part.layers) * factors.seconds[f"{engine} ram"]
        elif part.layers > 0:
            slowest = max(slowest, factors.seconds[f"{engine} {kind}"])
    fixed = inputs.architecture.layer_count * (slowest + waits)
    return (max(each) if inputs.split_tensors else sum(each)) + fixed


def _share_of_operations(part: Part, work: Work) -> float:
    all_operations = work.plain_operations + work.expert_operations
    return (part.layers * work.plain_operations + part.experts * work.expert_operations) / all_operations


def prefill_seconds(inputs: SpeedInputs, work: Work, engine: str, factors: Factors, rates: Rates) -> float:
    """Seconds for the whole prompt; weights that lie in RAM are copied to the GPUs for each batch.

    Raises:
        KeyError: no factor was fitted for the engine on such a device.
    """
    batches = -(-inputs.prompt // (inputs.batch_tokens or BATCH_TOKENS[engine]))
    tokens = inputs.prompt / batches
    operations = work.plain_operations
    if work.active:
        to_each = tokens * work.active
        operations += work.expert_operations * (1 + factors.experts / to_each)
    read = work.experts * touched(work, tokens, 1.0)
    computing = computing_parts(inputs, tokens)
    copied = sum(part.layers * work.layers + part.experts * read for part in inputs.parts if part not in computing)
    held = sum(part.layers for part in computing)
    each, slowest = [], 0.0
    for part in computing:
        model = part.device.model
        kind = device_class(model)
        reached = rates.operations(model) * factors.operations[f"{engine} {rate_class(model)}"]
        if work.sixteen and rate_class(model) == "gpu":
            reached *= factors.sixteen
        share = _share(part, work, computing) if len(computing) == len(inputs.parts) else part.layers / held
        reading = (part.layers * work.layers + part.experts * read) / (
            rates.bandwidth(model) * factors.bandwidth[f"{engine} {kind}"]
        )
        each.append(math.hypot(share * operations * inputs.prompt / reached, batches * reading))
        if kind != "ram":
            slowest = max(slowest, factors.seconds[f"{engine} {kind}"])
    fixed = batches * inputs.architecture.layer_count * slowest
    seconds = (max(each) if inputs.split_tensors else sum(each) * _pipelined(batches, len(each), factors)) + fixed
    if inputs.split_tensors:
        seconds += _exchange_seconds(inputs, factors)
    if copied:
        links = [one.device.model.link_bandwidth for one in computing if one.device.model.link_bandwidth]
        # In unified memory the GPU reads what lies in RAM where it lies.
        if links:
            seconds += batches * copied / (min(links) * factors.link)
    return seconds


def _exchange_seconds(inputs: SpeedInputs, factors: Factors) -> float:
    """What devices that work on each layer together need to add up their halves of a prompt, twice in each layer.

    Two bytes for each element; a ring of n devices sends 2 (n - 1) / n of them over each link (NVIDIA NCCL tests,
    PERFORMANCE.md). Cards with stacked memory are joined by links of their own that are not counted.
    """
    models = [part.device.model for part in inputs.parts if part.layers > 0]
    links = [model.link_bandwidth for model in models if model.link_bandwidth and device_class(model) != "stacked"]
    if len(models) < 2 or not links:
        return 0.0
    architecture = inputs.architecture
    sent = 2 * architecture.layer_count * architecture.hidden * 2 * inputs.prompt * 2 * (len(models) - 1) / len(models)
    return sent / (min(links) * factors.link)


def _pipelined(batches: int, devices: int, factors: Factors) -> float:
    ideal = (batches + devices - 1) / (batches * devices)
    return 1 - factors.pipeline * (1 - ideal)


def computing_parts(inputs: SpeedInputs, tokens: float) -> list[Part]:
    """The parts whose devices compute a batch of `tokens`: the GPUs, where the batch is worth a copy, else all."""
    gpus = [part for part in inputs.parts if part.device.kind is DeviceKind.GPU and part.layers > 0]
    return gpus if gpus and tokens >= FEWEST_COPIED else list(inputs.parts)


def _share(part: Part, work: Work, parts: list[Part]) -> float:
    total = sum(_share_of_operations(one, work) for one in parts)
    return _share_of_operations(part, work) / total
