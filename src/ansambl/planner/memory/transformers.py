"""Memory of Hugging Face Transformers: weights in the loaded number type, a KV cache that grows, whole prompts at once.

* Weights as stored by default (``dtype="auto"``); MXFP4 experts are unpacked to bf16 where their kernels are missing.
* ``device_map="auto"`` gives each of several GPUs an equal part and one block more, of a single GPU 90 %; what is left
  lies in RAM and is copied to a GPU for each pass.
* The KV cache is made anew for every token (``torch.cat``), sliding layers keep the window; there are no pages.
* A prompt passes in one piece unless prefill_chunk_size is set; eager attention makes heads × tokens² products.

Source: transformers 5.23 ``cache_utils.py``, ``integrations/accelerate.py``, ``quantizers/``, ``generation/utils.py``.
Checked against the tensors that small Llama models held (``tests/data/planner/transformers_cases.json``), not on a GPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ansambl.domain.architecture import Attention
from ansambl.domain.device import PlannedDevice
from ansambl.domain.errors import UsageError
from ansambl.domain.footprint import NOTHING, DeviceFootprint, Footprint, Range, Reason
from ansambl.domain.text import text
from ansambl.domain.units import GIB, MIB, Bytes, format_bytes
from ansambl.planner.memory import kv, loaded
from ansambl.planner.memory.extras import NO_EXTRAS, beside, extra_reasons, lora_files, plus, pooled, projector_compute
from ansambl.planner.memory.inputs import MemoryInputs, Settings
from ansambl.planner.memory.shares import (
    CUDA_CONTEXT,
    around,
    does_not_fit,
    estimated_size,
    partly_measured,
    usable,
    visible_memory,
)

NAME = "transformers"
SETTINGS = frozenset(
    {
        "engine_version", "dtype", "quantization", "double_quant", "mxfp4_kernels", "attention", "prefill_chunk_size",
        "device_map", "ram_margin",
    }
)  # fmt: skip
"""The settings that change its memory."""

KV_TYPES = frozenset({"f16", "bf16", "f32"})
"""The KV cache is in the model's number type; quantized caches of other packages are not counted here."""

_SOURCE = "transformers 5.23 cache_utils.py, integrations/accelerate.py, generation/utils.py"
_MEASURED = "peak of tensors with torch 2.14 and transformers 5.23 on small Llama models"
_DTYPES = ("auto", "bfloat16", "float16", "float32")
_QUANTIZATIONS = ("auto", "none", "bnb-4bit", "bnb-8bit")
_ATTENTIONS = ("auto", "sdpa", "eager", "flash_attention_2", "flash_attention_3")
# Families that have no SDPA there: attention is eager unless another one is asked for.
_EAGER = frozenset({"gpt_oss", "gpt-oss"})
# Of a GPU's free memory, what "auto" gives to weights; bitsandbytes takes 90 % of that again.
_SINGLE, _BNB = 0.9, 0.9
_RAM_SHARE = 0.9
# Bytes for each token and element of the hidden state beside the feed forward, for each product of full attention, and
# for each word of the vocabulary: found on the cases named above.
_HIDDEN, _PRODUCT, _LOGITS = 8, 10, 6
_LOW, _HIGH, _EXPERTS_HIGH = 0.8, 1.3, 2.0
# The caching allocator keeps what growing caches left behind; how much is not measured.
_GROWTH_HIGH = 1.25
# Resident once torch 2.14 and transformers 5.23 are imported: 703 MiB; with a GPU's libraries more. The server of 5.19
# with torch 2.13 for the processor held 457 MiB in all after an answer, its model of 2 MB among it.
_PROCESS = Range(Bytes(440 * MIB), Bytes(round(1.5 * GIB)), Bytes(4 * GIB))


@dataclass(frozen=True, slots=True)
class _Read:
    weights: Range
    eager: bool
    chunk: int
    bnb: bool
    unpacked: bool
    ram_margin: int
    gpus: tuple[PlannedDevice, ...]


def _weights(inputs: MemoryInputs, given: Settings) -> tuple[Range, bool, bool]:
    """The loaded size, whether bitsandbytes made it, and whether MXFP4 was unpacked."""
    architecture, weights = inputs.architecture, inputs.weights
    dtype = given.one_of("dtype", "auto", _DTYPES)
    quantization = given.one_of("quantization", "auto", _QUANTIZATIONS)
    bnb = quantization.startswith("bnb")
    if bnb and dtype == "float32":
        raise given.contradiction("quantization", "dtype", text("quantized layers are computed in 16 bits"))
    if given.has("double_quant") and quantization != "bnb-4bit":
        raise given.contradiction("double_quant", "quantization", text("only bnb-4bit has scales to quantize"))
    if bnb:
        if weights.expert_format == "mxfp4":
            raise given.contradiction("quantization", "dtype", text("the checkpoint is quantized already"))
        bits = loaded.BNB8_BITS
        if quantization == "bnb-4bit":
            bits = loaded.BNB4_DOUBLE_BITS if given.switch("double_quant", False) else loaded.BNB4_BITS
        return loaded.in_bitsandbytes(architecture, weights, bits), True, False
    if weights.expert_format == "mxfp4":
        size, unpacked = _mxfp4(inputs, given, quantization)
        return size, False, unpacked
    if dtype == "auto" or (dtype != "float32" and loaded.is_sixteen_bit(architecture, weights)):
        return loaded.as_stored(weights), False, False
    return loaded.in_float(architecture, weights, 4 if dtype == "float32" else 2), False, False


def _mxfp4(inputs: MemoryInputs, given: Settings, quantization: str) -> tuple[Range, bool]:
    """The loaded size of an MXFP4 checkpoint, and whether it may have been unpacked."""
    big = loaded.mxfp4_unpacked(inputs.architecture, inputs.weights)
    small = loaded.as_stored(inputs.weights)
    if quantization == "none" or not given.switch("mxfp4_kernels", True):
        return big, True
    if given.has("mxfp4_kernels"):
        return small, False
    # Whether the kernels are installed is not known here.
    return Range(small.low, big.expected, big.high), True


def _read(inputs: MemoryInputs) -> _Read:
    given = Settings(inputs.settings, SETTINGS, NAME)
    kv.require_kv_type(inputs.kv_type, KV_TYPES, NAME)
    given.version((5, 23))
    weights, bnb, unpacked = _weights(inputs, given)
    where = given.one_of("device_map", "auto", ("auto", "cuda", "cpu"))
    gpus = () if where == "cpu" else inputs.machine.gpus
    if where == "cuda":
        if not gpus:
            raise UsageError(
                text("machine {machine} has no GPU for {engine}; choose llama.cpp or another machine",
                     machine=inputs.machine.name, engine=NAME)
            )  # fmt: skip
        gpus = gpus[:1]
    if bnb and not gpus:
        raise given.contradiction("quantization", "device_map", text("bitsandbytes needs a GPU here"))
    attention = given.one_of("attention", "auto", _ATTENTIONS)
    eager = attention == "eager" or (attention == "auto" and inputs.architecture.family.lower() in _EAGER)
    return _Read(
        weights=weights, eager=eager, chunk=given.whole("prefill_chunk_size", inputs.context), bnb=bnb,
        unpacked=unpacked, ram_margin=given.whole("ram_margin", 2 * GIB, 0), gpus=gpus,
    )  # fmt: skip


def _cache(inputs: MemoryInputs) -> Range:
    """Bytes of the cache when every sequence is full; growing needs one layer's K or V once more."""
    size = largest = 0
    for group in inputs.architecture.layers:
        tokens = inputs.context
        if group.attention is Attention.SLIDING and group.window:
            tokens = min(group.window - 1, inputs.context)
        one = math.ceil(kv.cell_bytes(group, inputs.kv_type) * tokens) * inputs.parallel
        largest = max(largest, one)
        size += group.count * (one + group.state_bytes * inputs.parallel)
    return Range(Bytes(size), Bytes(size + largest), Bytes(round(size * _GROWTH_HIGH) + largest))


def _compute(inputs: MemoryInputs, read: _Read) -> Range:
    """The widest part of a layer for all tokens of a pass, its attention, and the logits of one row a sequence."""
    architecture = inputs.architecture
    tokens = min(read.chunk, inputs.context) * inputs.parallel
    query = architecture.query_width or architecture.hidden
    experts = architecture.experts_active * (architecture.expert_feed_forward or 0)
    inside = 3 * max(architecture.feed_forward or 0, experts, query)
    hidden = tokens * architecture.hidden * _HIDDEN
    layer = tokens * inside * 2 + hidden
    products = architecture.heads * tokens * inputs.context * _PRODUCT + hidden if read.eager else 0
    logits = inputs.parallel * architecture.vocabulary * _LOGITS
    expected = max(layer, products) + logits
    # Experts sort and gather their tokens in ways that differ by model.
    high = max(layer * (_EXPERTS_HIGH if architecture.experts else _HIGH), products * _HIGH) + logits * _HIGH
    return Range(Bytes(int(expected * _LOW)), Bytes(expected), Bytes(math.ceil(high)))


def _shares(read: _Read, layers: int) -> tuple[list[float], float]:
    """The part of the weights that each GPU gets, and the part that stays in RAM, judged on the high end."""
    size = max(1, read.weights.high)
    left = 1.0
    parts = []
    for position, gpu in enumerate(read.gpus):
        alone = len(read.gpus) == 1
        most = usable(gpu) * (_SINGLE if alone else 1.0) * (_BNB if read.bnb else 1.0) / size
        last = position == len(read.gpus) - 1
        # A block more than an equal part; the last one takes what is left.
        part = min(most, left if last else min(left, 1 / len(read.gpus) + 1.25 / layers))
        parts.append(part)
        left = max(0.0, left - part)
    return parts, left


def _scaled(size: Range, part: float, slack: float) -> Range:
    if part >= 1.0:
        return size
    return Range(
        Bytes(int(size.low * max(0.0, part - slack))), Bytes(round(size.expected * part)),
        Bytes(round(size.high * min(1.0, part + slack))),
    )  # fmt: skip


def forecast(inputs: MemoryInputs) -> Footprint:
    """What Transformers will need of each GPU and of the RAM.

    Raises:
        UsageError: a setting makes no sense, is not known or contradicts another.
    """
    read = _read(inputs)
    architecture, extras = inputs.architecture, inputs.extras
    parts, left = _shares(read, max(1, architecture.layer_count)) if read.gpus else ([], 1.0)
    cache, compute = _cache(inputs), _compute(inputs, read)
    adapters = lora_files(architecture, extras.lora, 4, 4) if extras.lora else NOTHING
    devices = []
    for position, (gpu, part) in enumerate(zip(read.gpus, parts, strict=True)):
        if not part and position:
            continue
        # Where a layer's weights lie in RAM its cache is still on a GPU, the first one.
        held = part + (left if not position else 0.0)
        kept = _scaled(cache, held, 1 / max(1, architecture.layer_count))
        devices.append(
            DeviceFootprint(
                name=gpu.model.title, kind=gpu.kind, index=gpu.index, capacity=gpu.memory, usable=usable(gpu),
                weights=_scaled(read.weights, part, 0.0 if left else 1 / max(1, architecture.layer_count)),
                kv_cache=kept, kv_needed=kept, compute=compute, overhead=around(CUDA_CONTEXT, 0, 2),
            )
        )  # fmt: skip
    ram = inputs.machine.ram
    whole = not read.gpus
    devices.append(
        DeviceFootprint(
            name=ram.model.title, kind=ram.kind, index=ram.index, capacity=ram.memory,
            usable=Bytes(round(usable(ram, read.ram_margin) * (1.0 if whole else _RAM_SHARE))),
            weights=_scaled(read.weights, left, 0.0), kv_cache=cache if whole else NOTHING,
            kv_needed=cache if whole else NOTHING, compute=compute if whole else NOTHING, overhead=_PROCESS,
        )
    )  # fmt: skip
    devices[0] = plus(devices[0], weights=adapters)
    if extras.projector is not None:
        devices[0] = plus(devices[0], compute=Range(Bytes(0), Bytes(0), projector_compute(extras.projector).high))
    if extras.draft is not None:
        draft = extras.draft
        small = replace(
            inputs, architecture=draft.architecture, weights=draft.own_weights, extras=NO_EXTRAS,
            machine=replace(inputs.machine, gpus=read.gpus[:1]), settings={},
        )  # fmt: skip
        devices = beside(devices, forecast(small).devices)
    devices = pooled(devices, inputs.machine)
    return Footprint(
        engine=NAME, context=inputs.context, parallel=inputs.parallel, kv_type=inputs.kv_type, devices=tuple(devices),
        reasons=_reasons(inputs, read, devices, left, adapters),
    )  # fmt: skip


def _reasons(
    inputs: MemoryInputs, read: _Read, devices: list[DeviceFootprint], left: float, adapters: Range
) -> tuple[Reason, ...]:
    cache = sum(device.kv_cache.low for device in devices)
    reasons = [
        Reason("weights", text("weights take {size} once they are loaded", size=format_bytes(read.weights.expected)),
               inputs.weights.source),
        *estimated_size(inputs.weights),
        Reason("kv-cache",
               text("the KV cache of {parallel} × {context} tokens in {type} takes {size}", parallel=inputs.parallel,
                    context=inputs.context, type=inputs.kv_type, size=format_bytes(cache)), _SOURCE),
        Reason("compute", text("a prompt passes in pieces of {tokens} tokens", tokens=min(read.chunk, inputs.context)),
               _SOURCE),
        *extra_reasons(inputs.extras, lora=adapters, lora_source="peft 0.21: adapters are kept in 32 bits"),
        partly_measured(_MEASURED),
    ]  # fmt: skip
    if read.gpus:
        reasons.append(visible_memory())
    if read.unpacked:
        reasons.append(
            Reason("mxfp4-unpacked", text("MXFP4 experts are unpacked to bf16 unless their kernels are installed"),
                   loaded.MXFP4_SOURCE)
        )  # fmt: skip
    if read.bnb:
        reasons.append(
            Reason("bitsandbytes", text("linear layers are quantized while they are loaded; embedding, output and "
                                        "experts in one tensor stay in 16 bits"), loaded.BNB_SOURCE)
        )  # fmt: skip
    if read.eager:
        reasons.append(
            Reason("eager-attention", text("attention is computed in full: its memory grows with the square of the "
                                           "context"), "transformers 5.23 models/gpt_oss/modeling_gpt_oss.py")
        )  # fmt: skip
    if left and read.gpus:
        reasons.append(
            Reason("offload", text("{share} % of the weights lie in RAM and are copied to a GPU for each pass",
                                   share=math.ceil(left * 100)), _SOURCE)
        )  # fmt: skip
    reasons.extend(does_not_fit(device, _SOURCE) for device in devices if not device.fits)
    return tuple(reasons)
