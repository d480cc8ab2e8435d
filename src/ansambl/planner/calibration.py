"""A forecast corrected by what an engine really took and did on the machine itself. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from statistics import median

from ansambl.domain.device import DeviceKind
from ansambl.domain.footprint import DeviceFootprint, Footprint, FootprintBasis, Range, Reason
from ansambl.domain.measurement import Measurement, is_gpu_buffer
from ansambl.domain.speed import SpeedForecast, SpeedRange
from ansambl.domain.text import text
from ansambl.domain.units import Bytes, format_bytes
from ansambl.planner.memory.shares import does_not_fit

SAME_MODEL = 1.2
"""The factor to either side that remains around a measured speed of the same model on the same devices. Among the
fitted rows with the same engine, devices and model, but other formats and contexts, three in four lie within 1.11
(decode) and 1.22 (prefill) of what the others say."""

NO_FORECAST = 1.4
"""The same where nothing could be forecast: measured at another time and with other prompts than those to come. Nine in
ten of the fitted rows of other models on the same devices lie within 1.36 (decode) and 1.46 (prefill) of the others."""

_PLAUSIBLE = 20.0
"""A measurement further off than this was not of what is forecast; it is not used."""
_INDEX = re.compile(r"(\d+)$")
_TOLD = ("weights", "kv_cache", "compute")
_SOURCE = "measured on this machine"


@dataclass(frozen=True, slots=True)
class MeasuredSpeed:
    """One measurement in tokens per second beside what was forecast for the very same run; None was not measured."""

    decode: float | None = None
    prefill: float | None = None
    forecast_decode: float | None = None
    forecast_prefill: float | None = None


def corrected(forecast: Footprint, before: Footprint, measured: Measurement, *, grows: int = 0) -> Footprint:
    """`forecast` with what was measured in its place.

    Weights, and what the process takes beside all else, do not depend on the context: they are as measured. The KV
    cache is as measured where context and parallel are equal; else it grows as the rules say, and compute buffers are
    moved by what the forecast of the measured run was off. What nobody could measure stays as it was forecast. Where
    more RAM was held later than at the load, the high end is that: what fits is judged by it.

    Where the engine's log told no parts, weights are as the files say, the rest of what its processes held after the
    first answer is overhead, and what a full context adds stays as it was forecast.

    Args:
        forecast: of what is asked.
        before: the forecast of the measured run, by the same rules.
        measured: the run.
        grows: bytes of RAM that the process may take only while it works (a cache of finished prompts).
    """
    same = (forecast.context, forecast.parallel) == (measured.key.context, measured.key.parallel)
    told = _by_device(forecast, measured)
    if not any(parts.get(name) for parts in told for name in _TOLD):
        return _undivided(forecast, measured, same=same)
    devices = tuple(
        _device(now, then, parts, measured, same=same, gpus=len(forecast.devices) - 1, grows=grows)
        for now, then, parts in zip(forecast.devices, before.devices, told, strict=True)
    )
    capacity = measured.kv_tokens if same and measured.kv_tokens else forecast.kv_capacity_tokens
    found = replace(forecast, kv_capacity_tokens=capacity)
    return _with(found, devices, _reason(measured, same=same), same=same)


def _with(forecast: Footprint, devices: tuple[DeviceFootprint, ...], why: Reason, *, same: bool) -> Footprint:
    kept = tuple(one for one in forecast.reasons if one.code != "does-not-fit")
    misses = tuple(does_not_fit(one, _SOURCE) for one in devices if not one.fits)
    basis = FootprintBasis.MEASURED if same else FootprintBasis.SCALED
    return replace(forecast, devices=devices, basis=basis, reasons=(why, *kept, *misses))


def _undivided(forecast: Footprint, measured: Measurement, *, same: bool) -> Footprint:
    """What the processes held in all, on each device where it can be told; else the forecast with the peak."""
    gpus = sum(one.kind is DeviceKind.GPU for one in forecast.devices)
    held = {DeviceKind.RAM: measured.resident, DeviceKind.GPU: measured.gpu_memory if gpus == 1 else None}
    devices: list[DeviceFootprint] = []
    for one in forecast.devices:
        beside = (held[one.kind] or 0) - one.weights.expected
        if beside <= 0:
            # Not known, or pages of the files that were never read.
            return replace(forecast, devices=tuple(_at_least(each, measured.speeds.peak) for each in forecast.devices))
        weights = Range.exactly(one.weights.expected)
        back = Bytes(min(one.reclaimable, weights.low))
        devices.append(replace(one, weights=weights, overhead=Range.exactly(beside), reclaimable=back))
    grown = tuple(_at_least(one, measured.speeds.peak) for one in devices)
    return _with(forecast, grown, _undivided_reason(measured, same=same), same=same)


def _at_least(device: DeviceFootprint, peak: Bytes | None) -> DeviceFootprint:
    """The RAM with a high end that is no lower than what was seen; a GPU as it is."""
    short = (peak or 0) - device.total.high
    if device.kind is not DeviceKind.RAM or short <= 0:
        return device
    part = device.overhead
    return replace(device, overhead=Range(part.low, part.expected, Bytes(part.high + short)))


def _by_device(forecast: Footprint, measured: Measurement) -> list[dict[str, Bytes]]:
    """For each device of the forecast the parts that were measured on it; nothing where it cannot be told apart."""
    gpus = [position for position, one in enumerate(forecast.devices) if one.kind is DeviceKind.GPU]
    ram = next((position for position, one in enumerate(forecast.devices) if one.kind is DeviceKind.RAM), None)
    found: list[dict[str, Bytes]] = [{} for _ in forecast.devices]
    for device, parts in measured.memory.items():
        where = _position(device, gpus, ram)
        if where is not None:
            for part, size in parts.items():
                found[where][part] = Bytes(found[where].get(part, 0) + size)
    return found


def _position(device: str, gpus: Sequence[int], ram: int | None) -> int | None:
    if not device:
        # An engine that names no device keeps all on its only one.
        return gpus[0] if len(gpus) == 1 else None if gpus else ram
    if not is_gpu_buffer(device):
        return ram
    index = _INDEX.search(device)
    number = int(index[1]) if index else 0
    return gpus[number] if number < len(gpus) else None


def _device(
    now: DeviceFootprint, then: DeviceFootprint, parts: Mapping[str, Bytes], measured: Measurement, *, same: bool,
    gpus: int, grows: int,
) -> DeviceFootprint:  # fmt: skip
    if not any(parts.get(name) for name in _TOLD):
        return now
    weights = now.weights
    if "weights" in parts:
        weights = Range.exactly(parts["weights"])
    elif now.kind is DeviceKind.RAM and measured.resident is not None:
        # The files tell them, and what the process holds beside is told apart from them.
        weights = Range.exactly(now.weights.expected)
    cache, needed = _cache(now, then, parts, same=same)
    compute = now.compute
    if "compute" in parts:
        compute = Range.exactly(parts["compute"]) if same else _moved(
            now.compute, parts["compute"] - then.compute.expected
        )  # fmt: skip
    if now.kind is DeviceKind.RAM:
        overhead = _process(now, {"weights": weights.expected, **parts}, measured, grows)
    else:
        overhead = _driver(now, measured) if gpus == 1 else now.overhead
    # What was written anew stands among the measured weights as it does among those of the forecast.
    return replace(
        now, weights=weights, kv_cache=cache, kv_needed=needed, compute=compute, overhead=overhead,
        reclaimable=Bytes(min(now.reclaimable, weights.low)),
    )  # fmt: skip


def _cache(
    now: DeviceFootprint, then: DeviceFootprint, parts: Mapping[str, Bytes], *, same: bool
) -> tuple[Range, Range]:
    """The KV cache as it is allocated, and as it is needed."""
    size = parts.get("kv_cache")
    if size is None:
        return now.kv_cache, now.kv_needed
    if now.kv_cache != now.kv_needed:
        # The engine fills what it was given, whatever the context.
        return Range.exactly(size), now.kv_needed
    if not same:
        if not then.kv_cache.expected:
            return now.kv_cache, now.kv_needed
        size = Bytes(round(size * now.kv_cache.expected / then.kv_cache.expected))
    return Range.exactly(size), Range.exactly(size)


def _moved(part: Range, by: int) -> Range:
    return Range(*(Bytes(max(0, end + by)) for end in (part.low, part.expected, part.high)))


def _process(now: DeviceFootprint, parts: Mapping[str, Bytes], measured: Measurement, grows: int) -> Range:
    """What the process holds in RAM beside weights and KV cache; compute buffers are touched only later."""
    if measured.resident is None:
        return now.overhead
    held = sum(parts.get(name, 0) for name in ("weights", "kv_cache"))
    beside = measured.resident - held
    if beside <= 0:
        # Pages of the file that were never read are not held.
        return now.overhead
    peak = (measured.speeds.peak or 0) - held - parts.get("compute", 0)
    return Range(Bytes(beside), Bytes(beside + grows), Bytes(max(beside + grows, peak)))


def _driver(now: DeviceFootprint, measured: Measurement) -> Range:
    """What the driver holds on the only GPU beside the engine's buffers."""
    if measured.gpu_memory is None:
        return now.overhead
    told = sum(
        size for device, parts in measured.memory.items() if is_gpu_buffer(device) or not device
        for name, size in parts.items() if name in _TOLD
    )  # fmt: skip
    beside = measured.gpu_memory - told
    return Range.exactly(beside) if beside > 0 else now.overhead


def _reason(measured: Measurement, *, same: bool) -> Reason:
    key, day = measured.key, datetime.fromtimestamp(measured.time, UTC).date().isoformat()
    source = f"{_SOURCE}, {day}, {key.engine} {key.version}".rstrip()
    if same:
        size = format_bytes(measured.resident) if measured.resident is not None else "?"
        return Reason(
            "measured",
            text("measured on this machine on {day} with {engine} {version}: {size} of RAM right after the load",
                 day=day, engine=key.engine, version=key.version, size=size),
            source,
        )  # fmt: skip
    return Reason(
        "measured-scaled",
        text("measured on this machine on {day} with {engine} {version} and {parallel} × {context} tokens; what grows "
             "with them is scaled from that", day=day, engine=key.engine, version=key.version, parallel=key.parallel,
             context=key.context),
        source,
    )  # fmt: skip


def _undivided_reason(measured: Measurement, *, same: bool) -> Reason:
    key, day = measured.key, datetime.fromtimestamp(measured.time, UTC).date().isoformat()
    return Reason(
        "measured" if same else "measured-scaled",
        text("measured on this machine on {day} with {engine} {version} and {parallel} × {context} tokens: {size} of "
             "RAM after the first answer; its log tells no parts, and what a full context adds is a forecast", day=day,
             engine=key.engine, version=key.version, parallel=key.parallel, context=key.context,
             size="?" if measured.resident is None else format_bytes(measured.resident)),
        f"{_SOURCE}, {day}, {key.engine} {key.version}".rstrip(),
    )  # fmt: skip


def calibrated(forecast: SpeedForecast, measured: Sequence[MeasuredSpeed], *, samples: int) -> SpeedForecast:
    """The forecast moved by measurements of the same model, engine and devices, and narrowed.

    The expected speed is multiplied by the median of measured over forecast. The range becomes that speed with
    `SAME_MODEL` to either side, and is never wider than it was; a low end that speaks of a full context stays as far
    below as it was. A phase of which nothing could be forecast is as it was measured, with `NO_FORECAST` to either
    side. Without a measurement it stays as it is. `samples` says over how many looks the measurements were added up.
    """
    reasons = list(forecast.reasons)
    full = any(one.code == "speed.full-context" for one in reasons)
    found: dict[str, SpeedRange | None] = {"decode": forecast.decode, "prefill": forecast.prefill}
    for phase, speed in found.items():
        ratios = _ratios(measured, phase)
        if speed is not None and ratios:
            found[phase] = _narrowed(speed, median(ratios), keep_low=full and phase == "decode")
            reasons.append(_speed_reason(phase, samples, median(ratios)))
        elif speed is None and (alone := _speeds(measured, phase)):
            middle = median(alone)
            found[phase] = SpeedRange(middle / NO_FORECAST, middle, middle * NO_FORECAST)
            reasons.append(_alone(phase, samples))
    batch = forecast.batch
    if batch is not None and forecast.decode is not None and found["decode"] is not None:
        # A batch reads what one stream reads, so it moves with it; it keeps its own width.
        scale = found["decode"].expected / forecast.decode.expected
        batch = SpeedRange(batch.low * scale, batch.expected * scale, batch.high * scale)
        if forecast.parallel == 1:
            batch = found["decode"]
    return replace(forecast, decode=found["decode"], prefill=found["prefill"], batch=batch, reasons=tuple(reasons))


def _speeds(measured: Sequence[MeasuredSpeed], phase: str) -> list[float]:
    return [speed for one in measured if (speed := one.decode if phase == "decode" else one.prefill)]


def _ratios(measured: Sequence[MeasuredSpeed], phase: str) -> list[float]:
    pairs = [
        (one.decode, one.forecast_decode) if phase == "decode" else (one.prefill, one.forecast_prefill)
        for one in measured
    ]
    found = [speed / expected for speed, expected in pairs if speed and expected and speed > 0 and expected > 0]
    return [ratio for ratio in found if 1 / _PLAUSIBLE <= ratio <= _PLAUSIBLE]


def _narrowed(speed: SpeedRange, ratio: float, *, keep_low: bool) -> SpeedRange:
    expected = speed.expected * ratio
    below, above = speed.expected / speed.low, min(SAME_MODEL, speed.high / speed.expected)
    if not keep_low:
        below = min(SAME_MODEL, below)
    return SpeedRange(expected / below, expected, expected * above)


def _speed_reason(phase: str, count: int, ratio: float) -> Reason:
    change = f"{(ratio - 1) * 100:+.0f}"
    said = {
        "decode": text("decode: corrected by {change} %, by {count} measurements on this machine", change=change,
                       count=count),
        "prefill": text("prefill: corrected by {change} %, by {count} measurements on this machine", change=change,
                        count=count),
    }  # fmt: skip
    return Reason(f"speed.calibrated-{phase}", said[phase], _SOURCE)


def _alone(phase: str, count: int) -> Reason:
    said = {
        "decode": text("decode: as {count} measurements on this machine say; nothing could be forecast", count=count),
        "prefill": text("prefill: as {count} measurements on this machine say; nothing could be forecast", count=count),
    }  # fmt: skip
    return Reason(f"speed.measured-{phase}", said[phase], _SOURCE)
