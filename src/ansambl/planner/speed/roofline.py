"""The roofline: bytes over bandwidth for decode, operations over the device's rate for prefill.

Decode of one token takes, for each device, the bytes that it must read (its layers, the experts that a token passes
through, the KV cache of the context) over the part of its bandwidth that engines reach, and for each layer a fixed
time (launches of kernels, waits between devices). Prefill takes two operations for each active parameter and token and
the attention's own, over the part of the device's dense operations that engines reach, and the reading of all weights
for each batch. Both parts are fitted to measurements (`factors`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ansambl.domain.architecture import Architecture, Attention
from ansambl.domain.device import DeviceKind, DeviceModel
from ansambl.planner.memory.kv import cell_bytes
from ansambl.planner.memory.shares import split_weights
from ansambl.planner.speed.inputs import Part, SpeedInputs

PREFILL_BATCH = {"llama.cpp": 512, "vllm": 2048}
"""Tokens that an engine computes at once (llama.cpp's n_ubatch, vLLM's smallest default of max_num_batched_tokens)."""

# Data center chips with stacked memory: CUDA capabilities of A100, H100/H200, B200/B300; AMD's MI200 and MI300 lines.
_STACKED_MEMORY = frozenset({"8.0", "9.0", "10.0", "10.3", "gfx90a", "gfx942", "gfx950"})


@dataclass(frozen=True, slots=True)
class Factors:
    """What is fitted, by class of device and by ``"engine class"``.

    `bandwidth` is the part of the bandwidth that decode reaches, `seconds` the fixed time of a layer, `experts` how
    many times longer it is for a layer with experts, `operations` the part of the dense bf16 operations that prefill
    reaches.
    """

    bandwidth: dict[str, float]
    seconds: dict[str, float]
    operations: dict[str, float]
    experts: float


def device_class(model: DeviceModel) -> str:
    """The class whose factors a device shares: ``ram``, ``unified``, ``stacked``, ``amd`` or ``gpu``."""
    if model.kind is DeviceKind.RAM:
        return "ram"
    if model.unified_memory:
        return "unified"
    if model.capability in _STACKED_MEMORY:
        return "stacked"
    return "amd" if model.vendor == "amd" else "gpu"


def kv_read(architecture: Architecture, kv_type: str, context: int) -> float:
    """Bytes of the KV cache that a token after `context` others reads, over all layers."""
    read = 0.0
    for group in architecture.layers:
        sliding = group.attention is Attention.SLIDING and group.window is not None
        seen = min(context, group.window or 0) if sliding else context
        read += group.count * (float(cell_bytes(group, kv_type)) * seen + group.state_bytes)
    return read


def decode_seconds(
    inputs: SpeedInputs, engine: str, factors: Factors, bandwidth: Callable[[DeviceModel], float]
) -> float:
    """Seconds for one token; `bandwidth` says bytes a second of a device."""
    architecture = inputs.architecture
    shares = split_weights(architecture, inputs.weights)
    active = architecture.experts_active / architecture.experts if architecture.experts else 0.0
    # Each token reads the output layer, and of the input embedding one row: when both are one tensor it is read whole.
    output = shares.output or shares.embedding
    plain = shares.layers - shares.experts + output + kv_read(architecture, inputs.kv_type, inputs.context)
    each = []
    for part in inputs.parts:
        kind = device_class(part.device.model)
        size = part.layers * plain + part.experts * shares.experts * active
        each.append(size / (bandwidth(part.device.model) * factors.bandwidth[kind]))
    return _together(each, inputs) + _fixed_seconds(inputs, engine, factors)


def _together(each: list[float], inputs: SpeedInputs) -> float:
    return max(each) if inputs.split_tensors else sum(each)


def _fixed_seconds(inputs: SpeedInputs, engine: str, factors: Factors) -> float:
    # Where no GPU computes there are no launches: seconds of "ram" are 0.
    kinds = [device_class(part.device.model) for part in inputs.parts if part.layers > 0]
    slowest = max(factors.seconds[f"{engine} {kind}"] for kind in kinds)
    times = factors.experts if inputs.architecture.experts else 1.0
    return inputs.architecture.layer_count * slowest * times


def operations_of(architecture: Architecture, prompt: int) -> float:
    """Operations of a prefill for each token, on the mean over the prompt."""
    query = architecture.query_width or architecture.hidden
    attention = 0.0
    for group in architecture.layers:
        if group.attention is Attention.RECURRENT:
            continue
        mean = prompt / 2
        seen = min(mean, group.window) if group.attention is Attention.SLIDING and group.window else mean
        attention += group.count * 4 * query * seen
    return 2 * architecture.active + attention


def prefill_seconds(
    inputs: SpeedInputs,
    engine: str,
    factors: Factors,
    operations: Callable[[DeviceModel], float],
    bandwidth: Callable[[DeviceModel], float],
) -> float:
    """Seconds for the whole prompt; `operations` and `bandwidth` say a device's rates."""
    work = operations_of(inputs.architecture, inputs.prompt) * inputs.prompt
    batches = -(-inputs.prompt // PREFILL_BATCH[engine])
    shares = split_weights(inputs.architecture, inputs.weights)

    def seconds(part: Part) -> float:
        model = part.device.model
        kind = device_class(model)
        weights = part.layers * (shares.layers - shares.experts) + part.experts * shares.experts
        reading = batches * weights / (bandwidth(model) * factors.bandwidth[kind])
        return part.layers * work / (operations(model) * factors.operations[f"{engine} {kind}"]) + reading

    each = [seconds(part) for part in inputs.parts]
    return _together(each, inputs)
