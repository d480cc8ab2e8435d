"""What a placement takes of a machine's devices at the high end, and how long its devices are busy for a token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ansambl.domain.device import DeviceKind, PlannedMachine
from ansambl.domain.planning import PlannedPlacement
from ansambl.planner.fitting import TYPICAL_FILL
from ansambl.planner.memory.shares import split_weights, usable
from ansambl.planner.speed.work import kv_read

RAM = -1
"""The position of the RAM among a machine's devices; GPUs count from 0."""

Device = tuple[int, int]
"""A machine's position, and a GPU's position in it or `RAM`."""

UNKNOWN_SECONDS = 0.5
"""Seconds for a token of a placement whose speed nobody knows: slow, so that nothing is promised."""

# Of a placement's weights the part on a device from which on the device is busy with it.
_BUSY = 0.02


def capacities(machines: tuple[PlannedMachine, ...]) -> dict[Device, int]:
    """Bytes that placements may have of each device, on the careful side."""
    found: dict[Device, int] = {}
    for position, machine in enumerate(machines):
        found[position, RAM] = usable(machine.ram)
        for gpu_position, gpu in enumerate(machine.gpus):
            found[position, gpu_position] = usable(gpu)
    return found


def claims(placement: PlannedPlacement, machine: int, gpus: tuple[int, ...]) -> dict[Device, int]:
    """Bytes by device at the high end; the placement's GPUs stand at the positions `gpus` of the machine.

    An engine that fills a budget takes all of it. What lies on a GPU with unified memory is taken from the RAM too.
    """
    taken: dict[Device, int] = {}
    left = list(gpus)
    unified = {gpu.index for gpu in placement.machine.gpus if gpu.model.unified_memory}
    for device in placement.footprint.devices:
        fills = device.kv_cache.high > device.kv_needed.high
        size = max(device.needed.high, device.usable) if fills else device.needed.high
        if device.kind is DeviceKind.RAM:
            taken[machine, RAM] = taken.get((machine, RAM), 0) + size
            continue
        taken[machine, left.pop(0)] = size
        if device.index in unified:
            taken[machine, RAM] = taken.get((machine, RAM), 0) + size
    return taken


@dataclass(frozen=True, slots=True)
class Step:
    """Seconds in which every one of `k` roles gets one token when all answer at once: `fixed` + `slope` × k.

    A straight line between one role and all of them. A batch reads the weights without experts once, of the experts
    those that any of its tokens passes through (as if they were drawn evenly), and the KV cache for each sequence; what
    goes beyond the sequences that the engine takes at once waits its turn.
    """

    fixed: float
    slope: float


def step(placement: PlannedPlacement, roles: int, at_once: int) -> Step:
    """The step of a placement that up to `roles` roles may use, `at_once` of them in one batch."""
    decode = placement.speed.decode
    single = 1 / decode.expected if decode else UNKNOWN_SECONDS
    if roles <= 1:
        return Step(single, 0.0)
    batch = max(1, min(roles, at_once))
    together = single * (_read(placement, batch) / _read(placement, 1)) * roles / batch
    slope = max(0.0, (together - single) / (roles - 1))
    return Step(max(0.0, single - slope), slope)


def _read(placement: PlannedPlacement, sequences: int) -> float:
    """Bytes that a batch of one token for each of some sequences reads."""
    architecture = placement.candidate.architecture
    shares = split_weights(architecture, placement.candidate.weights)
    active = architecture.experts_active / architecture.experts if architecture.experts else 0.0
    plain = shares.layers - shares.experts + (shares.output or shares.embedding)
    cache = kv_read(architecture, placement.kv_type, min(placement.context, TYPICAL_FILL))
    return max(1.0, plain + shares.experts * (1 - (1 - active) ** sequences) + sequences * cache)


def busy(placement: PlannedPlacement, taken: Mapping[Device, int]) -> tuple[Device, ...]:
    """The devices that work on a placement's tokens: those that hold a real part of its weights."""
    total = max(1, placement.candidate.weights.total)
    kinds = {device.kind: device.weights.expected for device in placement.footprint.devices}
    ram = kinds.get(DeviceKind.RAM, 0)
    gpus = tuple(one for one in sorted(taken) if one[1] != RAM)
    at_ram = tuple(one for one in sorted(taken) if one[1] == RAM)
    # With a GPU the RAM holds the embedding, of which a token reads one row.
    if not gpus:
        return at_ram
    embedding = split_weights(placement.candidate.architecture, placement.candidate.weights).embedding
    moved = ram - embedding > _BUSY * total
    unified = placement.machine.unified
    return (*gpus, *at_ram) if moved or unified else gpus
