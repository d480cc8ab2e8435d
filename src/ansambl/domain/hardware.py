"""What a machine is made of. A fact that could not be read is None, never a guess."""

from __future__ import annotations

from dataclasses import dataclass

from ansambl.domain.text import Text
from ansambl.domain.units import Bytes


@dataclass(frozen=True, slots=True)
class Cpu:
    """The processor.

    `isa_level` is the x86-64 micro-architecture level (``x86-64-v3``…) or the ARM architecture (``armv8.2-a``…), as
    far as the flags tell; `flags` are the vector extensions that engines choose kernels by.
    """

    model: str | None
    architecture: str
    physical_cores: int | None
    logical_cores: int
    usable_cores: int
    isa_level: str | None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Memory:
    """The RAM. `limit` is a control group's limit when it is below `total`."""

    total: Bytes
    available: Bytes
    limit: Bytes | None = None

    @property
    def usable(self) -> Bytes:
        """What programs of ours may use at most."""
        return min(self.total, self.limit) if self.limit is not None else self.total


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU. `capability` is CUDA's compute capability (``"12.0"``) or AMD's target (``"gfx1100"``).

    `index` counts within one vendor, as that vendor's own tools do. An `integrated` GPU works in the machine's RAM:
    `memory_shared` is the part of `memory_total` that is RAM, and both are None where the driver does not say.
    """

    index: int
    vendor: str
    name: str | None
    memory_total: Bytes | None
    memory_used: Bytes | None = None
    capability: str | None = None
    driver: str | None = None
    identifier: str | None = None
    integrated: bool = False
    memory_shared: Bytes | None = None


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk that holds a folder. `kind` is ``"ssd"``, ``"hdd"`` or None when the system does not say."""

    path: str
    device: str | None
    total: Bytes
    free: Bytes
    kind: str | None = None
    filesystem: str | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """One computer. `notes` say in plain words what could not be read and why."""

    name: str
    system: str
    cpu: Cpu
    memory: Memory
    gpus: tuple[Gpu, ...] = ()
    disks: tuple[Disk, ...] = ()
    notes: tuple[Text, ...] = ()
