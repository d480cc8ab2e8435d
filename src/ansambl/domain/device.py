"""What a planner must know of devices and machines that one may not own. Every figure has its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ansambl.domain.text import Text
from ansambl.domain.units import Bytes


class DeviceKind(StrEnum):
    """Where weights can lie."""

    GPU = "gpu"
    RAM = "ram"


@dataclass(frozen=True, slots=True)
class DeviceModel:
    """A GPU or a processor as it is sold.

    `kind` is RAM for a processor. `memory` is as sold; `memory_visible` is the least that programs were seen to get of
    it, where somebody measured. `bandwidth` is bytes a second between its memory and its cores, by the data sheet (for
    a processor: channels times transfer rate times 8 bytes); `bandwidth_low` is the low end where a measurement or
    another source says less. `link_bandwidth` is bytes a second between the RAM and it. `operations` maps a number
    format (``"bf16"``, ``"fp8"``, ``"int8"``, ``"fp4"``) to dense operations a second (a marketing figure for 2:4
    sparsity is halved). A pair (low, high) says that sources differ. `capability` is CUDA's (``"12.0"``), AMD's
    (``"gfx1100"``) or a processor's instruction set.
    """

    name: str
    title: str
    vendor: str
    memory: Bytes | None = None
    bandwidth: float | None = None
    operations: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    capability: str | None = None
    link_bandwidth: float | None = None
    unified_memory: bool = False
    watts: int | None = None
    sources: tuple[str, ...] = ()
    kind: DeviceKind = DeviceKind.GPU
    bandwidth_low: float | None = None
    memory_visible: Bytes | None = None


@dataclass(frozen=True, slots=True)
class PlannedDevice:
    """One device of a machine to plan for: a GPU, or the RAM with the processor's bandwidth and operations.

    `memory` is the total: of a GPU as sold or as its driver says, of which a program sees a little less.
    """

    kind: DeviceKind
    model: DeviceModel
    memory: Bytes
    index: int = 0


@dataclass(frozen=True, slots=True)
class PlannedMachine:
    """A machine to plan for, owned or not: `gpus` and one pool of RAM.

    A GPU with unified memory lies in that RAM: its `memory` is the part of `ram` that it may use, so whatever is placed
    on it is taken from `ram` too. `notes` say in words what was assumed or is unknown.
    """

    name: str
    title: str
    gpus: tuple[PlannedDevice, ...]
    ram: PlannedDevice
    notes: tuple[Text, ...] = ()

    @property
    def unified(self) -> bool:
        """Whether a GPU lies in the RAM."""
        return any(gpu.model.unified_memory for gpu in self.gpus)

    @property
    def memory(self) -> Bytes:
        """All memory; what a GPU shares with the RAM counts once."""
        return Bytes(self.ram.memory + sum(gpu.memory for gpu in self.gpus if not gpu.model.unified_memory))
