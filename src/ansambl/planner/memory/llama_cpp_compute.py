"""llama.cpp's compute buffers: the largest set of intermediate results that live at once, times the batch.

The rules were found on buffers that llama.cpp b11549 logged for models of known widths (llama, qwen3, qwen3moe,
gpt-oss, gemma3; dense and with experts; with and without flash attention), and hold there to 1 %. Widths in elements a
token: h = hidden, f = feed forward, q = heads × head size, e = experts used × their feed forward:

* dense: 5 h + 3 f; wide attention: 5 h + 2 q; where f or q is not above h, freed blocks are reused and 6 h is enough
* experts: 5 h + 3 e, and experts used × h more where one expert's output does not fit into its freed gate and up
* without flash attention: heads × cells + 3 q + 3 h + K and V, its mask in 4 bytes instead of 2
"""

from __future__ import annotations

from dataclasses import dataclass

from ansambl.domain.architecture import Architecture, Attention
from ansambl.domain.footprint import Range
from ansambl.domain.units import Bytes
from ansambl.planner.memory import kv
from ansambl.planner.memory.inputs import MemoryInputs
from ansambl.planner.memory.shares import around

# Until here the logits of a whole batch were reserved, then those of one row for each sequence (llama.cpp#23527
# measured b9272 before, #23861 changed it).
_LAST_WITH_ALL_LOGITS = (9272,)
_FLOAT = 4
# Token, position, output row, and the KV row for K and for V.
_INPUT_BYTES = 28
# With several GPUs batches overlap: each input is there four times (ggml-org/llama.cpp#6122).
_PIPELINE_COPIES = 4


@dataclass(frozen=True, slots=True)
class ComputeSettings:
    """Settings that change compute buffers."""

    n_ubatch: int = 512
    flash_attention: bool = True
    unified: bool = False
    version: tuple[int, ...] = (11549,)


def _feed_forward(architecture: Architecture) -> int:
    hidden = architecture.hidden
    widest = 6 * hidden
    dense = architecture.feed_forward or 0
    if dense > hidden:
        widest = max(widest, 5 * hidden + 3 * dense)
    if architecture.experts and architecture.expert_feed_forward:
        used, width = max(1, architecture.experts_active), architecture.expert_feed_forward
        inside, outside = used * width, used * hidden
        experts = 5 * hidden + (3 * inside if inside > hidden else 0)
        widest = max(widest, experts + (outside if 2 * width < hidden else 0))
    return widest


def _masks(inputs: MemoryInputs, settings: ComputeSettings, swa_full: bool, element: int) -> int:
    """Bytes of the attention masks: one for layers that see everything, one for those with a window."""
    streams = inputs.parallel if settings.unified else 1
    stream = kv.padded(inputs.context * streams)
    cells = {
        kv.stream_cells(group, stream=stream, sequences=streams, n_ubatch=settings.n_ubatch, swa_full=swa_full)
        if group.attention is Attention.SLIDING
        else stream
        for group in inputs.architecture.layers
        if group.attention is not Attention.RECURRENT
    }
    kinds = {
        (group.attention is Attention.SLIDING)
        for group in inputs.architecture.layers
        if group.attention is not Attention.RECURRENT
    }
    # Two kinds of layers have two masks even where both see the same cells.
    total = sum(cells) if len(cells) >= len(kinds) else sum(cells) * len(kinds)
    return total * settings.n_ubatch * element


def _layer(inputs: MemoryInputs, settings: ComputeSettings, swa_full: bool) -> int:
    architecture, batch = inputs.architecture, settings.n_ubatch
    hidden = architecture.hidden
    query = architecture.query_width or hidden
    attention = 5 * hidden + 2 * query if query > hidden else 6 * hidden
    feed_forward = _feed_forward(architecture) * batch * _FLOAT
    if settings.flash_attention:
        mask = _masks(inputs, settings, swa_full, 2)
        return max(feed_forward, attention * batch * _FLOAT) + mask + _INPUT_BYTES * batch
    cells = kv.padded(inputs.context * (inputs.parallel if settings.unified else 1))
    cache = max((group.key_width + group.value_width for group in architecture.layers), default=0)
    products = architecture.heads * cells + 3 * query + 3 * hidden + cache
    return max(feed_forward, products * batch * _FLOAT) + _masks(inputs, settings, swa_full, 4) + _INPUT_BYTES * batch


def output_rows(inputs: MemoryInputs) -> Bytes:
    """The rows of logits that are handed out, in RAM: one for each sequence."""
    return Bytes(inputs.architecture.vocabulary * _FLOAT * inputs.parallel)


def _spread(architecture: Architecture) -> tuple[float, float, float]:
    """Factors (low, expected, high) for what the rules do not know of an architecture."""
    kinds = {group.attention for group in architecture.layers}
    if Attention.LATENT in kinds:
        # DeepSeek-V3 logged 3393 MiB where the rule gives 343 (ik_llama.cpp discussion 258).
        return 1.0, 2.0, 10.0
    if Attention.RECURRENT in kinds:
        # Qwen3.6-35B-A3B logged 3892 MiB where the rule gives 1780 (llama.cpp#23861).
        return 1.0, 2.2, 3.0
    return 0.95, 1.0, 1.06


def compute_range(
    inputs: MemoryInputs, settings: ComputeSettings, swa_full: bool, *, gpus: int, expert_layer: int
) -> Range:
    """The compute buffer of one device.

    `gpus` is how many take part (0: the processor alone); `expert_layer` is the bytes of one layer's experts when
    some lie in RAM: they are copied to the GPU for large batches.
    """
    rows = settings.n_ubatch if settings.version <= _LAST_WITH_ALL_LOGITS else min(inputs.parallel, settings.n_ubatch)
    hidden = inputs.architecture.hidden * settings.n_ubatch * _FLOAT
    logits = rows * inputs.architecture.vocabulary * _FLOAT + hidden
    expected = float(max(_layer(inputs, settings, swa_full), logits))
    if gpus > 1:
        mask = _masks(inputs, settings, swa_full, 2 if settings.flash_attention else 4)
        expected += _PIPELINE_COPIES * (mask + hidden)
    low, middle, high = _spread(inputs.architecture)
    result = around(expected * middle, low / middle, high / middle)
    # One of the three expert tensors at a time; logged 774 to 1024 MiB for gpt-oss-120b.
    return result + Range(Bytes(0), Bytes(expert_layer // 3), Bytes(2 * expert_layer // 3))


def host_compute(inputs: MemoryInputs, settings: ComputeSettings, swa_full: bool) -> Range:
    """The graph's inputs in RAM when layers are on a GPU: masks and two batches of hidden states.

    Logged: 281 MiB for gpt-oss-120b (ollama#16416) and 2408 MiB where the mask was kept twice (llama.cpp#23861).
    """
    mask = _masks(inputs, settings, swa_full, 2 if settings.flash_attention else 4)
    hidden = 2 * inputs.architecture.hidden * settings.n_ubatch * _FLOAT
    size = mask + hidden
    return Range(Bytes(size), Bytes(size), Bytes(size + mask))
