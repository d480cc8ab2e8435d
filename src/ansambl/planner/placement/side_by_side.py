"""Several models on the same devices: shares that leave room for each other, and whether they add up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ansambl.domain.device import DeviceKind
from ansambl.domain.planning import PlannedPlacement
from ansambl.domain.units import Bytes
from ansambl.planner import memory
from ansambl.planner.fitting import Wish, memory_inputs
from ansambl.planner.memory.shares import VISIBLE_LOW
from ansambl.planner.placement.claims import RAM, capacities, claims

# Of a GPU's visible memory the least share that an engine which takes a budget is given, and the step between shares.
_LEAST_SHARE, _SHARE_STEP = 0.05, 0.01
# From here on a share is as good as the whole that such an engine takes by itself: next to nothing is left for others.
_WHOLE_SHARE = 0.9


def least_budget(first: PlannedPlacement, wish: Wish) -> PlannedPlacement | None:
    """The same with the least share of the GPUs that holds what is wanted, so that others find room beside it.

    None where its engine takes no budget, the wish says one already, or it needs nearly all.
    """
    if "gpu_memory_utilization" in wish.settings or first.footprint.kv_capacity_tokens is None:
        return None
    gpus = [one for one in first.footprint.devices if one.kind is DeviceKind.GPU]
    need = max((one.needed.high / (one.capacity * VISIBLE_LOW) for one in gpus), default=1.0)
    share = round(max(_LEAST_SHARE, math.ceil(need / _SHARE_STEP + 1) * _SHARE_STEP), 2)
    if share >= _WHOLE_SHARE:
        return None
    settings = {**first.settings, "gpu_memory_utilization": share}
    inputs = replace(wish, settings=settings)
    again = memory.forecast(first.engine, memory_inputs(first.candidate, first.machine, inputs))
    if not again.fits:
        return None
    return replace(first, footprint=again, settings=settings)


@dataclass(frozen=True, slots=True)
class Together:
    """Placements for one machine, each with a share of its own. `missing` is what the fullest device lacks, 0 if none.

    `taken` and `capacity` are bytes of the fullest device at the high end.
    """

    placements: tuple[PlannedPlacement, ...]
    taken: Bytes
    capacity: Bytes

    @property
    def missing(self) -> Bytes:
        """By how much they do not fit together."""
        return Bytes(max(0, self.taken - self.capacity))


def side_by_side(placements: Sequence[PlannedPlacement], wishes: Sequence[Wish]) -> Together:
    """The placements of one machine, all on the same devices, with budgets that leave room for the others.

    Args:
        placements: at least one; all for the same machine.
        wishes: what each was asked for, in the same order.
    """
    chosen = tuple(least_budget(one, wish) or one for one, wish in zip(placements, wishes, strict=True))
    machine = max((one.machine for one in chosen), key=lambda one: len(one.gpus))
    room = capacities((machine,))
    taken = dict.fromkeys(room, 0)
    positions = {gpu.index: position for position, gpu in enumerate(machine.gpus)}
    for one in chosen:
        own = tuple(positions[gpu.index] for gpu in one.machine.gpus)
        for device, size in claims(one, 0, own).items():
            taken[device] += size
    used = [device for device in taken if taken[device]] or [(0, RAM)]
    fullest = max(used, key=lambda one: (taken[one] - room[one], one))
    return Together(chosen, Bytes(taken[fullest]), Bytes(room[fullest]))
