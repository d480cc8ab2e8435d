"""Which memory is promised to which instance, device by device. It never promises more than there is.

What is reserved is predicted until the instance runs and measured afterwards. A measurement may be more than what was
predicted, and other programs may take memory at any time: then what is free is negative, and nothing new is promised
until room was made.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from ansambl.domain.units import Bytes
from ansambl.runtime.scheduling.records import RAM, DeviceView, Memory

_RAISED = 1.15
"""After an out-of-memory a forecast is raised by at least this factor."""


class Ledger:
    """The reservations of all instances.

    Args:
        totals: bytes of each device.
        limits: bytes of a device that models may use at most; a device that is left out has no limit.
    """

    def __init__(self, totals: Memory, limits: Memory | None = None) -> None:
        self._capacity: dict[str, int] = {}
        self._total: dict[str, int] = {}
        self.resize(totals, limits)
        self._foreign: dict[str, int] = {}
        self._reserved: dict[str, dict[str, int]] = {}

    def resize(self, totals: Memory, limits: Memory | None = None) -> None:
        """There is that much from now on, as the arguments of the class say; what is reserved stays reserved."""
        limits = limits or {}
        self._capacity = {one: max(0, min(total, limits.get(one, total))) for one, total in totals.items()}
        self._total = dict(totals)

    @property
    def names(self) -> tuple[str, ...]:
        """The devices."""
        return tuple(self._capacity)

    def counted(self, memory: Memory) -> Memory:
        """The part of `memory` that is on the devices of this ledger.

        Of others, such as a GPU whose memory no driver tells, nobody knows what there is: nothing there is counted.
        """
        return {device: size for device, size in memory.items() if device in self._capacity}

    def usable(self, device: str) -> int:
        """Bytes that models may use of a device now: its limit, or what other programs leave of it."""
        return max(0, min(self._capacity.get(device, 0), self._total.get(device, 0) - self._foreign.get(device, 0)))

    def capacity(self, device: str) -> int:
        """Bytes that models may use of a device that no other program uses."""
        return self._capacity.get(device, 0)

    def free(self) -> dict[str, int]:
        """What may still be promised on each device; negative where more is held than may be."""
        left = {one: self.usable(one) for one in self._capacity}
        for held in self._reserved.values():
            for device, size in held.items():
                left[device] = left.get(device, 0) - size
        return left

    def holds(self, model: str) -> Memory:
        """What is reserved for an instance; nothing for one that has no reservation."""
        return _memory(self._reserved.get(model, {}))

    def fits(self, model: str, memory: Memory) -> bool:
        """Whether `memory` can be reserved for an instance in place of what is reserved for it."""
        return not lacking(memory, self.free(), self._reserved.get(model, {}))

    def reserve(self, model: str, memory: Memory) -> bool:
        """Promise `memory` to an instance, in place of what it had; False, and nothing changes, where it does not fit.

        Memory that the instance has already always fits, and so does none at all.
        """
        if not self.fits(model, memory):
            return False
        self.note(model, memory)
        return True

    def note(self, model: str, memory: Memory) -> None:
        """An instance holds that much, as was measured; whether or not it may."""
        self._reserved[model] = {device: int(size) for device, size in memory.items() if size > 0}

    def release(self, model: str) -> None:
        """An instance holds nothing any more."""
        self._reserved.pop(model, None)

    def set_foreign(self, held: Memory) -> None:
        """What other programs hold on the devices now."""
        self._foreign = {device: max(0, int(size)) for device, size in held.items()}

    def raised(self, model: str, memory: Memory) -> Memory:
        """The forecast that follows from an out-of-memory: `memory`, reserved for the instance, was not enough.

        It is more than what it was given, and at least what was free on the devices that ran out: the GPUs where it
        uses any, else RAM. It is at most what the device has, so that it can be tried at all.
        """
        free, own = self.free(), self._reserved.get(model, {})
        suspects = {device for device in memory if device != RAM and memory[device]} or {RAM}
        found = {}
        for device, size in memory.items():
            least = ceil(size * _RAISED)
            if device in suspects:
                least = max(least, free.get(device, 0) + own.get(device, 0))
            found[device] = max(size, min(least, self.usable(device)))
        return _memory(found)

    def devices(self) -> list[DeviceView]:
        """Snapshots of the devices; what a limit leaves to other programs is held by them first, and does not show."""
        reserved: dict[str, int] = dict.fromkeys(self._capacity, 0)
        for held in self._reserved.values():
            for device, size in held.items():
                reserved[device] = reserved.get(device, 0) + size
        return [
            DeviceView(one, Bytes(size), Bytes(reserved[one]), Bytes(size - self.usable(one)))
            for one, size in self._capacity.items()
        ]


def lacking(needs: Mapping[str, int], free: Mapping[str, int], own: Mapping[str, int] | None = None) -> Memory:
    """By device, what `needs` is more than what is `free` together with what it has already of its `own`."""
    own = own or {}
    return _memory(
        {
            device: size - own.get(device, 0) - free.get(device, 0)
            for device, size in needs.items()
            if size > own.get(device, 0) and size - own.get(device, 0) > free.get(device, 0)
        }
    )


def _memory(sizes: Mapping[str, int]) -> Memory:
    return {device: Bytes(size) for device, size in sizes.items()}
