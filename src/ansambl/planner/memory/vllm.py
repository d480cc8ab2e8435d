"""vLLM's memory: it takes a share of each GPU, and what weights and the profiling run leave of it is the KV cache.

requested = ceil(total × gpu_memory_utilization); KV = requested - weights - what is not PyTorch's - the peak of a
profiling run - the estimate for CUDA graphs (since 0.21.0; before, graphs came on top of what was requested).
Source: vLLM 0.33.0 ``gpu_worker.py``, ``mem_utils.py``, ``arg_utils.py``; logs named in ``tests/data/planner``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ansambl.domain.architecture import Architecture
from ansambl.domain.device import PlannedDevice
from ansambl.domain.errors import UsageError
from ansambl.domain.footprint import NOTHING, DeviceFootprint, Footprint, Range, Reason
from ansambl.domain.text import text
from ansambl.domain.units import GIB, Bytes, format_bytes
from ansambl.planner.memory.inputs import MemoryInputs, Settings
from ansambl.planner.memory.kv import padded
from ansambl.planner.memory.shares import (
    CUDA_CONTEXT,
    VISIBLE,
    VISIBLE_LOW,
    around,
    estimated_size,
    split_weights,
    spread,
)
from ansambl.planner.memory.vllm_blocks import Pool, make_pool

NAME = "vllm"
SETTINGS = frozenset(
    {
        "engine_version", "gpu_memory_utilization", "max_num_seqs", "max_num_batched_tokens", "tensor_parallel",
        "block_size", "enforce_eager", "kv_cache_memory_bytes", "total_memory", "moe_backend",
    }
)  # fmt: skip
"""The settings that change its memory. `total_memory` is one GPU's memory in bytes as the driver shows it."""

CURRENT_VERSION = (0, 33, 0)
"""The version whose rules are followed when none is named."""

_SOURCE = "vllm 0.33.0 gpu_worker.py, mem_utils.py, kv_cache_interface.py"
_GRAPHS_WITHIN_BUDGET = (0, 21)
_UTILIZATION_092 = (0, 21)
# Until the V1 engine became the default, a whole sequence was one batch (vllm#10517: peak grows with the context).
_V1 = (0, 8)
# CUDA graphs: 0.64 GiB logged for gpt-oss-120b on an H100, 0.11 GiB for gemma-4-12B; 2.41 GiB with the old engine
# (vllm-project/vllm#7553). The high end is twice the greater log.
_GRAPHS = Range(Bytes(round(0.11 * GIB)), Bytes(round(0.64 * GIB)), Bytes(round(1.28 * GIB)))
_GRAPHS_V0 = Range(Bytes(round(0.11 * GIB)), Bytes(round(0.64 * GIB)), Bytes(round(2.41 * GIB)))
# Copies of the logits in 4 bytes that sampling holds at once: 4.6 and 3.9 follow from two logs of vLLM 0.19 on A100.
_SAMPLING_COPIES, _SAMPLING_HIGH = 4.2, 6.0
# Tensors in memory beside those in the file: Llama-3.1-8B loaded 14.99 GiB of 14.96.
_LOADED = 1.002
_ACTIVATION = 2
# Marlin pads the experts' hidden width to 256 and their own to 128, Triton only the first.
_MXFP4_HIDDEN, _MXFP4_WIDTH = 256, 128


@dataclass(frozen=True, slots=True)
class _Read:
    version: tuple[int, ...]
    utilization: float
    max_seqs: int
    max_batched: int
    tensor_parallel: int
    block_size: int
    eager: bool
    kv_memory: int
    total: int
    moe_backend: str


def _read(inputs: MemoryInputs) -> _Read:
    given = Settings(inputs.settings, SETTINGS, NAME)
    gpus = inputs.machine.gpus
    if not gpus:
        raise UsageError(
            text("machine {machine} has no GPU for vLLM; choose llama.cpp or another machine",
                 machine=inputs.machine.name)
        )  # fmt: skip
    version = given.version(CURRENT_VERSION)
    ranks = given.whole("tensor_parallel", 1)
    if ranks > len(gpus):
        raise UsageError(
            text("tensor_parallel is {ranks}, but machine {machine} has {count} GPUs", ranks=ranks,
                 machine=inputs.machine.name, count=len(gpus))
        )  # fmt: skip
    memory = min(gpu.memory for gpu in gpus[:ranks])
    a100 = "a100" in gpus[0].model.name.lower()
    batched, seqs = (16384, 1024) if memory >= 160 * GIB else (8192, 1024)
    if memory < 70 * GIB or a100 or gpus[0].model.unified_memory:
        batched, seqs = 2048, 256
    if version < _V1:
        batched, seqs = max(2048, inputs.context), 256
    seqs = given.whole("max_num_seqs", seqs)
    return _Read(
        version=version,
        utilization=given.number("gpu_memory_utilization", 0.92 if version >= _UTILIZATION_092 else 0.9, 0.01, 1.0),
        max_seqs=seqs,
        max_batched=given.whole("max_num_batched_tokens", batched),
        tensor_parallel=ranks,
        block_size=given.whole("block_size", 16, 1, 1 << 20),
        eager=given.switch("enforce_eager", False),
        kv_memory=given.whole("kv_cache_memory_bytes", 0, 0),
        total=given.whole("total_memory", 0, 0),
        moe_backend=given.word("moe_backend", "auto"),
    )


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


def _widest(architecture: Architecture, ranks: int) -> float:
    """Elements for each token that the widest part of a layer holds at once: gate, up, product, and three hiddens."""
    dense = (architecture.feed_forward or 0) / ranks
    experts = architecture.experts_active * (architecture.expert_feed_forward or 0) / ranks
    return 3 * max(dense, experts) + 3 * architecture.hidden


def _profile(architecture: Architecture, read: _Read) -> Range:
    """The peak of the profiling run: a full batch through a layer, or a row of logits for each sequence."""
    activation = read.max_batched * _widest(architecture, read.tensor_parallel) * _ACTIVATION
    rows = min(read.max_seqs, read.max_batched)
    logits = rows * architecture.vocabulary * 4
    expected = max(activation, logits * _SAMPLING_COPIES)
    high = max(activation * 1.5, logits * _SAMPLING_HIGH)
    return Range(Bytes(int(activation / 2)), Bytes(round(expected)), Bytes(round(high)))


def _requested(read: _Read, gpu: PlannedDevice) -> Range:
    if read.total:
        return Range.exactly(math.ceil(read.total * read.utilization))
    return Range(
        Bytes(math.ceil(gpu.memory * VISIBLE_LOW * read.utilization)),
        Bytes(math.ceil(gpu.memory * VISIBLE * read.utilization)),
        Bytes(math.ceil(gpu.memory * read.utilization)),
    )


def _minus(have: Range, spent: Range) -> Range:
    return Range(
        Bytes(max(0, have.low - spent.high)),
        Bytes(max(0, have.expected - spent.expected)),
        Bytes(max(0, have.high - spent.low)),
    )


def _pool(inputs: MemoryInputs, read: _Read) -> Pool:
    return make_pool(
        inputs.architecture, inputs.kv_type, block_size=read.block_size, tensor_parallel=read.tensor_parallel,
        max_batched=read.max_batched, version=read.version,
    )  # fmt: skip


def kv_capacity_tokens(inputs: MemoryInputs, kv_bytes: int) -> int:
    """The KV cache size in tokens that vLLM prints for a pool of `kv_bytes` on each GPU; `context` is its longest.

    Raises:
        UsageError: a setting makes no sense.
    """
    return _pool(inputs, _read(inputs)).capacity_tokens(kv_bytes, inputs.context)


def kv_concurrency(inputs: MemoryInputs, kv_bytes: int) -> float:
    """How many sequences of `context` tokens a pool of `kv_bytes` on each GPU holds ("maximum concurrency").

    Raises:
        UsageError: a setting makes no sense.
    """
    return _pool(inputs, _read(inputs)).concurrency(kv_bytes, inputs.context)


def forecast(inputs: MemoryInputs) -> Footprint:
    """What vLLM will take of each GPU, and whether `context` × `parallel` fits into what is left for the KV cache.

    Raises:
        UsageError: a setting makes no sense or is not known, or the machine has too few GPUs.
    """
    read = _read(inputs)
    pool = _pool(inputs, read)
    weights = spread(
        loaded_weights(inputs, tensor_parallel=read.tensor_parallel, moe_backend=read.moe_backend), inputs.weights
    )
    compute = _profile(inputs.architecture, read)
    context = around(CUDA_CONTEXT, 0, 2)
    graphs = NOTHING if read.eager else (_GRAPHS if read.version >= _V1 else _GRAPHS_V0)
    within = read.version >= _GRAPHS_WITHIN_BUDGET
    fixed = Range.total((weights, compute, context, graphs if within else NOTHING))
    needed = Range.exactly(pool.bytes_for(inputs.context, inputs.parallel))
    devices = []
    cache = NOTHING
    for gpu in inputs.machine.gpus[: read.tensor_parallel]:
        requested = _requested(read, gpu)
        cache = Range.exactly(read.kv_memory) if read.kv_memory else _minus(requested, fixed)
        visible = read.total or int(gpu.memory * VISIBLE_LOW)
        # Graphs beyond the budget must find room in what was not requested.
        budget = requested.low if within else min(visible, requested.low + graphs.high)
        if read.kv_memory:
            budget = min(visible, fixed.high + read.kv_memory + (0 if within else graphs.high))
        devices.append(
            DeviceFootprint(
                name=gpu.model.title, kind=gpu.kind, index=gpu.index, capacity=gpu.memory, usable=Bytes(budget),
                weights=weights, kv_cache=cache, compute=compute, overhead=context + graphs, kv_needed=needed,
            )
        )  # fmt: skip
    capacity = pool.capacity_tokens(cache.expected, inputs.context)
    return Footprint(
        engine=NAME, context=inputs.context, parallel=inputs.parallel, kv_type=inputs.kv_type, devices=tuple(devices),
        reasons=_reasons(inputs, read, pool, devices, capacity), kv_capacity_tokens=capacity,
    )  # fmt: skip


def _reasons(
    inputs: MemoryInputs, read: _Read, pool: Pool, devices: list[DeviceFootprint], capacity: int
) -> tuple[Reason, ...]:
    version = ".".join(map(str, read.version))
    first = devices[0]
    reasons = [
        Reason("budget", text("vLLM {version} takes {share} % of each GPU", version=version,
                              share=round(read.utilization * 100)), _SOURCE),
        Reason("weights", text("the checkpoint takes {size} on each GPU once it is loaded",
                               size=format_bytes(first.weights.expected)), inputs.weights.source),
        *estimated_size(inputs.weights),
        Reason("kv-cache", text("{size} are left for the KV cache, about {tokens} tokens",
                                size=format_bytes(first.kv_cache.expected), tokens=capacity), _SOURCE),
        Reason("compute", text("a profiling run of {tokens} tokens and {sequences} sequences",
                               tokens=read.max_batched, sequences=read.max_seqs), "vllm-project/vllm#10517"),
    ]  # fmt: skip
    if not read.eager:
        reasons.append(
            Reason("cuda-graphs", text("CUDA graphs come out of the KV cache's share")
                   if read.version >= _GRAPHS_WITHIN_BUDGET else text("CUDA graphs come on top of what vLLM takes"),
                   "vllm 0.33.0 gpu_worker.py (VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS, since 0.21.0)")
        )  # fmt: skip
    if inputs.weights.expert_format == "mxfp4":
        reasons.append(
            Reason("mxfp4-padding", text("the experts' kernels pad their widths"),
                   "huikang.dev log of vLLM 0.11.2; vllm-project/vllm#33155")
        )  # fmt: skip
    if not all(device.fits for device in devices):
        wanted = pool.bytes_for(inputs.context, inputs.parallel)
        reasons.append(
            Reason("does-not-fit",
                   text("{parallel} × {context} tokens need {needed} of KV cache, and {left} are sure to be left",
                        parallel=inputs.parallel, context=inputs.context, needed=format_bytes(wanted),
                        left=format_bytes(first.kv_cache.low)), _SOURCE)
        )  # fmt: skip
    return tuple(reasons)
