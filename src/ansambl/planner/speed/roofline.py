"""The roofline: bytes over bandwidth for decode, operations over the device's rate for prefill.

Decode of one token takes, for each device, the bytes that it must read (its layers, the experts that a token passes
through, the KV cache of the context) over the part of its bandwidth that engines reach, and for each layer a fixed
time (launches of kernels, waits between devices). Prefill takes two operations for each active parameter and token and
the attention's own, over the part of the device's dense operations that engines reach, and the reading of all weights
for each batch, whichever takes longer. The parts reached are fitted to measurements (`factors`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ansambl.domain.architecture import Architecture, Attention
from ansambl.domain.device import DeviceKind, DeviceModel
from ansambl.planner.memory.kv import cell_bytes
from ansambl.planner.memory.shares import split_weights
from ansambl.planner.speed.inputs import SpeedInputs

PREFILL_BATCH = {"llama.cpp": 512, "vllm": 2048}
"""Tokens that an engine computes at once (llama.cpp's n_ubatch, vLLM's smallest default of max_num_batched_tokens)."""

OPERATIONS = "bf16"
"""The dense operations that all weight formats are measured against; the factor holds what a format gains or loses."""

# Data center chips with stacked memory: CUDA capabilities of A100, H100/H200, B200/B300; AMD's MI200 and MI300 lines.
_STACKED_MEMORY = frozenset({"8.0", "9.0", "10.0", "10.3", "gfx90a", "gfx942", "gfx950"})


# At least this many operations for a byte of bandwidth in the data sheet: full-rate cards (L40S 419, H100 PCIe 371,
# RTX 6000 Ada 379) against GeForce (RTX 4090 164, RTX 5090 117). No engine's kernels use the whole of such a rate.
_WIDE = 250.0


@dataclass(frozen=True, slots=True)
class Factors:
    """What is fitted, by ``"engine class"`` (`device_class` for the first two, `rate_class` for the third).

    `bandwidth` is the part of the bandwidth that decode reaches, `seconds` the fixed time of a layer, `operations` the
    part of the dense bf16 operations that prefill of a dense model reaches, and `experts` what is left of that where
    layers have experts.
    """

    bandwidth: Mapping[str, float]
    seconds: Mapping[str, float]
    operations: Mapping[str, float]
    experts: float


@dataclass(frozen=True, slots=True)
class Rates:
    """What one forecast takes for a device: bytes and operations a second."""

    bandwidth: Callable[[DeviceModel], float]
    operations: Callable[[DeviceModel], float]


def device_class(model: DeviceModel) -> str:
    """The class whose factors a device shares: ``ram``, ``unified``, ``stacked``, ``amd`` or ``gpu``."""
    if model.kind is DeviceKind.RAM:
        return "ram"
    if model.unified_memory:
        return "unified"
    if model.capability in _STACKED_MEMORY:
        return "stacked"
    return "amd" if model.vendor == "amd" else "gpu"


def rate_class(model: DeviceModel) -> str:
    """The class whose part of the operations a device shares: that of `device_class`, or ``wide``."""
    kind = device_class(model)
    operations = model.operations[OPERATIONS][0]
    if kind == "stacked" or (kind == "gpu" and model.bandwidth and operations / model.bandwidth >= _WIDE):
        return "wide"
    return kind


def kv_read(architecture: Architecture, kv_type: str, context: int) -> float:
    """Bytes of the KV cache that a token after `context` others reads, over all layers."""
    read = 0.0
    for group in architecture.layers:
        sliding = group.attention is Attention.SLIDING and group.window is not None
        seen = min(context, group.window or 0) if sliding else context
        read += group.count * (float(cell_bytes(group, kv_type)) * seen + group.state_bytes)
    return read


def decode_seconds(inputs: SpeedInputs, engine: str, factors: Factors, rates: Rates) -> float:
    """Seconds for one token.

    Raises:
        KeyError: no factor was fitted for the engine on such a device.
    """
    architecture = inputs.architecture
    shares = split_weights(architecture, inputs.weights)
    active = architecture.experts_active / architecture.experts if architecture.experts else 0.0
    # Of the input embedding one row is read; where it is the output layer too, it is read whole.
    output = shares.output or shares.embedding
    plain = shares.layers - shares.experts + output + kv_read(architecture, inputs.kv_type, inputs.context)
    each = []
    for part in inputs.parts:
        model = part.device.model
        size = part.layers * plain + part.experts * shares.experts * active
        each.append(size / (rates.bandwidth(model) * factors.bandwidth[f"{engine} {device_class(model)}"]))
    kinds = {device_class(part.device.model) for part in inputs.parts if part.layers > 0}
    fixed = architecture.layer_count * max(factors.seconds[f"{engine} {kind}"] for kind in kinds)
    return (max(each) if inputs.split_tensors else sum(each)) + fixed


def operations_of(architecture: Architecture, prompt: int) -> float:
    """Operations of a prefill for each token, in the mean over the prompt."""
    query = architecture.query_width or architecture.hidden
    attention = 0.0
    for group in architecture.layers:
        if group.attention is Attention.RECURRENT:
            continue
        seen = prompt / 2
        if group.attention is Attention.SLIDING and group.window is not None:
            seen = min(seen, group.window)
        attention += group.count * 4 * query * seen
    return 2 * architecture.active + attention


def prefill_seconds(inputs: SpeedInputs, engine: str, factors: Factors, rates: Rates) -> float:
    """Seconds for the whole prompt; weights that lie in RAM are copied to the GPUs for each batch.

    Raises:
        KeyError: no factor was fitted for the engine on such a device.
    """
    architecture = inputs.architecture
    work = operations_of(architecture, inputs.prompt) * inputs.prompt
    batches = -(-inputs.prompt // PREFILL_BATCH[engine])
    shares = split_weights(architecture, inputs.weights)
    plain = shares.layers - shares.experts
    gpus = [part for part in inputs.parts if part.device.kind is DeviceKind.GPU and part.layers > 0]
    computing = gpus or list(inputs.parts)
    copied = sum(part.layers * plain + part.experts * shares.experts for part in inputs.parts if part not in computing)
    each = []
    for part in computing:
        model = part.device.model
        reached = rates.operations(model) * factors.operations[f"{engine} {rate_class(model)}"]
        if architecture.experts:
            reached *= factors.experts
        share = part.layers / sum(one.layers for one in computing)
        reading = (part.layers * plain + part.experts * shares.experts) / (
            rates.bandwidth(model) * factors.bandwidth[f"{engine} {device_class(model)}"]
        )
        each.append(max(share * work / reached, batches * reading))
    seconds = max(each) if inputs.split_tensors else sum(each)
    if copied:
        seconds += batches * copied / min(one.device.model.link_bandwidth or 0.0 for one in computing)
    return seconds
