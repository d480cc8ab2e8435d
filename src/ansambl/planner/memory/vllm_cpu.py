"""vLLM's build for the processor: all in RAM, a KV cache of a fixed size that is written at the start, no profiling.

What is left unset is as Ansambl starts it (``engines/adapters/vllm.py``): float32, eager, 4 GiB of KV cache. Weights
are copied out of the checkpoint's files into that type; the files' pages stay mapped, and the system takes them back
when RAM is short. With an explicit cache and eager mode nothing is warmed up: what is computed comes on top later.

Source: vLLM 0.32.0 ``v1/worker/cpu_worker.py``, ``platforms/cpu.py``, ``engine/arg_utils.py``; the processes were
measured on the real engine (`PROCESSES`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ansambl.domain.errors import UsageError
from ansambl.domain.footprint import NOTHING, DeviceFootprint, Footprint, Range, Reason
from ansambl.domain.text import text
from ansambl.domain.units import GIB, Bytes, format_bytes
from ansambl.planner.families import SIXTEEN_BITS
from ansambl.planner.memory import loaded
from ansambl.planner.memory.budget import activation, draft_weights, minus
from ansambl.planner.memory.extras import extra_reasons, projector_compute
from ansambl.planner.memory.inputs import MemoryInputs, Settings
from ansambl.planner.memory.ranks import allowed_rank, lora_slots
from ansambl.planner.memory.shares import does_not_fit, estimated_size, usable
from ansambl.planner.memory.vllm_blocks import Pool, make_pool

PROCESSES = Range(Bytes(round(1.3 * GIB)), Bytes(round(1.83 * GIB)), Bytes(round(2.4 * GIB)))
"""What the API server, the engine's core and one worker hold beside weights and KV cache.

Measured with vLLM 0.32.0 on two cores: 1870 MiB as processes are listed, of which 490 MiB are the same pages counted in
each of them (1380 MiB); the same in float32 and bfloat16, for checkpoints of 1.6 and 257 MiB.
"""

DEFAULT_CACHE = Bytes(4 * GIB)
"""What the adapter gives to the KV cache where no setting does."""

DTYPES: Mapping[str, int] = {"auto": 2, "half": 2, "float16": 2, "bfloat16": 2, "float": 4, "float32": 4}
"""What ``--dtype`` takes, with the bytes of a weight; a checkpoint in 32 bits is loaded in 16 by ``auto``."""

_SOURCE = "vllm 0.32.0 v1/worker/cpu_worker.py, platforms/cpu.py"
_MEASURED = "vLLM 0.32.0 (CPU) measured with Llama models of 1.6 and 257 MiB"
_DEFAULT_DTYPE = "float32"
# Kernels for quantized weights may lay them out anew; how much that takes was not measured.
_REPACKED = 1.5
_BLOCK, _BATCH, _SEQUENCES = 128, 2048, 128
# LoRA: so many adapters where no number is set, one place more, and the ranks as on GPUs (engines/adapters/vllm.py).
_LORAS = 8


@dataclass(frozen=True, slots=True)
class _Read:
    element: int
    cache: int | None
    share: float | None
    batched: int
    sequences: int
    block_size: int
    loras: int
    lora_rank: int
    version: tuple[int, ...]
    states: int


def kv_type(wanted: str, *, wide: bool) -> str:
    """The number type in which K and V lie: that of the model (32 bits where `wide`), unless it was told another."""
    return "f32" if wide and wanted.lower() in SIXTEEN_BITS | {"auto"} else wanted


def _read(
    inputs: MemoryInputs, given: Settings, version: tuple[int, ...], lora_ranks: tuple[int, ...], lora_default: int
) -> _Read:
    ranks = given.whole("tensor_parallel", 1)
    if ranks > 1:
        raise UsageError(
            text("{setting} is {ranks}, but machine {machine} has {count} GPUs", setting="tensor_parallel", ranks=ranks,
                 machine=inputs.machine.name, count=0)
        )  # fmt: skip
    lora = inputs.extras.lora
    adapters = given.switch("enable_lora", lora is not None or given.has("max_loras") or given.has("max_lora_rank"))
    share = given.number("gpu_memory_utilization", 0.5, 0.01, 1.0) if given.has("gpu_memory_utilization") else None
    batched = given.whole("max_num_batched_tokens", _BATCH)
    return _Read(
        element=DTYPES[given.one_of("dtype", _DEFAULT_DTYPE, tuple(DTYPES))],
        cache=None if share is not None else given.whole("kv_cache_memory_bytes", DEFAULT_CACHE),
        share=share,
        batched=batched,
        sequences=given.whole("max_num_seqs", min(_SEQUENCES, batched)),
        block_size=given.whole("block_size", _BLOCK, 1, 1 << 20),
        loras=given.whole("max_loras", lora.count if lora else _LORAS, 1, 1 << 16) + 1 if adapters else 0,
        lora_rank=allowed_rank(lora, given, lora_ranks, lora_default) if adapters else 0,
        version=version,
        states=2 if given.switch("enable_prefix_caching", True) else 1,
    )


def _quantized(inputs: MemoryInputs) -> bool:
    """Whether the checkpoint has fewer bits than a type that is computed in."""
    architecture, weights = inputs.architecture, inputs.weights
    return not (loaded.is_sixteen_bit(architecture, weights) or weights.total >= 3.5 * architecture.parameters)


def _weights(inputs: MemoryInputs, read: _Read) -> Range:
    """The weights in the type that is computed in; quantized ones stay as they are, their ends may be widened."""
    architecture, weights = inputs.architecture, inputs.weights
    if not _quantized(inputs):
        return loaded.in_float(architecture, weights, read.element)
    kept = loaded.as_stored(weights)
    wider = loaded.parameter_parts(architecture, weights).ends * (read.element - 2)
    return Range(kept.low, kept.expected, Bytes(round(kept.high * _REPACKED) + wider))


def _adapters(inputs: MemoryInputs, read: _Read) -> Range:
    if not read.loras:
        return NOTHING
    _, dense, experts = lora_slots(inputs, slots=read.loras, rank=read.lora_rank, ranks=1)
    # Counted in 16 bits there; what is loaded is kept a second time before it is given a place.
    size = (dense + experts) * read.element // 2
    return Range(Bytes(dense * read.element // 2), Bytes(size), Bytes(2 * size))


def _compute(inputs: MemoryInputs, read: _Read) -> Range:
    """What a full batch takes, for as many sequences as are wanted: nothing of it is held before the first request."""
    tokens = min(read.batched, inputs.context * inputs.parallel)
    most = activation(inputs.architecture, tokens=tokens, rows=min(read.sequences, inputs.parallel), ranks=1)
    wide = read.element // 2
    found = Range(Bytes(0), Bytes(most.expected * wide), Bytes(most.high * wide))
    if inputs.extras.projector is not None:
        found += Range(Bytes(0), Bytes(0), projector_compute(inputs.extras.projector).high)
    return found


def _pool(inputs: MemoryInputs, read: _Read) -> Pool:
    return make_pool(
        inputs.architecture, kv_type(inputs.kv_type, wide=read.element == 4), block_size=read.block_size,
        tensor_parallel=1, max_batched=read.batched, version=read.version, states=read.states,
    )  # fmt: skip


def forecast(
    inputs: MemoryInputs, given: Settings, *, version: tuple[int, ...], lora_ranks: tuple[int, ...], lora_default: int
) -> Footprint:
    """What vLLM will take of the RAM, and whether `context` × `parallel` fits into its KV cache.

    Args:
        inputs: the placement, on a machine without GPUs.
        given: its settings, with contradictions refused.
        version: the version of vLLM whose pages are followed.
        lora_ranks: the LoRA ranks that it makes room for.
        lora_default: the one of them that it takes where nothing says.

    Raises:
        UsageError: a setting makes no sense, or needs GPUs.
    """
    read = _read(inputs, given, version, lora_ranks, lora_default)
    ram, pool = inputs.machine.ram, _pool(inputs, read)
    model, adapters = _weights(inputs, read), _adapters(inputs, read)
    files = inputs.weights.total
    weights = Range.total((model, Range.exactly(files), adapters, draft_weights(inputs, 1)))
    compute = _compute(inputs, read)
    needed = Bytes(pool.bytes_for(inputs.context, inputs.parallel))
    if read.cache is None:
        budget = Range.exactly(round(ram.memory * (read.share or 0.0)))
        # The worker is the greater part of the processes; it counts what it holds itself.
        cache = minus(budget, Range.total((weights, PROCESSES)))
    else:
        cache = Range.exactly(read.cache)
    room, enough = usable(ram), needed <= cache.low
    device = DeviceFootprint(
        name=ram.model.title, kind=ram.kind, index=ram.index, capacity=ram.memory,
        # All of it is written at the start, whatever is needed; and what it does not hold finds no room elsewhere.
        # Then the limit lies below what the rest takes for sure, so that no measurement of that makes it fit.
        usable=room if enough else Bytes(min(room, weights.low - files + PROCESSES.low + cache.low)),
        weights=weights, kv_cache=cache, kv_needed=cache if enough else Range.exactly(max(needed, cache.high)),
        compute=compute, overhead=PROCESSES, reclaimable=Bytes(files),
    )  # fmt: skip
    capacity = pool.capacity_tokens(cache.expected, inputs.context)
    return Footprint(
        engine="vllm", context=inputs.context, parallel=inputs.parallel, kv_type=inputs.kv_type, devices=(device,),
        reasons=_reasons(inputs, read, device, model, adapters, needed), kv_capacity_tokens=capacity,
    )  # fmt: skip


def _reasons(
    inputs: MemoryInputs, read: _Read, device: DeviceFootprint, model: Range, adapters: Range, needed: Bytes
) -> tuple[Reason, ...]:
    cache, tokens = device.kv_cache, inputs.context * inputs.parallel
    files = format_bytes(inputs.weights.total)
    kept = text("vLLM's build for the processor: weights are kept in {bits} bits, and the pages of their files "
                "({files}) count as long as RAM is not short", bits=read.element * 8, files=files)  # fmt: skip
    if _quantized(inputs):
        kept = text("vLLM's build for the processor: quantized weights stay as they are, which was not measured; the "
                    "pages of their files ({files}) count as long as RAM is not short", files=files)  # fmt: skip
    reasons = [
        Reason("cpu-build", kept, _SOURCE if _quantized(inputs) else _MEASURED),
        Reason("weights", text("weights take {size} once they are loaded", size=format_bytes(model.expected)),
               inputs.weights.source),
        *estimated_size(inputs.weights),
        Reason("kv-cache", text("the KV cache takes {size} from the start; {parallel} × {context} tokens need {needed} "
                                "of it", size=format_bytes(cache.expected), parallel=inputs.parallel,
                                context=inputs.context, needed=format_bytes(needed)), _SOURCE),
        Reason("processes", text("its three processes take {low} to {high} beside that",
                                 low=format_bytes(PROCESSES.low), high=format_bytes(PROCESSES.high)), _MEASURED),
        *extra_reasons(inputs.extras, lora=adapters, lora_source=_SOURCE),
    ]  # fmt: skip
    if read.loras and inputs.extras.lora is None:
        reasons.append(
            Reason("lora", text("room for {count} LoRA adapters of rank {rank} takes {size}", count=read.loras,
                                rank=read.lora_rank, size=format_bytes(adapters.expected)), _SOURCE)
        )  # fmt: skip
    if read.sequences < inputs.parallel:
        reasons.append(
            Reason("queued", text("only {count} sequences run at once, the others wait", count=read.sequences),
                   "vllm 0.32.0 config/scheduler.py max_num_seqs")
        )  # fmt: skip
    if needed > cache.low:
        reasons.append(
            Reason("does-not-fit",
                   text("{tokens} tokens need {needed} of KV cache, and {size} are sure to be there: set "
                        "kv_cache_memory_bytes to {bytes} or more, or lower the context", tokens=tokens,
                        needed=format_bytes(needed), size=format_bytes(cache.low), bytes=needed), _SOURCE)
        )  # fmt: skip
    elif not device.fits:
        reasons.append(does_not_fit(device, _SOURCE))
    return tuple(reasons)
