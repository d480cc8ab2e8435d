"""What a planner must know of devices and machines that one may not own. Every figure has its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ansambl.domain.units import Bytes


class DeviceKind(StrEnum):
    """Where weights can lie."""

    GPU = "gpu"
    RAM = "ram"


@dataclass(frozen=True, slots=True)
class DeviceModel:
    """A GPU or a processor as it is sold.

    `bandwidth` is bytes a second between its memory and its cores; `operations` maps a number format (``"bf16"``,
    ``"fp8"``, ``"int8"``, ``"fp4"``) to dense operations a second (a marketing figure for 2:4 sparsity is halved). A pair
    (low, high) says that sources differ. `capability` is CUDA's (``"12.0"``), AMD's (``"gfx1100"``) or a processor's
    instruction set.
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


@dataclass(frozen=True, slots=True)
class PlannedDevice:
    """One device of a machine to plan for: a GPU, or the RAM with the processor's bandwidth and operations."""

    kind: DeviceKind
    model: DeviceModel
    memory: Bytes
    index: int = 0


@dataclass(frozen=True, slots=True)
class PlannedMachine:
    """A machine to plan for, owned or not: `gpus` and one pool of RAM."""

    name: str
    title: str
    gpus: tuple[PlannedDevice, ...]
    ram: PlannedDevice
    notes: tuple[str, ...] = ()
