"""Memory of training a LoRA adapter: with the base model in 16 bits (LoRA) or 4 bits (QLoRA).

For each token and layer, kept for the way back (h hidden, q query, k and v widths, f feed forward, r rank):

* 4 × in + 4 × r for each layer that has an adapter: its input in 32 bits and what A makes of it
* 8 h for the two norms in 32 bits, 2 (2 q + k + v) for the attention, 6 f for gate, its activation and up
* with gradient checkpointing 2 h instead, and one layer's own share 1.4 times while it is computed again
* in full attention 6 × heads × tokens more

and for each token of the batch 14 bytes for each word of the vocabulary while the loss is differentiated: logits in 16
and in 32 bits, their softmax and its gradient. Found on and checked against the peak of tensors that torch 2.14 held
with transformers 5.23 and peft 0.21.2 on small Llama models (``tests/data/planner/training_cases.json``). AdamW keeps
8 bytes for each trained parameter, its 8-bit form 2; parameters and gradients are in 32 bits. On a GPU the allocator's
own loss is not measured; the high end allows for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ansambl.domain.architecture import Architecture, Attention
from ansambl.domain.device import PlannedMachine
from ansambl.domain.errors import NotSupportedError, UsageError
from ansambl.domain.footprint import DeviceFootprint, Footprint, Range, Reason, WeightBytes
from ansambl.domain.text import text
from ansambl.domain.units import GIB, MIB, Bytes, format_bytes
from ansambl.planner.memory import loaded
from ansambl.planner.memory.extras import EXPERTS, LORA_MODULES, LORA_SOURCE, Lora, lora_parameters, require_known
from ansambl.planner.memory.inputs import LONGEST_CONTEXT, MOST_PARALLEL
from ansambl.planner.memory.shares import (
    CUDA_CONTEXT,
    around,
    does_not_fit,
    estimated_size,
    partly_measured,
    usable,
    visible_memory,
)

_SOURCE = "peak of tensors with torch 2.14, transformers 5.23, peft 0.21.2 on small Llama models"
_KBIT_SOURCE = "peft 0.21.2 utils/other.py prepare_model_for_kbit_training; QLoRA (arXiv:2305.14314)"
_PARAMETER, _GRADIENT = 4, 4
_LOGIT_BYTES = 14
_AGAIN_LOW, _AGAIN, _AGAIN_HIGH = 1.0, 1.4, 1.7
# In RAM: 703 MiB once torch and transformers are imported, measured; data and a GPU's libraries by a margin.
_PROCESS = Range(Bytes(703 * MIB), Bytes(2 * GIB), Bytes(6 * GIB))
# Beside the activations: the allocator's loss, a margin and not a measurement.
_ALLOCATOR = 1.2
_DROPOUT_LOW, _DROPOUT, _DROPOUT_HIGH = 0, 1, 4
# A CUDA context, and the workspace of the matrix library (up to 32 MiB for each of several streams).
_OVERHEAD_HIGH = 3


class TrainingMethod(StrEnum):
    """How the base model lies in memory while its adapter is trained."""

    LORA = "lora"
    QLORA = "qlora"


class TrainingOptimizer(StrEnum):
    """What keeps the running averages of the gradients."""

    ADAMW = "adamw"
    ADAMW_8BIT = "adamw-8bit"


_STATES = {TrainingOptimizer.ADAMW: 8, TrainingOptimizer.ADAMW_8BIT: 2}


@dataclass(frozen=True, slots=True)
class TrainingInputs:
    """One training of a LoRA adapter to forecast: on the GPU of `machine` with the most memory.

    `weights` are those of the checkpoint that is loaded. `sequence` is tokens of an example, `batch` examples at once
    (without accumulation). `attention_in_full` says that no fused attention is used.

    Raises:
        UsageError: a number makes no sense, or a module is not known.
        NotSupportedError: the model's layers or widths are not known.
    """

    architecture: Architecture
    weights: WeightBytes
    machine: PlannedMachine
    method: TrainingMethod = TrainingMethod.LORA
    rank: int = 16
    modules: tuple[str, ...] = LORA_MODULES
    sequence: int = 2048
    batch: int = 1
    checkpointing: bool = True
    optimizer: TrainingOptimizer = TrainingOptimizer.ADAMW
    dropout: bool = False
    attention_in_full: bool = False

    def __post_init__(self) -> None:
        require_known(self.architecture)
        Lora(1, self.rank, self.modules)
        for name, value, most in (
            ("sequence", self.sequence, LONGEST_CONTEXT),
            ("batch", self.batch, MOST_PARALLEL),
        ):
            if not 1 <= value <= most:
                raise UsageError(
                    text("{name} is {value}; give a whole number from 1 to {most}", name=name, value=value, most=most)
                )


@dataclass(frozen=True, slots=True)
class _Layers:
    """Bytes for each token over all layers, and those of the greatest one; `adapted` is the adapters' inputs."""

    total: int
    greatest: int
    adapted: int


def _layers(inputs: TrainingInputs) -> _Layers:
    architecture, chosen = inputs.architecture, frozenset(inputs.modules)
    hidden, query = architecture.hidden, architecture.query_width or architecture.hidden
    experts = bool(architecture.experts and architecture.expert_feed_forward)
    wide = architecture.experts_active * (architecture.expert_feed_forward or 0) if experts else 0
    wide = wide or architecture.feed_forward or 0
    total = greatest = adapted = 0
    for group in architecture.layers:
        into = {"q_proj": hidden, "k_proj": hidden, "v_proj": hidden, "o_proj": query}
        if not experts or EXPERTS in chosen:
            into |= {"gate_proj": hidden, "up_proj": hidden, "down_proj": wide}
        inside = sum(width for name, width in into.items() if name in chosen)
        count = sum(name in chosen for name in into)
        attention = 2 * (2 * query + group.key_width + group.value_width)
        if inputs.attention_in_full and group.attention is not Attention.RECURRENT:
            attention += 6 * architecture.heads * inputs.sequence
        layer = 4 * inside + 4 * inputs.rank * count + 8 * hidden + attention + 6 * wide
        if experts:
            # What each chosen expert reads and writes.
            layer += 4 * architecture.experts_active * hidden
        total += group.count * layer
        greatest = max(greatest, layer)
        adapted += group.count * inside
    return _Layers(total, greatest, adapted)


def _activations(inputs: TrainingInputs, trained: int) -> Range:
    """What lies on the GPU beside parameters and optimizer states at the peak."""
    architecture, layers = inputs.architecture, _layers(inputs)
    tokens = inputs.sequence * inputs.batch
    gradients = trained * _GRADIENT
    loss = tokens * _LOGIT_BYTES * architecture.vocabulary
    ends = []
    for again, dropout, slack in (
        (_AGAIN_LOW, _DROPOUT_LOW, 0.9), (_AGAIN, _DROPOUT, 1.0), (_AGAIN_HIGH, _DROPOUT_HIGH, _ALLOCATOR),
    ):  # fmt: skip
        noise = dropout * layers.adapted if inputs.dropout else 0
        if inputs.checkpointing:
            kept = tokens * 2 * architecture.hidden * architecture.layer_count
            one = layers.greatest + (noise / max(1, architecture.layer_count))
            # The logits themselves stay until the step is done.
            work = tokens * (again * one + 2 * architecture.vocabulary)
            # At the first layer on the way back all is kept, at the last one all gradients are there.
            peak = max(kept + loss, work + max(kept + gradients / max(1, architecture.layer_count), gradients))
        else:
            peak = tokens * (layers.total + noise) + max(loss, gradients + tokens * 2 * architecture.vocabulary)
        ends.append(peak * slack)
    return Range(Bytes(int(ends[0])), Bytes(round(ends[1])), Bytes(round(ends[2])))


def _base(inputs: TrainingInputs) -> Range:
    architecture, weights = inputs.architecture, inputs.weights
    if weights.expert_format == "mxfp4":
        if inputs.method is TrainingMethod.QLORA:
            raise NotSupportedError(
                text("an MXFP4 checkpoint cannot be quantized again for QLoRA; choose lora, which unpacks it to bf16")
            )
        return loaded.mxfp4_unpacked(architecture, weights)
    if inputs.method is TrainingMethod.LORA:
        return loaded.in_float(architecture, weights, 2)
    parts = loaded.parameter_parts(architecture, weights)
    found = loaded.in_bitsandbytes(architecture, weights, loaded.BNB4_DOUBLE_BITS)
    # Preparing for training keeps in 32 bits what was not quantized; one matrix at a time is unpacked.
    widest = max(architecture.feed_forward or 0, architecture.expert_feed_forward or 0, architecture.hidden)
    unpacked = 2 * architecture.hidden * widest
    return Range(
        found.low, Bytes(found.expected + 2 * parts.ends + unpacked),
        Bytes(found.high + 2 * parts.ends + 2 * parts.experts + 2 * unpacked),
    )  # fmt: skip


def forecast_training(inputs: TrainingInputs) -> Footprint:
    """What training a LoRA adapter needs of the machine's largest GPU and of its RAM.

    In the footprint `weights` are the base model and the adapter, `compute` the optimizer's states, gradients and
    activations; `context` is the tokens of an example and `parallel` the batch.

    Raises:
        UsageError: the machine has no GPU.
        NotSupportedError: the checkpoint cannot be trained in this way.
    """
    gpus, ram = inputs.machine.gpus, inputs.machine.ram
    if not gpus:
        raise UsageError(
            text("machine {machine} has no GPU to train on; choose another machine", machine=inputs.machine.name)
        )
    gpu = max(gpus, key=lambda one: one.memory)
    found = lora_parameters(inputs.architecture, inputs.rank, inputs.modules)
    trained = found.dense + (found.experts if EXPERTS in inputs.modules else 0)
    adapter = Range(Bytes((trained - found.guessed) * _PARAMETER), *[Bytes(trained * _PARAMETER)] * 2)
    states = trained * _STATES[inputs.optimizer]
    activations = _activations(inputs, trained)
    base = _base(inputs)
    devices = (
        DeviceFootprint(
            name=gpu.model.title, kind=gpu.kind, index=gpu.index, capacity=gpu.memory, usable=usable(gpu),
            weights=base + adapter, compute=activations + Range.exactly(states),
            overhead=around(CUDA_CONTEXT, 0.5, _OVERHEAD_HIGH),
        ),
        DeviceFootprint(
            name=ram.model.title, kind=ram.kind, index=ram.index, capacity=ram.memory, usable=usable(ram),
            overhead=_PROCESS,
        ),
    )  # fmt: skip
    return Footprint(
        engine="peft", context=inputs.sequence, parallel=inputs.batch, kv_type="none", devices=devices,
        reasons=_reasons(inputs, base, trained, states, activations, devices),
    )  # fmt: skip


def _reasons(
    inputs: TrainingInputs, base: Range, trained: int, states: int, activations: Range,
    devices: tuple[DeviceFootprint, ...],
) -> tuple[Reason, ...]:  # fmt: skip
    reasons = [
        Reason("weights",
               text("the base model takes {size} in {bits} bits", size=format_bytes(base.expected),
                    bits=4 if inputs.method is TrainingMethod.QLORA else 16),
               loaded.BNB_SOURCE if inputs.method is TrainingMethod.QLORA else inputs.weights.source),
        *estimated_size(inputs.weights),
        Reason("lora", text("an adapter of rank {rank} has {millions} million parameters", rank=inputs.rank,
                            millions=round(trained / 1e6, 1)), LORA_SOURCE),
        Reason("optimizer", text("gradients take {gradients}, and the optimizer's states {states}",
                                 gradients=format_bytes(trained * _GRADIENT), states=format_bytes(states)),
               "AdamW: two averages in 32 bits; 8-bit optimizers (arXiv:2110.02861): in 8 bits"),
        Reason("activations",
               text("{batch} × {tokens} tokens at once keep up to {size}", batch=inputs.batch,
                    tokens=inputs.sequence, size=format_bytes(activations.high)), _SOURCE),
        Reason("checkpointing", text("gradient checkpointing computes each layer again instead of keeping it")
               if inputs.checkpointing else
               text("without gradient checkpointing all layers' intermediate results are kept; it would save memory"),
               "gradient checkpointing (arXiv:1604.06174)"),
        visible_memory(),
        partly_measured(_SOURCE),
    ]  # fmt: skip
    if inputs.method is TrainingMethod.QLORA:
        reasons.append(
            Reason("kbit", text("embedding, output and what else is not quantized may be kept in 32 bits"),
                   _KBIT_SOURCE)
        )  # fmt: skip
    if inputs.weights.expert_format == "mxfp4":
        reasons.append(
            Reason("mxfp4-unpacked", text("MXFP4 experts are unpacked to bf16 to be trained"), loaded.MXFP4_SOURCE)
        )
    if len(inputs.machine.gpus) > 1:
        reasons.append(
            Reason("one-gpu", text("the forecast is for one GPU; dividing a model for training is not forecast"),
                   _SOURCE)
        )  # fmt: skip
    reasons.extend(does_not_fit(device, _SOURCE) for device in devices if not device.fits)
    return tuple(reasons)
