"""The memory that models may use on this machine, by the scheduler's devices, and what other programs hold of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import psutil

from ansambl.app.configuration.settings import BudgetSettings
from ansambl.domain.hardware import Gpu, Machine
from ansambl.domain.hardware import Memory as MachineMemory
from ansambl.domain.units import Bytes
from ansambl.foundation.processes import family
from ansambl.hardware.catalog import from_inventory
from ansambl.hardware.files import key_values, read_text, whole_number
from ansambl.hardware.inventory import PROCFS, SYSFS
from ansambl.hardware.probes.amd import read_sysfs_gpus
from ansambl.hardware.probes.gpu_processes import held_by_gpu
from ansambl.hardware.probes.memory import read_memory
from ansambl.hardware.probes.nvidia import read_nvidia_gpus
from ansambl.runtime.scheduling.records import RAM, Memory, gpu_device

Pids: TypeAlias = Callable[[], Collection[int]]
"""The processes of our engines, without their children."""

_SHARE = Path("/usr/share")


@dataclass(frozen=True, slots=True)
class Devices:
    """The devices of a machine as the scheduler names them.

    `whole` is all memory of each, `capacity` the most that models may use of it by ``[budget]``. `names` maps a GPU, by
    its vendor in lower case and its index, to its device: RAM for one that works in it.
    """

    whole: Memory
    capacity: Memory
    names: Mapping[tuple[str, int], str]

    def limited(self, device: str) -> bool:
        """Whether a budget leaves models less of the device than there is."""
        return self.capacity.get(device, 0) < self.whole.get(device, 0)

    def of(self, vendor: str, index: int) -> str:
        """The device of a GPU; of one that the machine is not known to have, what its index says."""
        return self.names.get((vendor.casefold(), index), gpu_device(index))


def devices_of(machine: Machine, budget: BudgetSettings) -> Devices:
    """What models may use of each device of `machine`.

    A GPU that works in the machine's RAM is no device of its own: what lies on it is taken from the RAM. GPUs whose
    memory nobody tells are left out. Where there are GPUs of several vendors, those of the first are ``gpu0``… and the
    others carry their vendor's name, because each vendor counts from 0.
    """
    ram = from_inventory(machine).ram.memory
    whole: dict[str, Bytes] = {RAM: ram}
    names: dict[tuple[str, int], str] = {}
    own = [one for one in machine.gpus if not one.integrated]
    first = own[0].vendor.casefold() if own else ""
    for gpu in machine.gpus:
        key = gpu.vendor.casefold(), gpu.index
        if gpu.integrated:
            names[key] = RAM
            continue
        names[key] = gpu_device(gpu.index) if key[0] == first else f"{key[0]}-{gpu_device(gpu.index)}"
        if gpu.memory_total:
            whole[names[key]] = gpu.memory_total
    limits = {device: budget.ram if device == RAM else budget.gpu for device in whole}
    capacity = {device: min(size, limits[device] or size) for device, size in whole.items()}
    return Devices(whole, capacity, names)


class OtherPrograms:
    """Looks at what other programs hold, cheaply enough to be asked every few seconds.

    Args:
        devices: the devices of this machine.
        pids: the processes of our engines; what they and their children hold is not counted.
        look: reads the RAM and the GPUs of the machine as they are now.
        procfs: may point at a recording of another Linux machine.
        kept: bytes of RAM that are never counted as others': the system pages other programs out when a model needs
            the memory, so they may make models take turns, and must not keep one from running that fits the machine.
    """

    def __init__(
        self, devices: Devices, pids: Pids, *, look: Callable[[], tuple[MachineMemory, Collection[Gpu]]] | None = None,
        held: Callable[[Collection[int]], Mapping[str, Bytes]] = held_by_gpu, procfs: Path = PROCFS,
        kept: Callable[[], int] = lambda: 0,
    ) -> None:  # fmt: skip
        self._devices = devices
        self._pids = pids
        self._look = look or (lambda: _look(gpus=len(devices.whole) > 1))
        self._held = held
        self._procfs = procfs
        self._kept = kept
        self._alone: dict[str, Bytes] = {}

    async def foreign(self) -> Memory:
        """What they hold of each device, in bytes."""
        pids = self._pids()
        return await asyncio.to_thread(self._foreign, pids)

    def _foreign(self, pids: Collection[int]) -> Memory:
        ours = {member for pid in pids for member in family(pid)}
        memory, gpus = self._look()
        in_use = max(0, memory.usable - memory.available)
        others = in_use - sum(unreclaimable(pid, self._procfs) for pid in ours)
        held = {RAM: max(0, min(others, self._devices.whole[RAM] - self._kept()))}
        on_gpus = self._held(ours) if gpus and ours else {}
        for gpu in gpus:
            device = self._devices.of(gpu.vendor, gpu.index)
            if gpu.integrated or gpu.memory_used is None or device not in self._devices.whole:
                continue
            mine = on_gpus.get(gpu.identifier or "")
            if mine is None and ours:
                # In a container, and on WSL2, a driver may not say which processes hold what: ours would count as
                # foreign. What was there while none of ours ran is the best that is known.
                held[device] = self._alone.get(device, Bytes(0))
                continue
            held[device] = max(0, gpu.memory_used - (mine or 0))
            self._alone[device] = Bytes(held[device])
        return {device: Bytes(size) for device, size in held.items()}


def _look(*, gpus: bool) -> tuple[MachineMemory, Collection[Gpu]]:
    memory = read_memory(SYSFS, PROCFS)[0]
    return memory, (*read_nvidia_gpus(SYSFS)[0], *read_sysfs_gpus(SYSFS, _SHARE)[0]) if gpus else ()


def unreclaimable(pid: int, procfs: Path = PROCFS) -> Bytes:
    """What of a process' RAM the kernel cannot take back; 0 when the process is gone.

    Pages of files, such as the weights that llama.cpp maps, count as available memory (kernel documentation,
    ``/proc/meminfo``), so they must not be taken from what is in use a second time.
    """
    fields = key_values(read_text(procfs / str(pid) / "status"), ":")
    parts = [whole_number((fields.get(name) or "").removesuffix("kB")) for name in ("RssAnon", "RssShmem")]
    if all(one is not None for one in parts):
        return Bytes(sum(one or 0 for one in parts) * 1024)
    try:
        return Bytes(psutil.Process(pid).memory_info().rss)
    except (psutil.Error, OSError, ValueError):
        return Bytes(0)


def device_title(device: str) -> str:
    """A device of the scheduler as people write it: ``RAM``, ``GPU 0``."""
    return device.upper() if device == RAM else device.replace("gpu", "GPU ")
