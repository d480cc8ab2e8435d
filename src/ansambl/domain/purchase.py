"""What a purchase is advised from and what the advice says: parts with prices, builds of them, what each would add."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ansambl.domain.device import DeviceModel, PlannedMachine
from ansambl.domain.footprint import Reason
from ansambl.domain.planning import Goal, Plan, PlannedPlacement
from ansambl.domain.text import Text
from ansambl.domain.units import Bytes


class PartType(StrEnum):
    """What a part is; a machine is bought whole."""

    GPU = "gpu"
    CPU = "cpu"
    BOARD = "board"
    RAM = "ram"
    PSU = "psu"
    CASE = "case"
    SSD = "ssd"
    MACHINE = "machine"


class PriceKind(StrEnum):
    """Whose price it is: the maker's, that of shops, that of used parts, or the user's own."""

    MSRP = "msrp"
    STREET = "street"
    USED = "used"
    GIVEN = "given"


@dataclass(frozen=True, slots=True)
class UsdRange:
    """An amount of US dollars between `low` and `high`."""

    low: float
    high: float

    @property
    def middle(self) -> float:
        """Half way between the ends."""
        return (self.low + self.high) / 2

    def __add__(self, other: UsdRange) -> UsdRange:
        return UsdRange(self.low + other.low, self.high + other.high)

    def __mul__(self, count: int) -> UsdRange:
        return UsdRange(self.low * count, self.high * count)


@dataclass(frozen=True, slots=True)
class Price:
    """What a part costs. `date` is a year or a month (``"2026-05"``) of the sources, None for the user's own price."""

    usd: UsdRange
    kind: PriceKind
    sources: tuple[str, ...]
    date: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """Something that can be bought, with what decides whether it goes together with others.

    `device` is the GPU of a card or the processor of a CPU (as RAM, with its bandwidth); `machine` is what a whole
    machine is to the planner. `socket` is a CPU's or a board's, `ram_type` a board's or a kit's (``"ddr5"``), `memory`
    a kit's size. `gpus` counts the cards that a board or a case takes, `kits` the kits of RAM that a board takes.
    `cooler` says that a CPU or a case brings the CPU's cooler. `watts` is what a part draws, of a power supply what it
    gives; None is unknown. `notes` are sources of figures other than the price, and what a buyer must know.
    """

    name: str
    title: str
    type: PartType
    price: Price
    device: DeviceModel | None = None
    machine: PlannedMachine | None = None
    socket: str | None = None
    ram_type: str | None = None
    memory: Bytes | None = None
    gpus: int = 0
    kits: int = 0
    cooler: bool = False
    watts: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Build:
    """A machine to buy: parts with their counts, and what it is to the planner. `watts` is what it draws at most."""

    id: str
    title: str
    parts: tuple[tuple[Part, int], ...]
    machine: PlannedMachine
    watts: int | None

    @property
    def usd(self) -> UsdRange:
        """The sum of the parts' prices."""
        total = UsdRange(0.0, 0.0)
        for part, count in self.parts:
            total += part.price.usd * count
        return total


@dataclass(frozen=True, slots=True)
class PurchaseOption:
    """One build (None: buy nothing) and what it would change.

    `gain` is in the goal's points, the rank of the best plan with the build less that of the best plan without it; ten
    points are a doubling of a dense model's parameters for one role. `plan` is the plan with the build, `best` the
    strongest placement on the build itself.
    """

    id: str
    title: Text
    build: Build | None = None
    gain: float = 0.0
    plan: Plan | None = None
    best: PlannedPlacement | None = None
    adds: tuple[Reason, ...] = ()
    against: tuple[Reason, ...] = ()

    @property
    def per_1000_usd(self) -> float | None:
        """Points of gain for each 1000 dollars at the middle of the price; None where nothing is bought."""
        return None if self.build is None else self.gain * 1000 / self.build.usd.middle


@dataclass(frozen=True, slots=True)
class Advice:
    """The options, best first, for machines that one has already.

    `recommended` is an option's id. `prices_date` are the oldest and the newest date of the shipped prices in use.
    `left_out` counts builds that another one is at least as good as for no more money; `beyond` is the cheapest option
    over the budget that would add something.
    """

    machines: tuple[PlannedMachine, ...]
    goal: Goal
    budget: float | None
    prices_date: tuple[str, str] | None
    options: tuple[PurchaseOption, ...]
    recommended: str
    left_out: Mapping[str, int] = field(default_factory=dict)
    beyond: PurchaseOption | None = None
    notes: tuple[Text, ...] = ()
