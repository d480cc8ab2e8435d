"""A forecast corrected by what the owner measured on the machine itself. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median

from ansambl.domain.footprint import Reason
from ansambl.domain.speed import SpeedForecast, SpeedRange
from ansambl.domain.text import text

SAME_MODEL = 1.2
"""The factor to either side that remains around a measurement of the same model on the same devices. Among the fitted
rows with the same engine, devices and model, but other formats and contexts, three in four lie within 1.11 (decode) and
1.22 (prefill) of what the others say."""

OTHER_MODEL = 1.4
"""The same where other models were measured on these devices with this engine: nine in ten of such fitted rows lie
within 1.36 (decode) and 1.46 (prefill) of what the others say."""

_PLAUSIBLE = 20.0
"""A measurement further off than this was not of what is forecast (a batch, an idle card); it is not used."""


@dataclass(frozen=True, slots=True)
class MeasuredSpeed:
    """One measurement of the owner, in tokens per second, beside what was forecast for the very same run.

    `device` names the devices as `device_key` does, `model` the checkpoint. What was not measured is None. The forecast
    of the run is kept, since the context and the settings of the run may not be those of the next question.
    """

    engine: str
    device: str
    model: str
    decode: float | None = None
    prefill: float | None = None
    forecast_decode: float | None = None
    forecast_prefill: float | None = None
    source: str = "measured on this machine"


def device_key(names: Iterable[str]) -> str:
    """One name for a set of devices, whatever their order: two equal cards are named twice."""
    return " + ".join(sorted(names))


def calibrated(forecast: SpeedForecast, measured: Sequence[MeasuredSpeed], *, device: str, model: str) -> SpeedForecast:
    """The forecast moved by the measurements of its engine on `device`, and narrowed.

    Measurements of the same `model` count alone; else those of other models on the same devices do. The expected speed
    is multiplied by the median of measured over forecast. The range becomes that speed with `SAME_MODEL` or
    `OTHER_MODEL` to either side, and is never wider than it was. Without a measurement the forecast stays as it is. A
    phase that was unknown stays unknown: a measurement of another run cannot say how context changes it.
    """
    here = [one for one in measured if one.engine == forecast.engine and one.device == device]
    reasons = list(forecast.reasons)
    found: dict[str, SpeedRange | None] = {"decode": forecast.decode, "prefill": forecast.prefill}
    for phase, speed in found.items():
        if speed is None:
            continue
        same = _ratios([one for one in here if one.model == model], phase)
        ratios, margin = (same, SAME_MODEL) if same else (_ratios(here, phase), OTHER_MODEL)
        if ratios:
            found[phase] = _moved(speed, median(ratios), margin)
            reasons.append(_reason(phase, len(ratios), median(ratios)))
    batch = forecast.batch
    if batch is not None and forecast.decode is not None and found["decode"] is not None:
        # A batch reads what one stream reads, so it moves with it; it keeps its own width.
        scale = found["decode"].expected / forecast.decode.expected
        batch = SpeedRange(batch.low * scale, batch.expected * scale, batch.high * scale)
        if forecast.parallel == 1:
            batch = found["decode"]
    return replace(forecast, decode=found["decode"], prefill=found["prefill"], batch=batch, reasons=tuple(reasons))


def _ratios(measured: Sequence[MeasuredSpeed], phase: str) -> list[float]:
    ratios = []
    for one in measured:
        speed, expected = (
            (one.decode, one.forecast_decode) if phase == "decode" else (one.prefill, one.forecast_prefill)
        )
        if speed and expected and speed > 0 and expected > 0 and 1 / _PLAUSIBLE <= speed / expected <= _PLAUSIBLE:
            ratios.append(speed / expected)
    return ratios


def _moved(speed: SpeedRange, ratio: float, margin: float) -> SpeedRange:
    expected = speed.expected * ratio
    below = min(margin, speed.expected / speed.low)
    above = min(margin, speed.high / speed.expected)
    return SpeedRange(expected / below, expected, expected * above)


def _reason(phase: str, count: int, ratio: float) -> Reason:
    change = f"{(ratio - 1) * 100:+.0f}"
    said = {
        "decode": text("decode: corrected by {change} % after {count} measurements on these devices",
                       change=change, count=count),
        "prefill": text("prefill: corrected by {change} % after {count} measurements on these devices",
                        change=change, count=count),
    }  # fmt: skip
    return Reason(f"speed.calibrated-{phase}", said[phase], "measured on this machine")
