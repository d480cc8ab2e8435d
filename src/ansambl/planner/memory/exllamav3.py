"""ExLlamaV3's memory (also TabbyAPI's, which runs it): layers fill one GPU after the other, the cache with them.

* Weights: the checkpoint's tensors; the input embedding, where it is not quantized, lies in RAM.
* KV cache: cache_size tokens in pages of 256, in FP16 or in 2 to 8 bits with a 16-bit scale for each 32 elements.
  Sliding layers of some families keep a ring of the window and two pages for each sequence instead; latent layers
  are not quantized; recurrent layers keep two states for each sequence in 16 bits.
* Autosplit leaves a reserve free on the first GPU, and 256 MiB beside the largest thing that a layer computes with.

Source: exllamav3 1.6.5 ``cache/``, ``modules/sliding_attn.py``, ``modules/embedding.py``, ``model/model_ls.py``;
TabbyAPI ``common/config_models.py``, ``backends/exllamav3/model.py``. What it computes with is an estimate: no log was
found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction

from ansambl.domain.architecture import Architecture, Attention, LayerGroup
from ansambl.domain.device import PlannedDevice
from ansambl.domain.errors import UsageError
from ansambl.domain.footprint import NOTHING, DeviceFootprint, Footprint, Range, Reason
from ansambl.domain.text import text
from ansambl.domain.units import GIB, MIB, Bytes, format_bytes
from ansambl.planner.memory import kv
from ansambl.planner.memory.budget import widest
from ansambl.planner.memory.extras import NO_EXTRAS, beside, extra_reasons, lora_files, plus, pooled, projector_compute
from ansambl.planner.memory.inputs import MemoryInputs, Settings
from ansambl.planner.memory.shares import (
    CUDA_CONTEXT,
    around,
    does_not_fit,
    not_measured,
    spread,
    tensors_of,
    usable,
    visible_memory,
)

NAME = "exllamav3"
SETTINGS = frozenset(
    {
        "engine_version", "cache_size", "chunk_size", "max_batch_size", "autosplit_reserve", "tensor_parallel",
        "ram_margin",
    }
)  # fmt: skip
"""The settings that change its memory. `autosplit_reserve` is MiB on the first GPU, `cache_size` tokens in all."""

KV_TYPES = frozenset({"f16", "q8_0", "q4_0", *(f"q{bits}" for bits in range(2, 9))})
"""FP16 or 2 to 8 bits, for K and V apart where wanted; llama.cpp's names of the same size are understood."""

PAGE = 256
"""Tokens of a page; every size in tokens is a multiple of it."""

_SOURCE = "exllamav3 1.6.5 cache/, modules/sliding_attn.py, model/model_ls.py; TabbyAPI config_models.py"
_RESERVE = 96 * MIB
_MARGIN = 256 * MIB
# Families whose sliding layers keep a ring; the others' layers keep all tokens.
_RINGS = frozenset({"gpt_oss", "gpt-oss", "gemma4", "laguna", "step3_5", "mimo_v2"})
_RING_EXTRA = 2 * PAGE
_STATES = 2
_STATE_BATCH, _BATCH = 4, 128
# torch 2.14 resides with 506 MiB once it is imported; with a GPU's libraries more, how much was not measured.
_PROCESS = Range(Bytes(506 * MIB), Bytes(GIB), Bytes(3 * GIB))
# Rows of logits in one pass (max_output_size), as FP16 and once more as FP32.
_LOGIT_ROWS, _LOGIT_BYTES = 32, 6


@dataclass(frozen=True, slots=True)
class _Read:
    cache_tokens: int
    chunk: int
    batch: int
    reserve: int
    ranks: int
    ram_margin: int


def _read(inputs: MemoryInputs) -> _Read:
    given = Settings(inputs.settings, SETTINGS, NAME)
    if not inputs.machine.gpus:
        raise UsageError(
            text("machine {machine} has no GPU for {engine}; choose llama.cpp or another machine",
                 machine=inputs.machine.name, engine=NAME)
        )  # fmt: skip
    kv.require_kv_type(inputs.kv_type, KV_TYPES, NAME)
    given.version((1, 6, 5))
    split = given.switch("tensor_parallel", False)
    if split and given.has("autosplit_reserve"):
        raise given.contradiction("tensor_parallel", "autosplit_reserve", text("tensor parallel has its own loader"))
    cache = given.whole("cache_size", inputs.context * inputs.parallel, PAGE)
    if given.has("cache_size") and cache % PAGE:
        raise UsageError(text("cache_size is {size}; give a multiple of {page}", size=cache, page=PAGE))
    states = any(group.state_bytes for group in inputs.architecture.layers) or _keeps_rings(inputs.architecture)
    return _Read(
        cache_tokens=kv.padded(cache, PAGE), chunk=kv.padded(max(PAGE, given.whole("chunk_size", 2048)), PAGE),
        batch=max(given.whole("max_batch_size", _STATE_BATCH if states else _BATCH), inputs.parallel),
        reserve=round(given.number("autosplit_reserve", _RESERVE / MIB, 0, 1 << 20) * MIB),
        ranks=len(inputs.machine.gpus) if split else 1,
        ram_margin=given.whole("ram_margin", 2 * GIB, 0),
    )  # fmt: skip


def _keeps_rings(architecture: Architecture) -> bool:
    return architecture.family.lower() in _RINGS and any(
        group.attention is Attention.SLIDING for group in architecture.layers
    )


def _layer_cache(inputs: MemoryInputs, group: LayerGroup, tokens: int, batch: int) -> int:
    """Bytes that one layer of `group` keeps."""
    state = _STATES * batch * group.state_bytes
    if group.attention is Attention.RECURRENT:
        return state
    if group.attention is Attention.SLIDING and group.window and _keeps_rings(inputs.architecture):
        ring = kv.padded(group.window + _RING_EXTRA, PAGE)
        return math.ceil(kv.cell_bytes(group, "f16") * ring * batch) + state
    cell = kv.cell_bytes(group, "f16" if group.attention is Attention.LATENT else inputs.kv_type)
    return math.ceil(cell * tokens) + state


def _compute(inputs: MemoryInputs, read: _Read) -> Range:
    """A chunk through the widest part of a layer, and the largest matrix unpacked to FP16 for it."""
    architecture = inputs.architecture
    wide = max(architecture.feed_forward or 0, architecture.expert_feed_forward or 0, architecture.hidden)
    chunk = read.chunk * widest(architecture, 1) * 2
    unpacked = 2 * architecture.hidden * wide
    logits = _LOGIT_ROWS * architecture.vocabulary * _LOGIT_BYTES
    # A quantized cache may be unpacked for one layer.
    cells = [kv.cell_bytes(group, "f16") for group in architecture.layers if group.attention is Attention.FULL]
    unpacked_cache = 0 if kv.element_bytes(inputs.kv_type)[0] == Fraction(2) else max(cells, default=Fraction(0))
    high = 3 * (chunk + unpacked) + logits + unpacked_cache * read.cache_tokens
    expected = chunk + unpacked + logits
    return Range(Bytes(int(expected / 2)), Bytes(round(expected)), Bytes(math.ceil(high)))


def _cache_bytes(inputs: MemoryInputs, tokens: int, batch: int) -> int:
    """Bytes that all layers keep."""
    return sum(group.count * _layer_cache(inputs, group, tokens, batch) for group in inputs.architecture.layers)


def _split(layer: float, count: int, output: int, budgets: list[int]) -> list[int]:
    """Layers of each GPU: each is filled before the next one starts, and the last one takes what is left.

    Kinds of layers alternate through a model, so `layer` is the bytes of an average one.
    """
    parts: list[int] = []
    left = count
    for position, budget in enumerate(budgets):
        last = position == len(budgets) - 1
        held = left if last else min(left, int(budget // layer) if layer else left)
        # The output layer may need the next GPU, and then a layer goes along.
        if held == left and held and not last and output > budget - held * layer:
            held -= 1
        parts.append(held)
        left -= held
    return parts


def _budget(gpu: PlannedDevice, read: _Read, compute: Range, *, first: bool) -> int:
    kept = round(CUDA_CONTEXT * 2) + compute.high + _MARGIN + (read.reserve if first else 0)
    return max(0, usable(gpu) - kept)


def _ends(inputs: MemoryInputs) -> tuple[int, int]:
    """Bytes of the embedding, which is FP16 where the files do not say otherwise, and of the output, by parameters."""
    architecture, weights = inputs.architecture, inputs.weights
    words = architecture.vocabulary * architecture.hidden
    embedding = words * 2 if weights.embedding is None else weights.embedding
    embedding = min(embedding, weights.total)
    output = round((weights.total - embedding) * min(1.0, words / max(1, architecture.parameters - words)))
    return embedding, 0 if weights.tied else output


def _quantized_embedding(inputs: MemoryInputs) -> int:
    """Bytes that the first GPU would hold if the embedding were quantized too; 0 where the files say what it is."""
    if inputs.weights.embedding is not None:
        return 0
    words = inputs.architecture.vocabulary * inputs.architecture.hidden
    return math.ceil(inputs.weights.span[1] * min(1.0, words / max(1, inputs.architecture.parameters)))


def _gpu_footprints(inputs: MemoryInputs, read: _Read, compute: Range) -> list[DeviceFootprint]:
    gpus, weights = inputs.machine.gpus, inputs.weights
    embedding, output = _ends(inputs)
    inside, high = weights.total - embedding - output, weights.span[1] / max(1, weights.total)
    count = max(1, inputs.architecture.layer_count)
    kept = _cache_bytes(inputs, read.cache_tokens, read.batch)
    # All of the cache is allocated at the start, wanted or not.
    wanted = max(kept, _cache_bytes(inputs, kv.padded(inputs.context * inputs.parallel, PAGE), read.batch))
    divide = read.ranks
    if divide > 1:
        parts = [count] * len(gpus)
    else:
        budgets = [_budget(gpu, read, compute, first=not position) for position, gpu in enumerate(gpus)]
        budgets[0] = max(0, budgets[0] - _quantized_embedding(inputs))
        parts = _split((inside * high * 1.04 + kept) / count, count, math.ceil(output * high), budgets)
    devices = []
    done = 0
    for position, (gpu, layers) in enumerate(zip(gpus, parts, strict=True)):
        done += layers
        if not layers and position:
            continue
        everything = len(gpus) == 1
        size = inside * layers / count / divide
        if position == len(gpus) - 1 or divide > 1 or (done == count and not any(parts[position + 1 :])):
            size += output / divide
        low, top = (1.0, 1.0) if everything and weights.embedding is not None else (0.97, 1.03)
        cache, needed = (-(-total * layers // (count * divide)) for total in (kept, wanted))
        # A layer more or less may lie on a GPU than was counted.
        one = 0 if everything or divide > 1 else -(-kept // count)
        part = DeviceFootprint(
            name=gpu.model.title, kind=gpu.kind, index=gpu.index, capacity=gpu.memory, usable=usable(gpu),
            weights=spread(around(size, low, top), weights),
            kv_cache=Range(Bytes(max(0, cache - one)), Bytes(cache), Bytes(cache)),
            kv_needed=Range(Bytes(max(0, needed - one)), Bytes(needed), Bytes(needed)),
            compute=compute, overhead=around(CUDA_CONTEXT, 0, 2),
        )  # fmt: skip
        if not position:
            part = plus(part, weights=Range(Bytes(0), Bytes(0), Bytes(_quantized_embedding(inputs))))
        if needed > cache:
            # The engine keeps what was set, however much would be free.
            part = replace(part, usable=Bytes(min(part.usable, part.total.high)))
        devices.append(part)
    return devices


def forecast(inputs: MemoryInputs) -> Footprint:
    """What ExLlamaV3 will need of each GPU and of the RAM.

    Raises:
        UsageError: a setting makes no sense, is not known or contradicts another, or the machine has no GPU.
    """
    read = _read(inputs)
    devices = _gpu_footprints(inputs, read, _compute(inputs, read))
    extras = inputs.extras
    adapters = lora_files(inputs.architecture, extras.lora, 2, 2) if extras.lora else NOTHING
    devices[0] = plus(devices[0], weights=adapters)
    if extras.projector is not None:
        size = Range.exactly(extras.projector.size)
        devices[0] = plus(devices[0], weights=size, compute=projector_compute(extras.projector))
    ram = inputs.machine.ram
    embedding = Range.exactly(_ends(inputs)[0])
    if inputs.weights.embedding is None:
        # A quantized embedding is on a GPU.
        embedding = Range(Bytes(0), embedding.expected, embedding.high)
    devices.append(
        DeviceFootprint(
            name=ram.model.title, kind=ram.kind, index=ram.index, capacity=ram.memory,
            usable=usable(ram, read.ram_margin), overhead=_PROCESS,
            weights=spread(embedding, inputs.weights),
        )
    )  # fmt: skip
    if extras.draft is not None:
        draft = extras.draft
        # It is loaded first and lies on the first GPU where there is room.
        small = replace(
            inputs, architecture=draft.architecture, weights=draft.own_weights, kv_type=draft.kv_type,
            extras=NO_EXTRAS, machine=replace(inputs.machine, gpus=inputs.machine.gpus[:1]),
            settings={name: value for name, value in inputs.settings.items() if name != "tensor_parallel"},
        )  # fmt: skip
        devices = beside(devices, forecast(small).devices)
    devices = pooled(devices, inputs.machine)
    return Footprint(
        engine=NAME, context=inputs.context, parallel=inputs.parallel, kv_type=inputs.kv_type, devices=tuple(devices),
        reasons=_reasons(inputs, read, devices, adapters), kv_capacity_tokens=read.cache_tokens,
    )  # fmt: skip


def _reasons(inputs: MemoryInputs, read: _Read, devices: list[DeviceFootprint], adapters: Range) -> tuple[Reason, ...]:
    cache = sum(device.kv_cache.expected for device in devices)
    reasons = [
        *tensors_of(inputs.weights),
        Reason("kv-cache", text("the KV cache of {tokens} tokens in {type} takes {size}", tokens=read.cache_tokens,
                                type=inputs.kv_type, size=format_bytes(cache)), _SOURCE),
        Reason("compute", text("prompts are read in chunks of {tokens} tokens", tokens=read.chunk), _SOURCE),
        *extra_reasons(inputs.extras, lora=adapters, lora_source="exllamav3 1.6.5 model/lora.py"),
        visible_memory(),
        not_measured(NAME, _SOURCE),
    ]  # fmt: skip
    if _keeps_rings(inputs.architecture):
        reasons.append(
            Reason("rings", text("layers with a sliding window keep it for each of {count} sequences",
                                 count=read.batch), "exllamav3 1.6.5 modules/sliding_attn.py; TabbyAPI max_batch_size")
        )  # fmt: skip
    if len(inputs.machine.gpus) > 1 and read.ranks == 1:
        reasons.append(
            Reason("autosplit", text("layers fill one GPU after the other; {reserve} of the first one stay free",
                                     reserve=format_bytes(read.reserve)), "TabbyAPI autosplit_reserve")
        )  # fmt: skip
    needed = inputs.context * inputs.parallel
    if needed > read.cache_tokens:
        reasons.append(
            Reason("cache-size", text("cache_size holds {tokens} tokens, and {needed} are wanted",
                                      tokens=read.cache_tokens, needed=needed), _SOURCE)
        )  # fmt: skip
    reasons.extend(does_not_fit(device, _SOURCE) for device in devices if not device.fits)
    return tuple(reasons)
