"""llama.cpp's compute buffers: the largest set of intermediate results that live at once, times the batch.

The rules were found on buffers that llama.cpp b11549 logged for models of known widths (llama, qwen3, qwen3moe,
gpt-oss, gemma3; dense and with experts; with and without flash attention), and hold there to 1 %. Widths in elements a
token: h = hidden, f = feed forward, q = heads × head size, e = experts used × their feed forward:

* dense: 5 h + 3 f; wide attention: 5 h + 2 q; where f or q is not above h, freed blocks are reused and 6 h is enough
* experts: 5 h + 3 e, and experts used × h more where one expert's output does not fit into its freed gate and up
* without flash attention: heads × cells + 3 q + 3 h + K and V, its mask in 4 bytes instead of 2; on a GPU heads ×
  cells + q + h + K and V (buffers logged for Llama-2-7B, Command-R, Phi-4, DeepSeek-V2 and Qwen3-30B-A3B)
* latent attention: 5 h + heads × (2 rank + rope + head), and the roped part and the query's rank once more where they
  do not fit into a freed hidden state; without flash attention heads × cells on top
* layers with a state, values of width i and keys of width k: delta nets 5 h + 2 (i + 2 k) + the new states, and their
  gated attention 5 h + 3 q; Mamba-2 3 h + 6 i + 6 k, and h more where attention runs beside it

The last two were found on 70 files of random weights (deepseek2, mamba2, falcon-h1, qwen35, qwen35moe, lfm2); Mamba-2
holds to 6 %.
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
# Builds whose logs hold more than one batch of hidden states in RAM; see `host_compute`.
_MORE_INPUTS, _TWO_INPUTS = (7000,), (9000,)
_FLOAT = 4
# Token, position, output row, and the KV row for K and for V.
_INPUT_BYTES = 28
# What latent attention has where its widths are not known (DeepSeek-V3: 128 and 64 elements a head).
_LATENT_HEAD, _LATENT_ROPE = 192, 64
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


def _cells(inputs: MemoryInputs, settings: ComputeSettings, swa_full: bool) -> set[int]:
    """Cells of one stream that layers see: all of them, or those of a window."""
    streams = inputs.parallel if settings.unified else 1
    stream = kv.padded(inputs.context * streams)
    return {
        kv.stream_cells(group, stream=stream, sequences=streams, n_ubatch=settings.n_ubatch, swa_full=swa_full)
        if group.attention is Attention.SLIDING
        else stream
        for group in inputs.architecture.layers
        if group.attention is not Attention.RECURRENT
    }


def _masks(inputs: MemoryInputs, settings: ComputeSettings, swa_full: bool, element: int) -> int:
    """Bytes of the attention masks: one for layers that see everything, one for those with a window."""
    cells = _cells(inputs, settings, swa_full)
    kinds = {
        (group.attention is Attention.SLIDING)
        for group in inputs.architecture.layers
        if group.attention is not Attention.RECURRENT
    }
    # Two kinds of layers have two masks even where both see the same cells.
    total = sum(cells) if len(cells) >= len(kinds) else sum(cells) * len(kinds)
    return total * settings.n_ubatch * element


def _kinds(architecture: Architecture) -> set[Attention]:
    return {group.attention for group in architecture.layers}


def _is_delta_net(architecture: Architecture) -> bool:
    # Qwen's hybrids are named qwen3next, qwen35 and qwen35moe in GGUF files, qwen3_next and qwen3_5 elsewhere.
    return architecture.recurrent_inner > 0 and architecture.family.startswith("qwen3")


def _latent(architecture: Architecture) -> int:
    hidden, heads = architecture.hidden, architecture.heads
    head, rope = architecture.latent_head or _LATENT_HEAD, architecture.latent_rope or _LATENT_ROPE
    width = max(group.key_width for group in architecture.layers if group.attention is Attention.LATENT)
    twice = 2 * max(0, width - rope) + rope + head
    extra = sum(size for size in (heads * rope, architecture.query_rank) if size > hidden)
    return 5 * hidden + heads * twice + extra


def _recurrent(architecture: Architecture) -> int:
    """Elements for each token in a layer that keeps a state; 0 where there is none or its widths are not known."""
    inner, keys, hidden = architecture.recurrent_inner, architecture.recurrent_keys, architecture.hidden
    if not inner:
        return 0
    if _is_delta_net(architecture):
        return 5 * hidden + 2 * (inner + 2 * keys)
    beside = any(group.state_bytes and group.attention is Attention.FULL for group in architecture.layers)
    return (4 if beside else 3) * hidden + 6 * inner + 6 * keys


def _attention(architecture: Architecture) -> int:
    """Elements for each token in the widest attention with flash attention."""
    hidden = architecture.hidden
    if Attention.LATENT in _kinds(architecture):
        return _latent(architecture)
    query = architecture.query_width or hidden
    if _is_delta_net(architecture):
        return 5 * hidden + (4 if query > 2 * hidden else 3) * query
    return 5 * hidden + 2 * query if query > hidden else 6 * hidden


def _layer(inputs: MemoryInputs, settings: ComputeSettings, swa_full: bool, gpus: int) -> int:
    architecture, batch = inputs.architecture, settings.n_ubatch
    kinds, hidden = _kinds(architecture), architecture.hidden
    states = max((group.state_bytes for group in architecture.layers), default=0)
    # Mamba's scan writes the first sequence's state into what was freed.
    kept = states * (inputs.parallel if _is_delta_net(architecture) else inputs.parallel - 1)
    state = (_recurrent(architecture) * batch * _FLOAT + kept) if architecture.recurrent_inner else 0
    feed_forward = max(_feed_forward(architecture) * batch * _FLOAT, state)
    if kinds == {Attention.RECURRENT}:
        return feed_forward + _INPUT_BYTES * batch
    attention = _attention(architecture)
    if settings.flash_attention:
        mask = _masks(inputs, settings, swa_full, 2)
        return max(feed_forward, attention * batch * _FLOAT) + mask + _INPUT_BYTES * batch
    # A model may have layers with a window only.
    cells = max(_cells(inputs, settings, swa_full), default=0)
    query = architecture.query_width or hidden
    cache = max((group.key_width + group.value_width for group in architecture.layers), default=0)
    products = architecture.heads * cells + (4 if _is_delta_net(architecture) else 3) * query + 3 * hidden + cache
    if gpus:
        # Builds of before autumn 2025 kept two queries more where keys and values are narrower (Mistral-7B:
        # fedora-copr/logdetective#106).
        kept = cache if settings.version >= _MORE_INPUTS else max(cache, 2 * query)
        products = architecture.heads * cells + query + hidden + kept
    if Attention.LATENT in kinds:
        products = architecture.heads * cells + attention
    return max(feed_forward, products * batch * _FLOAT) + _masks(inputs, settings, swa_full, 4) + _INPUT_BYTES * batch


def output_rows(inputs: MemoryInputs) -> Bytes:
    """The rows of logits that are handed out, in RAM: one for each sequence."""
    return Bytes(inputs.architecture.vocabulary * _FLOAT * inputs.parallel)


def _spread(architecture: Architecture, gpus: int) -> tuple[float, float, float]:
    """Factors (low, expected, high) for what the rules do not know of an architecture."""
    kinds = _kinds(architecture)
    if Attention.LATENT in kinds:
        if architecture.latent_head and not gpus:
            return 0.95, 1.0, 1.15
        # A fork of llama.cpp logged 3393 MiB for DeepSeek-V3 on a GPU, eight times the rule (ik_llama.cpp, 258).
        return 0.95, 1.0, 8.0 if gpus else 1.5
    if Attention.RECURRENT in kinds or any(group.state_bytes for group in architecture.layers):
        if not architecture.recurrent_inner:
            # Qwen3.6-35B-A3B logged 3892 MiB where a rule without its states gave 1780 (llama.cpp#23861).
            return 1.0, 2.2, 3.0
        return 0.93, 1.0, 2.2 if gpus else 1.35
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
    expected = float(max(_layer(inputs, settings, swa_full, gpus), logits))
    if gpus > 1:
        mask = _masks(inputs, settings, swa_full, 2 if settings.flash_attention else 4)
        expected += _PIPELINE_COPIES * (mask + hidden)
    low, middle, high = _spread(inputs.architecture, gpus)
    result = around(expected * middle, low / middle, high / middle)
    if not expert_layer:
        return result
    # One of the three expert tensors at a time (774 to 1024 MiB logged for gpt-oss-120b), and what goes into and comes
    # out of each, which no longer shares the memory of other steps.
    architecture = inputs.architecture
    width = max(architecture.hidden, architecture.expert_feed_forward or 0)
    crossing = 3 * architecture.experts_active * width * settings.n_ubatch * _FLOAT
    copied = expert_layer // 3 + crossing
    return result + Range(Bytes(0), Bytes(copied), Bytes(2 * copied))


def host_compute(inputs: MemoryInputs, settings: ComputeSettings, swa_full: bool) -> Range:
    """The graph's inputs in RAM when layers are on a GPU: masks and batches of hidden states, one or two.

    Logged: 281 MiB for gpt-oss-120b (ollama#16416: two), 16 MiB for Llama-2-7B and 18 MiB for DeepSeek-V2 (llama.cpp
    #9229, #12728: one), 23 MiB for Phi-4 (ollama#13552: one and a half), and 2408 MiB where the mask was kept twice
    (llama.cpp#23861).
    """
    mask = _masks(inputs, settings, swa_full, 2 if settings.flash_attention else 4)
    hidden = inputs.architecture.hidden * settings.n_ubatch * _FLOAT
    copies = 2.0 if settings.version >= _TWO_INPUTS else 1.5 if settings.version >= _MORE_INPUTS else 1.0
    return Range(Bytes(mask + hidden), Bytes(mask + round(copies * hidden)), Bytes(2 * (mask + hidden)))
