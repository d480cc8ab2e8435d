"""Machines that can be put together from parts: what fits on a board, which power supply is needed, what it costs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ansambl.domain.device import DeviceKind, DeviceModel, PlannedDevice, PlannedMachine
from ansambl.domain.errors import UsageError
from ansambl.domain.purchase import Build, Part, PartType
from ansambl.domain.text import text
from ansambl.domain.units import GIB, Bytes

OTHER_WATTS = 100
"""Watts of board, RAM and disks: 365retail.co.uk/?p=29465 (100 to 200 W in workstations; the low end for a home)."""

HEADROOM = 1.3
"""What a power supply must give for each watt drawn: 365retail.co.uk/?p=29465 (1.3 to 1.5)."""


MOST_BUILDS = 1_500
"""Machines that are looked at; more would take minutes to compare."""


def drawn(cpu_watts: int, gpu_watts: int, gpus: int) -> int:
    """Watts that a build draws at most."""
    return cpu_watts + gpu_watts * gpus + OTHER_WATTS


def supply_for(watts: int, supplies: Iterable[Part]) -> Part | None:
    """The cheapest power supply that gives `HEADROOM` times `watts`; None when none does."""
    able = [one for one in supplies if one.watts is not None and one.watts >= watts * HEADROOM]
    return min(able, key=_cheapest, default=None)


def find_builds(parts: Iterable[Part]) -> tuple[Build, ...]:
    """Every machine that the parts allow, whole ones and those put together, in the order of their ids.

    A build takes one CPU on a board of its socket, one kind of card as often as board and case have room, one kind of
    RAM kit of the board's type, the cheapest power supply that is strong enough, the cheapest case (with a cooler where
    the CPU brings none) and the cheapest disk.

    Raises:
        UsageError: the parts allow more than `MOST_BUILDS` machines.
    """
    of: dict[PartType, list[Part]] = {kind: [] for kind in PartType}
    for part in sorted(parts, key=lambda one: one.name):
        of[part.type].append(part)
    found = [_whole(one) for one in of[PartType.MACHINE] if one.machine is not None]
    pairs = [
        (cpu, board) for cpu in of[PartType.CPU] for board in of[PartType.BOARD]
        if cpu.socket == board.socket and cpu.watts is not None and cpu.device is not None
    ]  # fmt: skip
    for cpu, board in pairs if of[PartType.SSD] else ():
        for one in _on_board(cpu, board, of):
            found.append(one)
            if len(found) > MOST_BUILDS:
                raise UsageError(
                    text(
                        "the parts can be put together to more than {most} machines; give fewer parts", most=MOST_BUILDS
                    )
                )
    return tuple(sorted(found, key=lambda one: one.id))


def useful(builds: Sequence[Build]) -> tuple[Build, ...]:
    """The builds less those that another is at least as good as for no more money; of equals the first stays."""
    rows = [(one, (-one.usd.low, -one.usd.high, *_measures(one))) for one in builds]
    kept: list[tuple[Build, tuple[float, ...]]] = []
    # Whoever beats a build costs no more, and of two that cost the same the better one comes first.
    for one, row in sorted(
        rows, key=lambda pair: (pair[0].usd.low, pair[0].usd.high, tuple(-x for x in pair[1]), pair[0].id)
    ):
        if not any(all(a >= b for a, b in zip(other, row, strict=True)) for _, other in kept):
            kept.append((one, row))
    return tuple(sorted((one for one, _ in kept), key=lambda one: one.id))


def _measures(build: Build) -> tuple[float, ...]:
    """Memory and its speed, what a data sheet says of operations, and which engines run on it: the more, the better."""
    machine = build.machine
    gpus = machine.gpus
    rates = [max((high for _, high in gpu.model.operations.values()), default=0.0) for gpu in gpus]
    return (
        sum(gpu.memory for gpu in gpus),
        max((gpu.memory for gpu in gpus), default=0),
        min((gpu.model.bandwidth or 0.0 for gpu in gpus), default=0.0),
        sum(gpu.model.bandwidth or 0.0 for gpu in gpus),
        min(rates, default=0.0),
        float(all(gpu.model.vendor == "nvidia" for gpu in gpus) and bool(gpus)),
        0.0 if machine.unified else machine.ram.memory,
        machine.ram.model.bandwidth or 0.0,
    )


def _whole(part: Part) -> Build:
    machine = part.machine
    if machine is None:
        message = f"{part.name} is no machine"
        raise ValueError(message)
    return Build(part.name, part.title, ((part, 1),), machine, part.watts)


def _on_board(cpu: Part, board: Part, of: dict[PartType, list[Part]]) -> Iterator[Build]:
    disk = min(of[PartType.SSD], key=_cheapest)
    for gpu in of[PartType.GPU]:
        for count in range(1, board.gpus + 1):
            watts = drawn(cpu.watts or 0, gpu.watts or 0, count)
            supply = supply_for(watts, of[PartType.PSU]) if gpu.watts else None
            cases = [one for one in of[PartType.CASE] if one.gpus >= count and (cpu.cooler or one.cooler)]
            case = min(cases, key=_cheapest, default=None)
            if supply is None or case is None:
                continue
            for kit, kits in _memories(board, of[PartType.RAM]):
                chosen = ((gpu, count), (cpu, 1), (board, 1), (kit, kits), (supply, 1), (case, 1), (disk, 1))
                yield _put_together(chosen, watts)


def _memories(board: Part, kits: Iterable[Part]) -> list[tuple[Part, int]]:
    """For each amount of RAM that the board can hold the cheapest kits that make it."""
    cheapest: dict[int, tuple[tuple[float, int, str], Part, int]] = {}
    for kit in kits:
        for count in range(1, board.kits + 1) if kit.ram_type == board.ram_type else ():
            size, rank = (kit.memory or 0) * count, (kit.price.usd.middle * count, count, kit.name)
            if size not in cheapest or rank < cheapest[size][0]:
                cheapest[size] = (rank, kit, count)
    return [(kit, count) for _, (_, kit, count) in sorted(cheapest.items(), key=lambda pair: pair[0])]


def _put_together(parts: Sequence[tuple[Part, int]], watts: int) -> Build:
    (gpu, count), (cpu, _), (board, _), (kit, kits) = parts[:4]
    memory = Bytes((kit.memory or 0) * kits)
    size = f"{memory // GIB}"
    build_id = f"{gpu.name}{f'-x{count}' if count > 1 else ''}-{cpu.name}-{board.name}-{size}g"
    title = f"{f'{count} × ' if count > 1 else ''}{gpu.title}, {cpu.title}, {size} GB RAM"
    machine = PlannedMachine(
        build_id, title,
        tuple(
            PlannedDevice(DeviceKind.GPU, _known(gpu), _known(gpu).memory or Bytes(0), index) for index in range(count)
        ),
        PlannedDevice(DeviceKind.RAM, _known(cpu), memory),
    )  # fmt: skip
    return Build(build_id, title, tuple(parts), machine, watts)


def _known(part: Part) -> DeviceModel:
    if part.device is None:
        message = f"{part.name} names no device"
        raise ValueError(message)
    return part.device


def _cheapest(part: Part) -> tuple[float, float, str]:
    return part.price.usd.middle, part.price.usd.high, part.name
