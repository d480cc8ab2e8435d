"""How fast a placement will answer: ranges in tokens per second, with the reasons behind them."""

from __future__ import annotations

from dataclasses import dataclass

from ansambl.domain.footprint import Reason


@dataclass(frozen=True, slots=True)
class SpeedRange:
    """Tokens per second: most measurements lie between `low` and `high`, the middle one near `expected`."""

    low: float
    expected: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.expected <= self.high:
            message = f"not a range: {self.low}, {self.expected}, {self.high}"
            raise ValueError(message)


@dataclass(frozen=True, slots=True)
class SpeedForecast:
    """The speed of a placement. None is unknown, and a reason says what is missing.

    `decode` is one stream's speed for a token after the wanted context, `prefill` the mean over the wanted prompt.
    `batch` is what `parallel` sequences, each with that context, get together while no other stream runs.
    """

    engine: str
    decode: SpeedRange | None
    prefill: SpeedRange | None
    reasons: tuple[Reason, ...] = ()
    batch: SpeedRange | None = None
    parallel: int = 1

    @property
    def per_stream(self) -> SpeedRange | None:
        """What each of the `parallel` sequences gets of `batch`."""
        if self.batch is None:
            return None
        count = self.parallel
        return SpeedRange(self.batch.low / count, self.batch.expected / count, self.batch.high / count)
