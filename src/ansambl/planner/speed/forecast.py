"""One door to the speed forecast: which facts are known, and the ranges that they give."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from ansambl.domain.device import DeviceKind, DeviceModel
from ansambl.domain.footprint import Reason
from ansambl.domain.speed import SpeedForecast, SpeedRange
from ansambl.domain.text import text
from ansambl.planner.speed.factors import FACTORS, PROVENANCE, SPREAD
from ansambl.planner.speed.inputs import SpeedInputs
from ansambl.planner.speed.roofline import OPERATIONS, Rates, decode_seconds, device_class, prefill_seconds, rate_class

_FAMILIES = {
    "llama.cpp": "llama.cpp", "llama.cpp-bundled": "llama.cpp", "ollama": "llama.cpp", "vllm": "vllm",
}  # fmt: skip

ENGINES = tuple(_FAMILIES)
"""Engines whose speed can be forecast. Ollama runs llama.cpp's kernels and shares its factors."""


def forecast(engine: str, inputs: SpeedInputs) -> SpeedForecast:
    """How fast one stream will be, and from which facts; what cannot be told is None with its reason.

    Raises:
        UsageError: the KV cache's number format is not known.
    """
    family = _FAMILIES.get(engine)
    if family is None:
        return SpeedForecast(engine, None, None, (_no_engine(engine),))
    reasons: list[Reason] = []
    missing = _missing_bandwidth(inputs) or _missing_factor(inputs, family, FACTORS.bandwidth.keys())
    decode = None
    if missing:
        reasons.append(missing)
    else:
        spread = _spread(inputs, f"{family} decode")
        decode = _range(1, lambda rates: decode_seconds(inputs, family, FACTORS, rates), spread)
        reasons.append(_basis("decode", spread))
    stopped = missing or _missing_for_prefill(inputs, family)
    prefill = None
    if stopped:
        if stopped is not missing:
            reasons.append(stopped)
    else:
        spread = _spread(inputs, f"{family} prefill")
        prefill = _range(inputs.prompt, lambda rates: prefill_seconds(inputs, family, FACTORS, rates), spread)
        reasons.append(_basis("prefill", spread))
    return SpeedForecast(engine, decode, prefill, tuple(reasons))


def expected_rates() -> Rates:
    """What is expected of a device: what was measured of RAM, the data sheet of a GPU; of a pair the careful end."""
    return Rates(_expected_bandwidth, lambda model: model.operations[OPERATIONS][0])


def _expected_bandwidth(model: DeviceModel) -> float:
    pair = (
        (model.bandwidth_low, model.bandwidth)
        if model.kind is DeviceKind.RAM
        else (model.bandwidth, model.bandwidth_low)
    )
    return next(value for value in pair if value)


def _all_bandwidths(model: DeviceModel) -> list[float]:
    return [value for value in (model.bandwidth, model.bandwidth_low) if value]


def _range(tokens: int, seconds: Callable[[Rates], float], spread: float) -> SpeedRange:
    least = Rates(lambda model: min(_all_bandwidths(model)), lambda model: model.operations[OPERATIONS][0])
    most = Rates(lambda model: max(_all_bandwidths(model)), lambda model: model.operations[OPERATIONS][1])
    expected = tokens / seconds(expected_rates())
    return SpeedRange(tokens / seconds(least) / math.exp(spread), expected, tokens / seconds(most) * math.exp(spread))


def _spread(inputs: SpeedInputs, which: str) -> float:
    used = [part.device.model for part in inputs.parts if part.layers + part.experts > 0]
    return max(SPREAD[f"{which} {device_class(model)}"] for model in used)


def _basis(phase: str, spread: float) -> Reason:
    factor = f"{math.exp(spread):.2f}"
    said = {
        "decode": text("decode: bytes read for a token over bandwidth, with factors fitted to measurements of which "
                       "nine in ten lay within {factor} times", factor=factor),
        "prefill": text("prefill: operations over the device's rate, with factors fitted to measurements of which "
                        "nine in ten lay within {factor} times", factor=factor),
    }  # fmt: skip
    return Reason(f"speed.{phase}", said[phase], PROVENANCE)


def _no_engine(engine: str) -> Reason:
    return Reason(
        "speed.engine-unknown",
        text("the speed of {engine} is unknown: no measurement of it was fitted; known are {known}",
             engine=engine, known=", ".join(ENGINES)),
        PROVENANCE,
    )  # fmt: skip


def _missing_bandwidth(inputs: SpeedInputs) -> Reason | None:
    for part in inputs.parts:
        model = part.device.model
        if part.layers + part.experts > 0 and not _all_bandwidths(model):
            return Reason(
                "speed.bandwidth-unknown",
                text("the speed is unknown: no source tells the memory bandwidth of {device}", device=model.title),
                "; ".join(model.sources),
            )
    return None


def _missing_factor(inputs: SpeedInputs, family: str, known: Iterable[str]) -> Reason | None:
    for part in inputs.parts:
        if part.layers + part.experts > 0 and f"{family} {device_class(part.device.model)}" not in known:
            return _no_factor(family, part.device.model)
    return None


def _no_factor(family: str, model: DeviceModel) -> Reason:
    return Reason(
        "speed.factor-unknown",
        text("the speed of {engine} on {device} is unknown: no measurement on such a device was fitted",
             engine=family, device=model.title),
        PROVENANCE,
    )  # fmt: skip


def _missing_for_prefill(inputs: SpeedInputs, family: str) -> Reason | None:
    gpus = [part for part in inputs.parts if part.device.kind is DeviceKind.GPU and part.layers > 0]
    computing = gpus or list(inputs.parts)
    for part in computing:
        model = part.device.model
        if OPERATIONS not in model.operations:
            return Reason(
                "speed.operations-unknown",
                text("the speed of prefill is unknown: no source tells the operations a second of {device}",
                     device=model.title),
                "; ".join(model.sources),
            )  # fmt: skip
        if f"{family} {rate_class(model)}" not in FACTORS.operations:
            return _no_factor(family, model)
        if len(computing) < len(inputs.parts) and not model.link_bandwidth:
            return Reason(
                "speed.link-unknown",
                text("the speed of prefill is unknown: no source tells the bandwidth between the RAM and {device}",
                     device=model.title),
                "; ".join(model.sources),
            )  # fmt: skip
    return None
