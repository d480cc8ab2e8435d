"""What the placements of an option take of each device together, for people to look at."""

from __future__ import annotations

from dataclasses import dataclass

from ansambl.domain.device import DeviceKind
from ansambl.domain.footprint import DeviceFootprint, Range
from ansambl.domain.planning import PlanOption, Residency
from ansambl.domain.units import Bytes


@dataclass(frozen=True, slots=True)
class Share:
    """What one placement needs of a device. `swapped` shares are not in memory at the same time."""

    placement: str
    needed: Range
    swapped: bool


@dataclass(frozen=True, slots=True)
class DeviceLoad:
    """One device of one machine with what lies on it. `needed` counts of the swapped shares the greatest alone."""

    machine: str
    name: str
    kind: DeviceKind
    index: int
    capacity: Bytes
    usable: Bytes
    shares: tuple[Share, ...]

    @property
    def needed(self) -> Range:
        """All that is in memory at once."""
        return Range.total(one.needed for one in self.drawn)

    @property
    def drawn(self) -> tuple[Share, ...]:
        """The shares that are in memory at once: all that are resident, and the greatest of those that take turns."""
        swapped = max((one for one in self.shares if one.swapped), key=lambda one: one.needed.high, default=None)
        return tuple(one for one in self.shares if not one.swapped or one is swapped)

    @property
    def fits(self) -> bool:
        """Judged on the high end."""
        return self.needed.high <= self.usable


def device_loads(option: PlanOption) -> tuple[DeviceLoad, ...]:
    """The devices that the option uses, machine by machine in the order of its placements, GPUs first."""
    found: dict[tuple[str, DeviceKind, int], tuple[DeviceFootprint, list[Share]]] = {}
    for placement in option.placements:
        for device in placement.footprint.devices:
            key = (placement.machine.name, device.kind, device.index)
            first, shares = found.setdefault(key, (device, []))
            shares.append(Share(placement.id, device.needed, placement.residency is Residency.SWAPPED))
            # An engine that takes a share of a GPU for itself sees less of it than there is.
            if device.usable > first.usable:
                found[key] = (device, shares)
    machines = list(dict.fromkeys(one.machine.name for one in option.placements))
    loads = [
        DeviceLoad(machine, device.name, kind, index, device.capacity, device.usable, tuple(shares))
        for (machine, kind, index), (device, shares) in found.items()
    ]
    return tuple(sorted(loads, key=lambda one: (machines.index(one.machine), one.kind is DeviceKind.RAM, one.index)))
