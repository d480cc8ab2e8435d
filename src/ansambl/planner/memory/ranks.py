"""Tensor parallel: which numbers of GPUs an engine can divide a model over, and what each of them holds."""

from __future__ import annotations

from fractions import Fraction

from ansambl.domain.architecture import Architecture, Attention, LayerGroup
from ansambl.domain.device import PlannedDevice
from ansambl.domain.errors import UsageError
from ansambl.domain.text import text
from ansambl.domain.units import Bytes
from ansambl.planner.memory.extras import Lora, LoraParameters, lora_parameters
from ansambl.planner.memory.inputs import MemoryInputs, Settings


def chosen_gpus(
    inputs: MemoryInputs, given: Settings, engine: str, setting: str = "tensor_parallel"
) -> tuple[PlannedDevice, ...]:
    """The GPUs that tensor parallel takes: the machine's first ones.

    Raises:
        UsageError: the machine has no or too few GPUs, or the model's heads cannot be divided by them.
    """
    gpus, heads = inputs.machine.gpus, inputs.architecture.heads
    if not gpus:
        raise UsageError(
            text("machine {machine} has no GPU for {engine}; choose llama.cpp or another machine",
                 machine=inputs.machine.name, engine=engine)
        )  # fmt: skip
    ranks = given.whole(setting, 1)
    if ranks > len(gpus):
        raise UsageError(
            text("{setting} is {ranks}, but machine {machine} has {count} GPUs", setting=setting, ranks=ranks,
                 machine=inputs.machine.name, count=len(gpus))
        )  # fmt: skip
    if heads and heads % ranks:
        raise UsageError(
            text("{setting} is {ranks}, but the model's {heads} attention heads cannot be divided by it; "
                 "choose a number that divides them", setting=setting, ranks=ranks, heads=heads)
        )  # fmt: skip
    return gpus[:ranks]


def kv_heads(architecture: Architecture, group: LayerGroup) -> int:
    """KV heads of a layer, as its widths tell: a head of K is as wide as one of the query."""
    query = architecture.query_width or architecture.hidden
    size = query // architecture.heads if architecture.heads else 0
    return max(1, round(group.key_width / size)) if size else 1


def kv_share(architecture: Architecture, group: LayerGroup, ranks: int) -> Fraction:
    """The part of a layer's KV cache that one of `ranks` GPUs holds: a KV head is never divided.

    Latent layers keep all of it on every GPU.
    """
    if ranks == 1 or group.attention is Attention.LATENT:
        return Fraction(1)
    if group.attention is Attention.RECURRENT:
        return Fraction(1, ranks)
    return Fraction(1, min(ranks, kv_heads(architecture, group)))


def lora_slots(inputs: MemoryInputs, *, slots: int, rank: int, ranks: int) -> tuple[LoraParameters, int, int]:
    """What LoRA slots of `rank` take of each GPU when all linear layers have them: parameters, and 16-bit bytes.

    A is whole on every GPU where the layer's outputs are divided, and B where its inputs are; the bytes are those of
    attention and dense layers, and those of experts.
    """
    found = lora_parameters(inputs.architecture, rank)
    # Column parallel layers divide B, row parallel ones (o_proj, down_proj) divide A.
    row = lora_parameters(inputs.architecture, rank, ("o_proj", "down_proj"))
    inputs_whole, outputs_whole = found.inputs - row.inputs, row.outputs
    divided = row.inputs + (found.outputs - row.outputs)
    dense = 2 * slots * (inputs_whole + outputs_whole + -(-divided // ranks))
    return found, dense, 2 * slots * found.experts


def allowed_rank(lora: Lora | None, given: Settings, ranks: tuple[int, ...], default: int) -> int:
    """``max_lora_rank``: as set, else the smallest of `ranks` that holds the adapters, else the default.

    Raises:
        UsageError: the set one is less than the adapters' rank.
    """
    wanted = lora.rank if lora is not None else 1
    fitting = next((rank for rank in ranks if rank >= max(wanted, default)), max(wanted, ranks[-1]))
    rank = given.whole("max_lora_rank", fitting, 1, 1 << 16)
    if rank < wanted:
        raise UsageError(
            text("max_lora_rank is {rank}, but the LoRA adapters have rank {wanted}", rank=rank, wanted=wanted)
        )
    return rank


def least_memory(gpus: tuple[PlannedDevice, ...]) -> Bytes:
    """The memory of the smallest of some GPUs."""
    return Bytes(min(gpu.memory for gpu in gpus))
