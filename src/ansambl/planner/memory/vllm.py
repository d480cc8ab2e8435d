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
from ansambl.domain.footprint import NOTHING, DeviceFootprint, Footprint, Range, Reason
from ansambl.domain.text import text
from ansambl.domain.units import GIB, Bytes, format_bytes
from ansambl.planner.memory import kv, loaded, vllm_cpu
from ansambl.planner.memory.budget import activation, draft_weights, left_for_cache, loaded_weights, minus, no_room
from ansambl.planner.memory.extras import extra_reasons, pooled, projector_compute
from ansambl.planner.memory.inputs import MemoryInputs, Settings
from ansambl.planner.memory.ranks import allowed_rank, chosen_gpus, least_memory, lora_slots
from ansambl.planner.memory.shares import (
    CUDA_CONTEXT,
    VISIBLE,
    VISIBLE_LOW,
    around,
    estimated_size,
    spread,
    usable,
)
from ansambl.planner.memory.vllm_blocks import Pool, make_pool

NAME = "vllm"
SETTINGS = frozenset(
    {
        "engine_version", "gpu_memory_utilization", "max_num_seqs", "max_num_batched_tokens", "tensor_parallel",
        "block_size", "enforce_eager", "kv_cache_memory_bytes", "total_memory", "moe_backend", "cpu_offload_gb",
        "enable_lora", "max_loras", "max_lora_rank", "enable_prefix_caching", "dtype",
    }
)  # fmt: skip
"""The settings that change its memory. `total_memory` is one GPU's memory in bytes as the driver shows it."""

KV_TYPES = frozenset({"f16", "bf16", "fp8"})
"""KV cache types whose sizes are known; those of other formats (int8, int4, NVFP4, TurboQuant) are not."""

CURRENT_VERSION = (0, 33, 0)
"""The version whose rules are followed when none is named."""

DEFAULT_UTILIZATION = 0.92
"""The share of each GPU that it takes when nobody says, from `_UTILIZATION_092` on."""

_OLD_UTILIZATION = 0.9
_SOURCE = "vllm 0.33.0 gpu_worker.py, mem_utils.py, kv_cache_interface.py"
_GRAPHS_WITHIN_BUDGET = (0, 21)
_UTILIZATION_092 = (0, 21)
# Until the V1 engine became the default, a whole sequence was one batch (vllm#10517: peak grows with the context).
_V1 = (0, 8)
# From here on big cards of the A100 kind get the batches of smaller ones (vllm-project/vllm#17885).
_A100_SMALL = (0, 9)
# Before, the new engine served 1024 sequences on every card (vllm-project/vllm#15598; #15105 failed with them).
_FEWER_SEQUENCES = (0, 8, 3)
# The old engine cut sequences longer than this into chunks, and then sampled nothing while it profiled: its peak is
# 0.19 GiB for 131,072 tokens (vllm-project/vllm#13061). With LoRA it did not (#11251).
_CHUNKED_ABOVE, _CHUNK = 32768, 2048
# Sorting all logits took 9.2 copies of them (gpt-oss-120b, 1024 sequences: vllm-project/vllm#23278) to 10.3
# (Llama-3-8B, 256: #10511); 0.15 still sorts (#33920), and two logs of 0.19 leave room for 4.2.
_NO_SORTING = (0, 19)
_SORTING_COPIES, _SORTING_HIGH = 9.2, 11.0
# CUDA graphs: 0.64 GiB logged for gpt-oss-120b on an H100, 0.11 GiB for gemma-4-12B, 2.22 GiB for Qwen3.5-35B
# (vllm-project/vllm#50722); 2.41 GiB with the old engine (#7553).
_GRAPHS = Range(Bytes(round(0.11 * GIB)), Bytes(round(0.64 * GIB)), Bytes(round(2.22 * GIB)))
_GRAPHS_V0 = Range(Bytes(round(0.11 * GIB)), Bytes(round(0.64 * GIB)), Bytes(round(2.41 * GIB)))
# What GPUs need to talk to each other: 15.03 GiB were in use with 14.28 of weights on each of two (club-3090#1087).
_COMMUNICATION = Bytes(round(0.4 * GIB))
# LoRA ranks that vLLM makes room for (vllm/config/lora.py).
_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
_LORA_DEFAULT = 16
_LORA_SOURCE = "vllm lora/layers/base_linear.py, lora/layers/fused_moe.py: max_loras x max_lora_rank for every layer"
# gpt-oss and its MXFP4 experts came with 0.10.1.
_MXFP4 = (0, 10, 1)


@dataclass(frozen=True, slots=True)
class _Read:
    version: tuple[int, ...]
    utilization: float
    max_seqs: int
    sampled: int
    states: int
    max_batched: int
    gpus: tuple[PlannedDevice, ...]
    block_size: int
    eager: bool
    kv_memory: int
    total: int
    moe_backend: str
    offload: int
    loras: int
    lora_rank: int
    wide: bool

    @property
    def tensor_parallel(self) -> int:
        """GPUs that hold a part of the model."""
        return len(self.gpus)


def _given(inputs: MemoryInputs) -> Settings:
    kv.require_kv_type(inputs.kv_type, KV_TYPES, "vLLM")
    return Settings(inputs.settings, SETTINGS, NAME)


def _read(inputs: MemoryInputs) -> _Read:
    given = _given(inputs)
    gpus = chosen_gpus(inputs, given, "vLLM")
    version = given.version(CURRENT_VERSION)
    memory = least_memory(gpus)
    a100 = "a100" in gpus[0].model.name.lower()
    batched, seqs = (16384, 1024) if memory >= 160 * GIB else (8192, 1024)
    if memory < 70 * GIB or (a100 and version >= _A100_SMALL) or gpus[0].model.unified_memory:
        batched, seqs = 2048, 256 if version >= _FEWER_SEQUENCES else 1024
    usual = DEFAULT_UTILIZATION if version >= _UTILIZATION_092 else _OLD_UTILIZATION
    lora = inputs.extras.lora
    adapters = given.switch("enable_lora", lora is not None or given.has("max_loras") or given.has("max_lora_rank"))
    chunked = version < _V1 and inputs.context > _CHUNKED_ABOVE and not adapters
    if version < _V1:
        batched, seqs = _CHUNK if chunked else max(_CHUNK, inputs.context), 256
    batched = given.whole("max_num_batched_tokens", batched)
    # Where only the batch was set, the default number of sequences gives way.
    seqs = given.whole("max_num_seqs", min(seqs, batched))
    _refuse_contradictions(given, batched, seqs)
    return _Read(
        version=version,
        utilization=given.number("gpu_memory_utilization", usual, 0.01, 1.0),
        max_seqs=seqs,
        sampled=0 if chunked else seqs,
        # With prefixes kept, a layer with a state holds the one that it goes on from too (club-3090#612).
        states=2 if given.switch("enable_prefix_caching", True) else 1,
        max_batched=batched,
        gpus=gpus,
        block_size=given.whole("block_size", 16, 1, 1 << 20),
        eager=given.switch("enforce_eager", False),
        kv_memory=given.whole("kv_cache_memory_bytes", 0, 0),
        total=given.whole("total_memory", 0, 0),
        moe_backend=given.word("moe_backend", "auto"),
        offload=round(given.number("cpu_offload_gb", 0, 0, 1 << 20) * GIB),
        loras=given.whole("max_loras", lora.count if lora else 1, 1, 1 << 16) if adapters else 0,
        lora_rank=allowed_rank(lora, given, _LORA_RANKS, _LORA_DEFAULT) if adapters else 0,
        wide=vllm_cpu.DTYPES[given.one_of("dtype", "auto", tuple(vllm_cpu.DTYPES))] == 4,
    )


def _refuse_contradictions(given: Settings, batched: int, seqs: int) -> None:
    if given.has("gpu_memory_utilization") and given.has("kv_cache_memory_bytes"):
        raise given.contradiction(
            "gpu_memory_utilization",
            "kv_cache_memory_bytes",
            text("the second one replaces the first; set one of them"),
        )
    if given.has("max_num_batched_tokens") and given.has("max_num_seqs") and batched < seqs:
        raise given.contradiction(
            "max_num_batched_tokens", "max_num_seqs", text("a batch must hold a token of each sequence")
        )
    if given.has("enable_lora") and not given.switch("enable_lora", True):
        for name in ("max_loras", "max_lora_rank"):
            if given.has(name):
                raise given.contradiction("enable_lora", name, text("without LoRA there is nothing to make room for"))


def _profile(architecture: Architecture, read: _Read) -> Range:
    """The peak of the profiling run: a full batch through a layer, or a row of logits for each sequence."""
    sizes = {"tokens": read.max_batched, "rows": read.sampled, "ranks": read.tensor_parallel}
    if read.version >= _NO_SORTING:
        found = activation(architecture, **sizes)
    else:
        found = activation(architecture, **sizes, copies=_SORTING_COPIES, most_copies=_SORTING_HIGH)
    return found + found if read.wide else found


def _requested(read: _Read, gpu: PlannedDevice) -> Range:
    if read.total:
        return Range.exactly(math.ceil(read.total * read.utilization))
    return Range(
        Bytes(math.ceil(gpu.memory * VISIBLE_LOW * read.utilization)),
        Bytes(math.ceil(gpu.memory * VISIBLE * read.utilization)),
        Bytes(math.ceil(gpu.memory * read.utilization)),
    )


def _pool(inputs: MemoryInputs, read: _Read) -> Pool:
    return make_pool(
        inputs.architecture, vllm_cpu.kv_type(inputs.kv_type, wide=read.wide), block_size=read.block_size,
        tensor_parallel=read.tensor_parallel, max_batched=read.max_batched, version=read.version, states=read.states,
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

    Without a GPU the rules are those of its build for the processor.

    Raises:
        UsageError: a setting makes no sense or is not known, or the machine has too few GPUs.
    """
    if not inputs.machine.gpus:
        return _on_processor(inputs)
    read = _read(inputs)
    pool = _pool(inputs, read)
    drafted = _draft_pool(inputs, read)
    adapters = _adapters(inputs, read)
    weights = spread(
        loaded_weights(inputs, tensor_parallel=read.tensor_parallel, moe_backend=read.moe_backend), inputs.weights
    )
    if read.wide and loaded.is_sixteen_bit(inputs.architecture, inputs.weights):
        weights += weights
    offloaded = Range(*(Bytes(min(read.offload, size)) for size in (weights.low, weights.expected, weights.high)))
    weights = Range.total((_less(weights, read.offload), adapters, draft_weights(inputs, read.tensor_parallel)))
    compute = _profile(inputs.architecture, read)
    if inputs.extras.projector is not None:
        # The tower's weights are part of the checkpoint, what it computes with is not.
        compute += Range(Bytes(0), Bytes(0), projector_compute(inputs.extras.projector).high)
    context = around(CUDA_CONTEXT, 0, 2)
    if read.tensor_parallel > 1 and read.version >= _GRAPHS_WITHIN_BUDGET:
        context += around(_COMMUNICATION, 0, 2)
    graphs = NOTHING if read.eager else (_GRAPHS if read.version >= _V1 else _GRAPHS_V0)
    within = read.version >= _GRAPHS_WITHIN_BUDGET
    fixed = Range.total((weights, compute, context, graphs if within else NOTHING))
    needed = Range.exactly(
        pool.bytes_for(inputs.context, inputs.parallel)
        + (drafted.bytes_for(inputs.context, inputs.parallel) if drafted else 0)
    )
    devices = []
    cache = NOTHING
    crowded = False
    for gpu in read.gpus:
        requested = _requested(read, gpu)
        cache = Range.exactly(read.kv_memory) if read.kv_memory else minus(requested, fixed)
        visible = read.total or int(gpu.memory * VISIBLE_LOW)
        # Graphs beyond the budget must find room in what was not requested.
        budget = requested.low if within else min(visible, requested.low + graphs.high)
        kv_needed = needed
        if not within and requested.expected + min(graphs.high, _GRAPHS.high) > visible:
            # It takes all that it may whatever is needed, and then the graphs find no room.
            kv_needed = Range.exactly(max(needed.expected, cache.expected))
            crowded = True
        if read.kv_memory:
            budget = min(visible, fixed.high + read.kv_memory + (0 if within else graphs.high))
        devices.append(
            DeviceFootprint(
                name=gpu.model.title, kind=gpu.kind, index=gpu.index, capacity=gpu.memory, usable=Bytes(budget),
                weights=weights, kv_cache=cache, compute=compute, overhead=context + graphs, kv_needed=kv_needed,
            )
        )  # fmt: skip
    own = cache.expected
    if drafted:
        own = Bytes(own * pool.bytes_for(inputs.context, inputs.parallel) // max(1, needed.expected))
    capacity = pool.capacity_tokens(own, inputs.context)
    reasons = _reasons(inputs, read, needed.expected, devices, capacity, adapters)
    if crowded:
        reasons += (
            Reason("no-room-for-graphs",
                   text("CUDA graphs take up to {graphs} beyond the share that vLLM may use; lower "
                        "gpu_memory_utilization or set enforce_eager", graphs=format_bytes(graphs.high)),
                   "vllm-project/vllm#50722, #7553; out of memory at 0.97 in #33155"),
        )  # fmt: skip
    if read.offload:
        devices = pooled([*devices, _offloaded(inputs, offloaded, len(read.gpus))], inputs.machine)
    return Footprint(
        engine=NAME, context=inputs.context, parallel=inputs.parallel, kv_type=inputs.kv_type, devices=tuple(devices),
        reasons=reasons, kv_capacity_tokens=capacity,
    )  # fmt: skip


def _on_processor(inputs: MemoryInputs) -> Footprint:
    given = _given(inputs)
    _refuse_contradictions(given, given.whole("max_num_batched_tokens", 1), given.whole("max_num_seqs", 1))
    return vllm_cpu.forecast(
        inputs, given, version=given.version(CURRENT_VERSION), lora_ranks=_LORA_RANKS, lora_default=_LORA_DEFAULT
    )


def _less(size: Range, part: int) -> Range:
    return Range(*(Bytes(max(0, end - part)) for end in (size.low, size.expected, size.high)))


def _draft_pool(inputs: MemoryInputs, read: _Read) -> Pool | None:
    """The draft model's own KV cache; its pages come out of the same pool."""
    draft = inputs.extras.draft
    if draft is None:
        return None
    return make_pool(
        draft.architecture, draft.kv_type, block_size=read.block_size, tensor_parallel=read.tensor_parallel,
        max_batched=read.max_batched, version=read.version,
    )  # fmt: skip


def _adapters(inputs: MemoryInputs, read: _Read) -> Range:
    """LoRA slots, made when vLLM starts: every linear layer gets `max_loras` of `max_lora_rank`, whatever is loaded."""
    if not read.loras:
        return NOTHING
    found, dense, experts = lora_slots(inputs, slots=read.loras, rank=read.lora_rank, ranks=read.tensor_parallel)
    unknown = 2 * read.loras * found.guessed
    # Embedding and output may get slots too.
    ends = 4 * read.loras * read.lora_rank * (inputs.architecture.vocabulary + inputs.architecture.hidden)
    return Range(Bytes(max(0, dense - unknown)), Bytes(dense + experts), Bytes(dense + experts + ends))


def _offloaded(inputs: MemoryInputs, weights: Range, ranks: int) -> DeviceFootprint:
    """The part of the weights that lies in RAM and is read from there."""
    ram = inputs.machine.ram
    return DeviceFootprint(
        name=ram.model.title, kind=ram.kind, index=ram.index, capacity=ram.memory, usable=usable(ram),
        weights=Range.total([weights] * ranks),
    )  # fmt: skip


def _reasons(
    inputs: MemoryInputs, read: _Read, wanted: int, devices: list[DeviceFootprint], capacity: int, adapters: Range
) -> tuple[Reason, ...]:
    version = ".".join(map(str, read.version))
    first = devices[0]
    reasons = [
        Reason("budget", text("vLLM {version} takes {share} % of each GPU", version=version,
                              share=round(read.utilization * 100)), _SOURCE),
        Reason("weights", text("weights take {size} on each GPU once they are loaded",
                               size=format_bytes(first.weights.expected)), inputs.weights.source),
        *estimated_size(inputs.weights),
        left_for_cache(first.kv_cache.expected, capacity, _SOURCE),
        Reason("compute", text("a profiling run of {tokens} tokens and {sequences} sequences",
                               tokens=read.max_batched, sequences=read.max_seqs), "vllm-project/vllm#10517"),
    ]  # fmt: skip
    if not read.eager:
        reasons.append(
            Reason("cuda-graphs", text("CUDA graphs come out of the KV cache's share")
                   if read.version >= _GRAPHS_WITHIN_BUDGET else text("CUDA graphs come on top of what vLLM takes"),
                   "vllm 0.33.0 gpu_worker.py (VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS, since 0.21.0)")
        )  # fmt: skip
    reasons.extend(extra_reasons(inputs.extras, lora=adapters, lora_source=_LORA_SOURCE))
    if read.loras and inputs.extras.lora is None:
        reasons.append(
            Reason("lora", text("room for {count} LoRA adapters of rank {rank} takes {size}", count=read.loras,
                                rank=read.lora_rank, size=format_bytes(adapters.expected)), _LORA_SOURCE)
        )  # fmt: skip
    if read.offload:
        reasons.append(
            Reason("offload", text("{size} of the weights on each GPU lie in RAM and are read from there",
                                   size=format_bytes(read.offload)), "vllm 0.33.0 config/offload.py cpu_offload_gb")
        )  # fmt: skip
    if read.max_seqs < inputs.parallel:
        reasons.append(
            Reason("queued", text("only {count} sequences run at once, the others wait", count=read.max_seqs),
                   "vllm 0.33.0 config/scheduler.py max_num_seqs")
        )  # fmt: skip
    if inputs.weights.expert_format == "mxfp4" and read.version < _MXFP4:
        reasons.append(
            Reason("engine-too-old", text("MXFP4 needs vLLM 0.10.1 or newer; this version does not load it"),
                   "vLLM 0.10.1 release notes; the wheel of 0.10.0 has no gpt-oss")
        )  # fmt: skip
    if inputs.weights.expert_format == "mxfp4":
        reasons.append(
            Reason("mxfp4-padding", text("the experts' kernels pad their widths"),
                   "huikang.dev log of vLLM 0.11.2; vllm-project/vllm#33155")
        )  # fmt: skip
    if not all(device.fits for device in devices):
        reasons.append(no_room(inputs, devices, wanted, _SOURCE))
    return tuple(reasons)
