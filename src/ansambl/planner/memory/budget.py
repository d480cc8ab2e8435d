"""What engines share that take a budget of each GPU and fill it: vLLM, SGLang, TGI."""

from __future__ import annotations

from ansambl.domain.architecture import Architecture
from ansambl.domain.device import PlannedDevice
from ansambl.domain.footprint import NOTHING, DeviceFootprint, Range, Reason
from ansambl.domain.text import text
from ansambl.domain.units import Bytes, format_bytes
from ansambl.planner.memory.inputs import MemoryInputs
from ansambl.planner.memory.kv import padded
from ansambl.planner.memory.shares import VISIBLE, VISIBLE_LOW, around, split_weights, spread

# Copies of the logits in 4 bytes that sampling holds at once: 4.6 and 3.9 follow from two logs of vLLM 0.19 on A100.
SAMPLING_COPIES, SAMPLING_HIGH = 4.2, 6.0
# Tensors in memory beside those in the file: Llama-3.1-8B loaded 14.99 GiB of 14.96.
_LOADED = 1.002
_ACTIVATION = 2
# Marlin pads the experts' hidden width to 256 and their own to 128, Triton only the first.
_MXFP4_HIDDEN, _MXFP4_WIDTH = 256, 128


def loaded_weights(inputs: MemoryInputs, *, tensor_parallel: int, moe_backend: str) -> Range:
    """The weights of one rank once they are loaded: experts in MXFP4 are padded by the kernels that multiply them.

    Logged for gpt-oss-120b: 65.97 GiB with Marlin (both widths padded), 64.38 GiB with Triton (one).
    """
    total = inputs.weights.total / tensor_parallel
    if inputs.weights.expert_format == "mxfp4":
        experts = split_weights(inputs.architecture, inputs.weights).experts / tensor_parallel
        hidden, width = inputs.architecture.hidden, inputs.architecture.expert_feed_forward or _MXFP4_WIDTH
        factor = padded(hidden, _MXFP4_HIDDEN) / hidden
        if moe_backend != "triton":
            factor *= padded(width, _MXFP4_WIDTH) / width
        expected = total - experts + experts * factor
        return Range(Bytes(int(total)), Bytes(round(expected)), Bytes(round(expected * 1.01)))
    return around(total * _LOADED, 0.99, 1.012)


def rank_weights(inputs: MemoryInputs, ranks: int) -> Range:
    """The same for engines that nobody logged, with the spread of the checkpoint's own size."""
    found = loaded_weights(inputs, tensor_parallel=ranks, moe_backend="auto")
    return spread(Range(found.low, found.expected, Bytes(round(found.high * 1.01))), inputs.weights)


def draft_weights(inputs: MemoryInputs, ranks: int) -> Range:
    """The weights of the draft model on one rank; nothing without one."""
    draft = inputs.extras.draft
    if draft is None:
        return NOTHING
    size = draft.own_weights.total / ranks * _LOADED
    # Some drafts are whole on every GPU.
    high = max(draft.own_weights.total, size) * 1.012
    return spread(Range(Bytes(int(size * 0.99)), Bytes(round(size)), Bytes(round(high))), draft.own_weights)


def widest(architecture: Architecture, ranks: int) -> float:
    """Elements for each token that the widest part of a layer holds at once: gate, up, product, and three hiddens."""
    dense = (architecture.feed_forward or 0) / ranks
    experts = architecture.experts_active * (architecture.expert_feed_forward or 0) / ranks
    return 3 * max(dense, experts) + 3 * architecture.hidden


def activation(
    architecture: Architecture, *, tokens: int, rows: int, ranks: int, copies: float = SAMPLING_COPIES,
    most_copies: float = SAMPLING_HIGH,
) -> Range:  # fmt: skip
    """The peak while `tokens` pass a layer at once, or while `rows` of logits are sampled from in so many copies."""
    layer = tokens * widest(architecture, ranks) * _ACTIVATION
    logits = min(rows, tokens) * architecture.vocabulary * 4
    expected = max(layer, logits * copies)
    high = max(layer * 1.5, logits * most_copies)
    return Range(Bytes(int(layer / 2)), Bytes(round(expected)), Bytes(round(high)))


def visible_range(gpu: PlannedDevice, total: int = 0) -> Range:
    """What a program sees of a GPU; `total` is what the driver shows, where it is known."""
    if total:
        return Range.exactly(total)
    return Range(Bytes(int(gpu.memory * VISIBLE_LOW)), Bytes(int(gpu.memory * VISIBLE)), gpu.memory)


def minus(have: Range, spent: Range) -> Range:
    """What is left, at least nothing."""
    return Range(
        Bytes(max(0, have.low - spent.high)), Bytes(max(0, have.expected - spent.expected)),
        Bytes(max(0, have.high - spent.low)),
    )  # fmt: skip


def left_for_cache(size: int, tokens: int, source: str) -> Reason:
    """The reason that says what such an engine leaves for the KV cache."""
    if not size:
        return Reason("kv-cache", text("nothing is left for the KV cache"), source)
    return Reason("kv-cache", text("{size} are left for the KV cache, about {tokens} tokens",
                                   size=format_bytes(size), tokens=tokens), source)  # fmt: skip


def no_room(inputs: MemoryInputs, devices: list[DeviceFootprint], wanted: int, source: str) -> Reason:
    """The reason that says which part is too large for the GPU that lacks most: the weights, what is beside, the cache.

    `wanted` is the KV cache that the context and the sequences need on each GPU.
    """
    worst = max(devices, key=lambda one: one.needed.high - one.usable)
    beside = Range.total((worst.weights, worst.compute, worst.overhead))
    sizes = {
        "device": worst.name, "weights": format_bytes(worst.weights.expected), "usable": format_bytes(worst.usable),
        "capacity": format_bytes(worst.capacity),
    }  # fmt: skip
    if worst.weights.expected > worst.usable:
        words = text(
            "the weights alone take {weights} on {device}, and of its {capacity} {usable} can be used", **sizes
        )
    elif not worst.kv_cache.low:
        words = text("weights ({weights}) and what is computed beside them take up to {beside} on {device}, and "
                     "{usable} can be used: nothing is sure to be left for a KV cache of {needed}", **sizes,
                     beside=format_bytes(beside.high), needed=format_bytes(wanted))  # fmt: skip
    elif wanted > worst.kv_cache.low:
        words = text("{parallel} × {context} tokens need {needed} of KV cache, and {left} are sure to be left",
                     parallel=inputs.parallel, context=inputs.context, needed=format_bytes(wanted),
                     left=format_bytes(worst.kv_cache.low))  # fmt: skip
    else:
        words = text("{device} would need up to {needed}, and {usable} can be used", device=worst.name,
                     needed=format_bytes(worst.needed.high), usable=sizes["usable"])  # fmt: skip
    return Reason("does-not-fit", words, source)
