"""What a placement needs of each device: ranges in bytes by part, with the reasons behind them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from ansambl.domain.catalog import Weights
from ansambl.domain.device import DeviceKind
from ansambl.domain.text import Text
from ansambl.domain.units import Bytes


@dataclass(frozen=True, slots=True)
class Range:
    """A forecast in bytes: it may be as little as `low`, is `expected`, and what fits is judged by `high`."""

    low: Bytes
    expected: Bytes
    high: Bytes

    def __post_init__(self) -> None:
        if not self.low <= self.expected <= self.high:
            message = f"not a range: {self.low}, {self.expected}, {self.high}"
            raise ValueError(message)

    def __add__(self, other: Range) -> Range:
        return Range(Bytes(self.low + other.low), Bytes(self.expected + other.expected), Bytes(self.high + other.high))

    @classmethod
    def exactly(cls, size: int) -> Range:
        """What a rule gives to the byte."""
        return cls(Bytes(size), Bytes(size), Bytes(size))

    @classmethod
    def total(cls, parts: Iterable[Range]) -> Range:
        """The sum of `parts`, as if all were at the same end."""
        low = expected = high = 0
        for part in parts:
            low += part.low
            expected += part.expected
            high += part.high
        return cls(Bytes(low), Bytes(expected), Bytes(high))


NOTHING = Range(Bytes(0), Bytes(0), Bytes(0))
"""No bytes at all."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a forecast says what it says. `code` is stable for scripts, `source` is where the fact comes from."""

    code: str
    text: Text
    source: str


@dataclass(frozen=True, slots=True)
class DeviceFootprint:
    """What a placement needs on one device.

    `capacity` is the device's memory as it is sold, `usable` the part that the engine may have. `kv_needed` is the KV
    cache that the wanted context and number of sequences need; `kv_cache` is what the engine really allocates, which
    is more for an engine that fills its budget. `reclaimable` are bytes among the weights that are clean pages of a
    file: they count in a log and in what a process holds, and the system takes them back when memory is short.
    """

    name: str
    kind: DeviceKind
    index: int
    capacity: Bytes
    usable: Bytes
    weights: Range = NOTHING
    kv_cache: Range = NOTHING
    compute: Range = NOTHING
    overhead: Range = NOTHING
    kv_needed: Range = NOTHING
    reclaimable: Bytes = Bytes(0)

    @property
    def total(self) -> Range:
        """All parts as the engine allocates them."""
        return Range.total((self.weights, self.kv_cache, self.compute, self.overhead))

    @property
    def needed(self) -> Range:
        """All parts, of the KV cache only what is needed, of the weights only what must stay."""
        every = Range.total((self.weights, self.kv_needed, self.compute, self.overhead))
        back = self.reclaimable
        return Range(Bytes(every.low - back), Bytes(every.expected - back), Bytes(every.high - back)) if back else every

    @property
    def fits(self) -> bool:
        """Judged on the high end: what is needed stays within what is usable."""
        return self.needed.high <= self.usable


class FootprintBasis(StrEnum):
    """What a footprint rests on: rules alone, a measurement of the very same run, or one of it with another context."""

    FORECAST = "forecast"
    MEASURED = "measured"
    SCALED = "scaled"


@dataclass(frozen=True, slots=True)
class Footprint:
    """The forecast for one placement. `context` is tokens per sequence, `parallel` counts sequences at once.

    `kv_capacity_tokens` is what the engine's KV cache holds in all, None where it holds `context` × `parallel`.
    """

    engine: str
    context: int
    parallel: int
    kv_type: str
    devices: tuple[DeviceFootprint, ...]
    reasons: tuple[Reason, ...] = ()
    kv_capacity_tokens: int | None = None
    basis: FootprintBasis = FootprintBasis.FORECAST

    @property
    def fits(self) -> bool:
        """Whether every device holds its part at the high end."""
        return all(device.fits for device in self.devices)

    @property
    def excess(self) -> Bytes:
        """Bytes by which devices are too small at the high end; 0 where it fits."""
        return Bytes(sum(max(0, device.needed.high - device.usable) for device in self.devices))

    @property
    def total(self) -> Range:
        """All devices together."""
        return Range.total(device.total for device in self.devices)


@dataclass(frozen=True, slots=True)
class WeightBytes:
    """The size of a checkpoint's tensors, as its files say it; what the files did not say is None and is estimated.

    `embedding` is the input embedding (llama.cpp keeps it in RAM), `experts` all routed experts together, `tied` says
    that the output layer uses the embedding. `expert_format` is the experts' number format (``"mxfp4"``) and `repack`
    the bytes of tensors that llama.cpp rewrites for the processor.

    `low` and `high` are the ends of a size that is itself an estimate (a rounded figure, or parameters times bits);
    None means that `total` is exact at that end. What fits is judged by `high`.

    Raises:
        ValueError: the total is negative or lies outside its ends.
    """

    total: Bytes
    source: str
    embedding: Bytes | None = None
    experts: Bytes | None = None
    tied: bool = False
    expert_format: str | None = None
    repack: Bytes = Bytes(0)
    low: Bytes | None = None
    high: Bytes | None = None

    def __post_init__(self) -> None:
        low, high = self.span
        if not 0 <= low <= self.total <= high:
            message = f"not a size with its ends: low {low}, total {self.total}, high {high}"
            raise ValueError(message)

    @property
    def span(self) -> tuple[Bytes, Bytes]:
        """The least and the most bytes that the checkpoint may have; both are the total when it is exact."""
        return (self.total if self.low is None else self.low, self.total if self.high is None else self.high)

    @property
    def exact(self) -> bool:
        """Whether the total is known to the byte."""
        return self.span == (self.total, self.total)

    @classmethod
    def of(cls, weights: Weights, source: str, *, expert_format: str | None = None) -> WeightBytes:
        """The same from what a reader summed up over a checkpoint's tensors; `source` names the files."""
        return cls(
            total=weights.total, source=source, embedding=weights.embedding, experts=weights.experts,
            tied=not weights.output, expert_format=expert_format, repack=weights.repack,
        )  # fmt: skip
