"""Memory of Text Generation Inference: after a trial of the largest prefill, a part of what is free is the KV cache.

KV cache = (total × cuda_memory_fraction - weights - peak of the trial) × wiggle room + what the trial's cache held.
All layers keep all tokens, those with a sliding window too. Source: text-generation-inference
``server/text_generation_server/models/flash_causal_lm.py`` (warmup), ``models/globals.py`` (0.90; 0.95 is named in a
comment of the same function). No log with all settings was found, so ranges are wide.
"""

from __future__ import annotations

import math

from ansambl.domain.architecture import Attention
from ansambl.domain.errors import NotSupportedError
from ansambl.domain.footprint import DeviceFootprint, Footprint, Range, Reason
from ansambl.domain.text import text
from ansambl.domain.units import Bytes, format_bytes
from ansambl.planner.memory import kv
from ansambl.planner.memory.budget import activation, left_for_cache, minus, no_room, rank_weights, visible_range
from ansambl.planner.memory.inputs import MemoryInputs, Settings
from ansambl.planner.memory.ranks import chosen_gpus, kv_share
from ansambl.planner.memory.shares import CUDA_CONTEXT, around, estimated_size, not_measured

NAME = "tgi"
SETTINGS = frozenset({"engine_version", "cuda_memory_fraction", "max_batch_prefill_tokens", "tensor_parallel"})
"""The settings that change its memory; `tensor_parallel` is its ``--num-shard``."""

KV_TYPES = frozenset({"f16", "bf16", "fp8"})
"""KV cache types whose sizes are known."""

_SOURCE = "text-generation-inference models/flash_causal_lm.py warmup, models/globals.py"
_WIGGLE_LOW, _WIGGLE, _WIGGLE_HIGH = 0.90, 0.90, 0.95
_PREFILL = 4096


def forecast(inputs: MemoryInputs) -> Footprint:
    """What TGI will take of each GPU, and whether `context` × `parallel` fits into what is left for the KV cache.

    Raises:
        UsageError: a setting makes no sense or is not known, or the machine has too few GPUs.
        NotSupportedError: LoRA adapters, a projector, a draft model or recurrent layers, for which no rules are known.
    """
    given = Settings(inputs.settings, SETTINGS, NAME)
    gpus = chosen_gpus(inputs, given, NAME)
    kv.require_kv_type(inputs.kv_type, KV_TYPES, NAME)
    given.version((3, 3))
    architecture, extras, ranks = inputs.architecture, inputs.extras, len(gpus)
    unknown = extras.lora or extras.draft or extras.projector
    if unknown or any(group.attention is Attention.RECURRENT for group in architecture.layers):
        raise NotSupportedError(
            text("no memory rules are known for {engine} with LoRA adapters, pictures, a draft model or "
                 "recurrent layers; choose vllm", engine=NAME)
        )  # fmt: skip
    fraction = given.number("cuda_memory_fraction", 1.0, 0.01, 1.0)
    prefill = given.whole("max_batch_prefill_tokens", max(_PREFILL, inputs.context))
    cell = sum(
        group.count * kv.cell_bytes(group, inputs.kv_type) * kv_share(architecture, group, ranks)
        for group in architecture.layers
    )
    weights, context = rank_weights(inputs, ranks), around(CUDA_CONTEXT, 0, 2)
    compute = activation(architecture, tokens=prefill, rows=inputs.parallel, ranks=ranks)
    trial = math.ceil(cell * prefill)
    needed = Range.exactly(math.ceil(cell * inputs.context * inputs.parallel))
    devices = []
    for gpu in gpus:
        visible = visible_range(gpu)
        budget = Range(*(Bytes(int(size * fraction)) for size in (visible.low, visible.expected, visible.high)))
        fixed = Range.total((weights, compute, context))
        free, room = minus(budget, fixed + Range.exactly(trial)), minus(budget, fixed)
        cache = Range(
            Bytes(int(free.low * _WIGGLE_LOW) + min(trial, room.low)),
            Bytes(int(free.expected * _WIGGLE) + min(trial, room.expected)),
            Bytes(int(free.high * _WIGGLE_HIGH) + min(trial, room.high)),
        )  # fmt: skip
        spare = free.low - int(free.low * _WIGGLE_LOW)
        devices.append(
            DeviceFootprint(
                name=gpu.model.title, kind=gpu.kind, index=gpu.index, capacity=gpu.memory,
                usable=Bytes(max(0, budget.low - spare)), weights=weights, kv_cache=cache, compute=compute,
                overhead=context, kv_needed=needed,
            )
        )  # fmt: skip
    first = devices[0]
    tokens = int(first.kv_cache.expected / cell) if cell else 0
    reasons = [
        Reason("budget", text("TGI takes {share} % of each GPU", share=round(fraction * 100)), _SOURCE),
        Reason("weights", text("weights take {size} on each GPU once they are loaded",
                               size=format_bytes(weights.expected)), inputs.weights.source),
        *estimated_size(inputs.weights),
        left_for_cache(first.kv_cache.expected, tokens, _SOURCE),
        Reason("compute", text("a trial of {tokens} tokens at once", tokens=prefill), _SOURCE),
        not_measured(NAME, _SOURCE),
    ]  # fmt: skip
    if not all(device.fits for device in devices):
        reasons.append(no_room(inputs, devices, needed.high, _SOURCE))
    return Footprint(
        engine=NAME, context=inputs.context, parallel=inputs.parallel, kv_type=inputs.kv_type, devices=tuple(devices),
        reasons=tuple(reasons), kv_capacity_tokens=tokens,
    )  # fmt: skip
