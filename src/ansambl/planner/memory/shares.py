"""How weights lie: which bytes are the embedding's, which the experts', and what a device may give."""

from __future__ import annotations

from dataclasses import dataclass

from ansambl.domain.architecture import Architecture
from ansambl.domain.device import DeviceKind, PlannedDevice
from ansambl.domain.footprint import DeviceFootprint, Range, Reason, WeightBytes
from ansambl.domain.text import text
from ansambl.domain.units import GIB, Bytes, format_bytes

# Of the memory as it is sold, what a program sees: an RTX 3090 shows 23.58 of 24 GiB, an RTX 4090 23.68.
VISIBLE_LOW, VISIBLE = 23.58 / 24, 23.68 / 24
VISIBLE_SOURCE = "vllm-project/vllm#10517 (23.58 of 24 GiB); zai-org/CogVideo#36 (23.68 of 24 GiB)"

RAM_MARGIN = Bytes(2 * GIB)
"""Left to the system and other programs; a margin of ours, not a measurement."""

CUDA_CONTEXT = Bytes(round(0.35 * GIB))
"""What the driver's context and libraries take on a GPU (vllm-project/vllm#10517: "non_torch" 0.35 GiB)."""


@dataclass(frozen=True, slots=True)
class WeightShares:
    """A checkpoint's bytes by what they are for. Embedding and output are apart from `layers`; experts lie within."""

    embedding: int
    output: int
    layers: int
    experts: int
    estimated: bool


def split_weights(architecture: Architecture, weights: WeightBytes) -> WeightShares:
    """Divide a checkpoint's bytes; what its files did not say is estimated by the share of parameters."""
    per_parameter = weights.total / max(1, architecture.parameters)
    embedding = weights.embedding
    if embedding is None:
        embedding = Bytes(round(architecture.vocabulary * architecture.hidden * per_parameter))
    embedding = Bytes(min(embedding, weights.total))
    output = 0 if weights.tied else min(embedding, weights.total - embedding)
    layers = weights.total - embedding - output
    experts: int | None = weights.experts
    if experts is None:
        width = architecture.expert_feed_forward or 0
        count = 3 * architecture.experts * architecture.hidden * width * architecture.layer_count
        experts = round(count * per_parameter)
    estimated = weights.embedding is None or (weights.experts is None and architecture.experts > 0)
    return WeightShares(embedding, output, layers, max(0, min(experts, layers)), estimated)


def spread(part: Range, weights: WeightBytes) -> Range:
    """`part` of a checkpoint, widened as far as the checkpoint's size is itself an estimate."""
    if weights.exact or not weights.total:
        return part
    low, high = weights.span
    return Range(Bytes(part.low * low // weights.total), part.expected, Bytes(-(-part.high * high // weights.total)))


def estimated_size(weights: WeightBytes) -> tuple[Reason, ...]:
    """The reason that says how far a checkpoint's size is an estimate; nothing where it is exact."""
    if weights.exact:
        return ()
    low, high = weights.span
    return (
        Reason("estimated-size",
               text("the checkpoint's size is an estimate: {low} to {high}; what fits is judged by the greater",
                    low=format_bytes(low), high=format_bytes(high)), weights.source),
    )  # fmt: skip


def visible_memory() -> Reason:
    """The reason that says that a GPU shows programs less than it is sold with."""
    return Reason("visible-memory", text("a program sees about 98 % of a GPU's memory"), VISIBLE_SOURCE)


def tensors_of(weights: WeightBytes) -> tuple[Reason, ...]:
    """The reasons that say how large a checkpoint kept as it is becomes, and how far that is an estimate."""
    size = text("the checkpoint's tensors take {size}", size=format_bytes(weights.total))
    return (Reason("weights", size, weights.source), *estimated_size(weights))


def not_measured(engine: str, source: str) -> Reason:
    """The reason that says that an engine's rules were checked against no measurement; `source` is what they follow."""
    return Reason(
        "not-measured",
        text("the rules for {engine} follow its source code and are not checked against a measurement; "
             "the ranges are wide for that reason", engine=engine), source,
    )  # fmt: skip


def partly_measured(source: str) -> Reason:
    """The reason that says that tensors were measured, and what a GPU's allocator adds was not."""
    return Reason(
        "partly-measured",
        text("sizes of tensors were measured on small models without a GPU; what its allocator loses was not"), source,
    )  # fmt: skip


def does_not_fit(device: DeviceFootprint, source: str) -> Reason:
    """The reason that says what a device would need and what it can give."""
    return Reason(
        "does-not-fit",
        text("{device} would need up to {needed}, and {usable} can be used", device=device.name,
             needed=format_bytes(device.needed.high), usable=format_bytes(device.usable)), source,
    )  # fmt: skip


def usable(device: PlannedDevice, ram_margin: int = RAM_MARGIN) -> Bytes:
    """What an engine may have of a device, on the careful side."""
    if device.kind is DeviceKind.RAM:
        return Bytes(max(0, device.memory - ram_margin))
    return Bytes(int(device.memory * VISIBLE_LOW))


def around(expected: float, low: float, high: float) -> Range:
    """A range from an expected size and factors for its ends."""
    return Range(Bytes(int(expected * low)), Bytes(round(expected)), Bytes(-int(-expected * high // 1)))
