"""SGLang's memory: a fraction of each GPU is for weights and KV cache, the rest is left for what it computes with.

mem_fraction_static = (memory - reserved) / memory, where reserved in MiB = 512 + 1.5 × max(chunked prefill, 2048) +
GPUs / 8 × 1024 + 2 × the largest decode batch of the CUDA graphs + 8 × prefill graphs, at least 10 GiB on a card of
more than 60 GiB. The KV cache is what is free after the weights are loaded, less (1 - fraction) of what was free
before. Source: sglang 0.5.23 ``arg_groups/memory_hook.py``, ``mem_cache/kv_cache_configurator.py``,
``model_executor/pool_configurator.py``. No log with all settings was found, so ranges are wide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from ansambl.domain.architecture import Architecture, Attention
from ansambl.domain.device import PlannedDevice
from ansambl.domain.errors import UsageError
from ansambl.domain.footprint import NOTHING, DeviceFootprint, Footprint, Range, Reason
from ansambl.domain.text import text
from ansambl.domain.units import GIB, MIB, Bytes, format_bytes
from ansambl.planner.memory import kv
from ansambl.planner.memory.budget import (
    activation,
    draft_weights,
    left_for_cache,
    minus,
    no_room,
    rank_weights,
    visible_range,
)
from ansambl.planner.memory.extras import extra_reasons
from ansambl.planner.memory.inputs import MemoryInputs, Settings
from ansambl.planner.memory.ranks import chosen_gpus, kv_share, least_memory, lora_slots
from ansambl.planner.memory.shares import CUDA_CONTEXT, around, estimated_size, not_measured

NAME = "sglang"
SETTINGS = frozenset(
    {
        "engine_version", "mem_fraction_static", "chunked_prefill_size", "max_running_requests", "max_total_tokens",
        "tensor_parallel", "cuda_graph_max_bs", "disable_cuda_graph", "swa_full_tokens_ratio",
        "mamba_full_memory_ratio", "total_memory", "max_loras_per_batch", "max_lora_rank", "multimodal",
    }
)  # fmt: skip
"""The settings that change its memory. `total_memory` is one GPU's memory in bytes as the driver shows it."""

KV_TYPES = frozenset({"f16", "bf16", "fp8"})
"""KV cache types whose sizes are known; SGLang's MXFP8 and FP4 ones are not."""

_SOURCE = "sglang 0.5.23 memory_hook.py, kv_cache_configurator.py, pool_configurator.py"
_LARGE_CARD, _LARGE_RESERVE = 60 * GIB, 10 * GIB
# A picture model's share is 0.95 × (0.8 to 1.05) by the size of its vision tower.
_VISION = (0.95 * 0.8, 0.95, 0.95 * 1.05)
# State slots for each running request (MAMBA_CACHE_SIZE_MAX_RUNNING_REQUESTS_RATIO and its extra slots).
_STATE_SLOTS = 5
_ADAPTERS = 8


@dataclass(frozen=True, slots=True)
class _Read:
    gpus: tuple[PlannedDevice, ...]
    fraction: float | None
    chunk: int
    graph_batch: int
    requests: int
    most_tokens: int
    window_ratio: Fraction
    state_ratio: float
    total: int
    loras: int
    lora_rank: int
    multimodal: bool

    @property
    def ranks(self) -> int:
        """GPUs that hold a part of the model."""
        return len(self.gpus)


def _defaults(memory: int, ranks: int) -> tuple[int, int]:
    """Chunked prefill and the largest decode batch that graphs are made for, by the smallest card."""
    if memory < 20 * GIB:
        return 2048, 8
    if memory < 35 * GIB:
        return 4096, 48 if ranks < 4 else 160
    if memory < 60 * GIB:
        return 4096, 32 if ranks < 4 else 160
    if memory < 160 * GIB:
        return 8192, 256 if ranks < 4 else 512
    return 16384, 512


def _read(inputs: MemoryInputs) -> _Read:
    given = Settings(inputs.settings, SETTINGS, NAME)
    gpus = chosen_gpus(inputs, given, NAME)
    kv.require_kv_type(inputs.kv_type, KV_TYPES, NAME)
    given.version((0, 5, 23))
    total = given.whole("total_memory", 0, 0)
    chunk, graph_batch = _defaults(total or least_memory(gpus), len(gpus))
    requests = given.whole("max_running_requests", 0, 0)
    if requests:
        graph_batch = min(graph_batch, requests)
    off = given.switch("disable_cuda_graph", False)
    if off and given.has("cuda_graph_max_bs"):
        raise given.contradiction("disable_cuda_graph", "cuda_graph_max_bs", text("there are no graphs to limit"))
    lora = inputs.extras.lora
    adapters = lora is not None or given.has("max_loras_per_batch") or given.has("max_lora_rank")
    rank = given.whole("max_lora_rank", lora.rank if lora else 16, 1, 1 << 16)
    if lora is not None and rank < lora.rank:
        raise UsageError(
            text("max_lora_rank is {rank}, but the LoRA adapters have rank {wanted}", rank=rank, wanted=lora.rank)
        )
    return _Read(
        gpus=gpus, fraction=given.number("mem_fraction_static", 0, 0.01, 1.0) or None,
        chunk=given.whole("chunked_prefill_size", chunk), requests=requests, total=total,
        graph_batch=0 if off else given.whole("cuda_graph_max_bs", graph_batch),
        most_tokens=given.whole("max_total_tokens", 0, 0),
        window_ratio=Fraction(given.number("swa_full_tokens_ratio", 0.8, 0.001, 1.0)).limit_denominator(1000),
        state_ratio=given.number("mamba_full_memory_ratio", 0.9, 0.001, 1000),
        loras=given.whole("max_loras_per_batch", _ADAPTERS) if adapters else 0, lora_rank=rank,
        multimodal=given.switch("multimodal", inputs.extras.projector is not None),
    )  # fmt: skip


def _prefill_graphs(chunk: int) -> int:
    """How many prefill graphs are made: token counts up to the chunk, in growing steps."""
    sizes = (
        *range(4, 33, 4), *range(48, 257, 16), *range(288, 513, 32), *range(576, 1025, 64), *range(1280, 4097, 256),
        *range(4608, chunk + 1, 512),
    )  # fmt: skip
    return sum(size <= chunk for size in sizes)


def _reserved(read: _Read, memory: int, *, latent: bool) -> tuple[int, int]:
    """Bytes that the fraction leaves free by default, and the part of them that is for CUDA graphs."""
    graphs = 0
    if read.graph_batch:
        prefill = 1536 if latent else 8 * _prefill_graphs(read.chunk)
        graphs = (2 * read.graph_batch + prefill) * MIB
    reserved = round((512 + 1.5 * max(read.chunk, 2048) + read.ranks / 8 * 1024) * MIB) + graphs
    return (max(reserved, _LARGE_RESERVE) if memory > _LARGE_CARD else reserved), graphs


@dataclass(frozen=True, slots=True)
class _Cache:
    """`cell` is bytes of one token over all layers of a GPU, `state` those of one sequence's recurrent states.

    `window_tokens` is how many tokens of each sequence its sliding layers must keep.
    """

    cell: Fraction
    state: int
    window_tokens: int
    window_ratio: Fraction
    state_ratio: float

    def needed(self, context: int, parallel: int) -> int:
        """Bytes of free memory with which `parallel` sequences of `context` tokens run at once."""
        tokens = Fraction(context)
        if self.window_tokens:
            tokens = max(tokens, min(self.window_tokens, context) / self.window_ratio)
        cells = math.ceil(tokens * parallel) * self.cell
        if not self.state:
            return math.ceil(cells)
        # States and cells divide what is free in a fixed ratio.
        states = self.state * _STATE_SLOTS * parallel
        return math.ceil(max(cells * (1 + self.state_ratio), states * (1 + self.state_ratio) / self.state_ratio))

    def tokens(self, size: int) -> int:
        """The tokens that `size` bytes of free memory hold."""
        if not self.cell:
            return 0
        return int((size / (1 + self.state_ratio) if self.state else size) / self.cell)


def _cache(architecture: Architecture, kv_type: str, read: _Read) -> _Cache:
    full = Fraction(0)
    sliding = Fraction(0)
    state = window = 0
    for group in architecture.layers:
        share = kv_share(architecture, group, read.ranks) * group.count
        # Some layers keep a state beside their attention.
        state += math.ceil(group.state_bytes * group.count / read.ranks)
        if group.attention is Attention.RECURRENT:
            continue
        if group.attention is Attention.SLIDING and group.window:
            sliding += kv.cell_bytes(group, kv_type) * share
            window = max(window, group.window + read.chunk)
        else:
            full += kv.cell_bytes(group, kv_type) * share
    # Sliding layers alone are one pool without a ratio.
    ratio = read.window_ratio if full else Fraction(1)
    return _Cache(full + sliding * ratio, state, window if sliding else 0, ratio, read.state_ratio)


def _static(read: _Read, memory: int, before: Range, reserved: int) -> Range:
    """What weights and KV cache may take, of what is free before the load."""
    if read.fraction is not None:
        low = middle = high = read.fraction
    else:
        middle = round((memory - reserved) / memory, 3)
        low, middle, high = (middle * part for part in (_VISION if read.multimodal else (1.0, 1.0, 1.0)))
    return Range(
        Bytes(max(0, int(before.low * low))), Bytes(max(0, int(before.expected * middle))),
        Bytes(max(0, int(before.high * high))),
    )  # fmt: skip


def forecast(inputs: MemoryInputs) -> Footprint:
    """What SGLang will take of each GPU, and whether `context` × `parallel` fits into what is left for the KV cache.

    Raises:
        UsageError: a setting makes no sense, is not known or contradicts another, or the machine has too few GPUs.
    """
    read = _read(inputs)
    architecture, draft = inputs.architecture, inputs.extras.draft
    weights = rank_weights(inputs, read.ranks)
    adapters = NOTHING
    if read.loras:
        _, dense, experts = lora_slots(inputs, slots=read.loras, rank=read.lora_rank, ranks=read.ranks)
        adapters = Range(Bytes(dense // 2), Bytes(dense), Bytes(dense + experts))
    weights = Range.total((weights, adapters, draft_weights(inputs, read.ranks)))
    cache = _cache(architecture, inputs.kv_type, read)
    drafted = _cache(draft.architecture, draft.kv_type, read) if draft is not None else None
    needed = cache.needed(inputs.context, inputs.parallel)
    if drafted is not None:
        needed += drafted.needed(inputs.context, inputs.parallel)
    latent = any(group.attention is Attention.LATENT for group in architecture.layers)
    context = around(CUDA_CONTEXT, 0, 2)
    devices = []
    pool = NOTHING
    for gpu in read.gpus:
        memory = read.total or gpu.memory
        reserved, graphs = _reserved(read, memory, latent=latent)
        compute = activation(
            architecture, tokens=read.chunk, rows=max(read.requests, inputs.parallel), ranks=read.ranks
        )
        compute += Range(Bytes(0), Bytes(graphs), Bytes(graphs))
        compute = Range(compute.low, compute.expected, Bytes(max(compute.high, reserved)))
        visible = visible_range(gpu, read.total)
        static = _static(read, memory, minus(visible, context), reserved)
        pool = minus(static, weights)
        if read.most_tokens:
            most = math.ceil(read.most_tokens * cache.cell)
            pool = Range(*(Bytes(min(most, size)) for size in (pool.low, pool.expected, pool.high)))
        # What is computed with lies beside the fraction; neither may take the other's part.
        usable = min(visible.low, static.low + compute.high + context.high)
        if read.most_tokens and needed > pool.low:
            usable = min(usable, weights.high + pool.low + compute.high + context.high)
        devices.append(
            DeviceFootprint(
                name=gpu.model.title, kind=gpu.kind, index=gpu.index, capacity=gpu.memory, usable=Bytes(usable),
                weights=weights, kv_cache=pool, compute=compute, overhead=context, kv_needed=Range.exactly(needed),
            )
        )  # fmt: skip
    tokens = cache.tokens(pool.expected)
    return Footprint(
        engine=NAME, context=inputs.context, parallel=inputs.parallel, kv_type=inputs.kv_type, devices=tuple(devices),
        reasons=_reasons(inputs, read, devices, tokens, adapters), kv_capacity_tokens=tokens,
    )  # fmt: skip


def _reasons(
    inputs: MemoryInputs, read: _Read, devices: list[DeviceFootprint], tokens: int, adapters: Range
) -> tuple[Reason, ...]:
    first = devices[0]
    share = (first.weights.expected + first.kv_cache.expected) / first.capacity
    reasons = [
        Reason("budget", text("SGLang takes about {share} % of each GPU for weights and KV cache",
                              share=round(share * 100)), _SOURCE),
        Reason("weights", text("weights take {size} on each GPU once they are loaded",
                               size=format_bytes(first.weights.expected)), inputs.weights.source),
        *estimated_size(inputs.weights),
        left_for_cache(first.kv_cache.expected, tokens, _SOURCE),
        Reason("compute", text("prefill in chunks of {tokens} tokens, CUDA graphs for up to {sequences} sequences",
                               tokens=read.chunk, sequences=read.graph_batch), _SOURCE),
        *extra_reasons(inputs.extras, lora=adapters, lora_source="sglang 0.5.23 lora/mem_pool.py"),
        not_measured(NAME, _SOURCE),
    ]  # fmt: skip
    if any(group.attention is Attention.SLIDING for group in inputs.architecture.layers):
        reasons.append(
            Reason("window-pool",
                   text("layers with a sliding window keep {share} % as many tokens as the others",
                        share=round(read.window_ratio * 100)), _SOURCE)
        )  # fmt: skip
    if not all(device.fits for device in devices):
        reasons.append(no_room(inputs, devices, first.kv_needed.high, _SOURCE))
    return tuple(reasons)
