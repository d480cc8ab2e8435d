"""One door to the speed forecast: which facts are known, and the ranges that they give."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

from ansambl.domain.device import DeviceKind, DeviceModel
from ansambl.domain.figures import figure
from ansambl.domain.footprint import Reason
from ansambl.domain.speed import SpeedForecast, SpeedRange
from ansambl.domain.text import text
from ansambl.planner.speed.factors import FACTORS, PROVENANCE, SPREAD
from ansambl.planner.speed.inputs import SpeedInputs
from ansambl.planner.speed.roofline import (
    BATCH_TOKENS,
    Factors,
    Rates,
    computing_parts,
    decode_seconds,
    device_class,
    known_rate,
    prefill_seconds,
    rate_class,
    reference,
)
from ansambl.planner.speed.work import Work, work_of


@dataclass(frozen=True, slots=True)
class _Family:
    """Whose factors an engine has, and the factor by which its range is wider at either end."""

    like: str
    wider: float = 1.0


# Ollama, LM Studio and Text Generation WebUI run llama.cpp's kernels. SGLang and TGI run the same FlashInfer, Marlin
# and cuBLAS kernels as vLLM; ExLlamaV3 and TabbyAPI have kernels of their own that read each weight once too.
_FAMILIES = {
    "llama.cpp": _Family("llama.cpp"), "llama.cpp-bundled": _Family("llama.cpp"), "ollama": _Family("llama.cpp"),
    "lm_studio": _Family("llama.cpp", 1.2), "textgen": _Family("llama.cpp", 1.2), "vllm": _Family("vllm"),
    "sglang": _Family("vllm", 1.3), "tgi": _Family("vllm", 1.3), "exllamav3": _Family("vllm", 1.5),
    "tabbyapi": _Family("vllm", 1.5), "transformers": _Family("transformers", 1.5),
    "transformers_serve": _Family("transformers", 1.5),
}  # fmt: skip

# vLLM on a superchip: no measurement was fitted; llama.cpp's factors there are taken.
_WIDER_ON = {("vllm", "superchip"): 1.4}

ENGINES = tuple(_FAMILIES)
"""Engines whose speed can be forecast, some of them with the factors of an engine that is alike."""

# Of a card whose power nobody stated: the operations a second and watt of the cards in the catalog, from an RTX 3090's
# and an RX 7900 XTX's (0.35 and 0.41) to an H100 PCIe's (2.16), by their data sheets, and the middle of both.
_OPERATIONS_A_WATT = (2.2e12, 0.88e12, 0.35e12)


def forecast(engine: str, inputs: SpeedInputs) -> SpeedForecast:
    """How fast one stream and all of the parallel ones will be, and from which facts.

    What cannot be told is None with its reason.

    Raises:
        UsageError: the KV cache's number format is not known.
    """
    family = _FAMILIES.get(engine)
    if family is None:
        return SpeedForecast(engine, None, None, (_no_engine(engine),), parallel=inputs.parallel)
    like = family.like
    missing = _missing_bandwidth(inputs) or _missing_factor(inputs, like, FACTORS.bandwidth.keys())
    if missing:
        return SpeedForecast(engine, None, None, (missing,), parallel=inputs.parallel)
    work = work_of(inputs)
    wider = family.wider * max(_WIDER_ON.get((like, kind), 1.0) for kind in _classes(inputs))
    reasons = [] if wider == 1.0 else [_alike(engine, inputs)]
    spread = _spread(inputs, f"{like} decode") + math.log(wider)
    decode = _range(like, 1, lambda rates: decode_seconds(inputs, work, like, FACTORS, rates), spread)
    decode = _not_above(decode, 1 / decode_seconds(inputs, work, like, _IDEAL, _MOST[like]))
    reasons.append(_basis("decode", spread))
    prefill = None
    batches = -(-inputs.prompt // (inputs.batch_tokens or BATCH_TOKENS[like]))
    stopped = _missing_rate(inputs, like, inputs.prompt / batches)
    if stopped is None:
        spread = _spread(inputs, f"{like} prefill") + math.log(wider)
        prefill = _range(like, inputs.prompt, lambda rates: prefill_seconds(inputs, work, like, FACTORS, rates), spread)
        reasons.append(_basis("prefill", spread))
    else:
        reasons.append(stopped)
    batch: SpeedRange | None = decode
    if inputs.parallel > 1:
        # What lies in RAM is computed there for the few tokens of a step.
        stopped = _missing_rate(inputs, like, 1, "batch")
        if stopped is None:
            spread = _spread(inputs, f"{like} batch") + math.log(wider)
            batch = _not_below(
                _range(like, 1, lambda rates: 1 / batch_speed(inputs, work, like, FACTORS, rates), spread), decode
            )
            reasons.append(_basis("batch", spread))
        else:
            batch = None
            reasons.append(stopped)
    return SpeedForecast(engine, decode, prefill, tuple(reasons), batch, inputs.parallel)


def decode_after(engine: str, inputs: SpeedInputs) -> SpeedRange | None:
    """The decode speed of one stream alone, as `forecast` gives it; None when it cannot be told.

    Raises:
        UsageError: the KV cache's number format is not known.
    """
    family = _FAMILIES.get(engine)
    if family is None:
        return None
    like = family.like
    if _missing_bandwidth(inputs) or _missing_factor(inputs, like, FACTORS.bandwidth.keys()):
        return None
    work = work_of(inputs)
    wider = family.wider * max(_WIDER_ON.get((like, kind), 1.0) for kind in _classes(inputs))
    spread = _spread(inputs, f"{like} decode") + math.log(wider)
    return _range(like, 1, lambda rates: decode_seconds(inputs, work, like, FACTORS, rates), spread)


def batch_speed(inputs: SpeedInputs, work: Work, engine: str, factors: Factors, rates: Rates) -> float:
    """Tokens a second of all parallel sequences together; never less than of one alone.

    Raises:
        KeyError: no factor was fitted for the engine on such a device.
    """
    count = inputs.parallel
    step = decode_seconds(inputs, work, engine, factors, rates, count)
    alone = decode_seconds(inputs, work, engine, factors, rates)
    lost: float = count ** -factors.crowd[engine]
    return max(count / step * lost, 1 / alone)


def expected_rates(engine: str) -> Rates:
    """What is expected of a device: what was measured of RAM, the data sheet of a GPU; of a pair the careful end."""
    return _EXPECTED[engine]


def _operations(model: DeviceModel, engine: str, end: int) -> float:
    """The reference rate at an end: 0 is least, 1 expected, 2 most."""
    known = known_rate(model, engine)
    # The RAM beside a GPU has none where it computes nothing of a prefill; then nobody asks.
    if known is None:
        return math.nan
    rate = known[1] if end == 2 else known[0]
    return reference(model, rate, model.watts or rate / _OPERATIONS_A_WATT[end])


def _expected_bandwidth(model: DeviceModel) -> float:
    pair = (
        (model.bandwidth_low, model.bandwidth)
        if model.kind is DeviceKind.RAM
        else (model.bandwidth, model.bandwidth_low)
    )
    return next(value for value in pair if value)


def _all_bandwidths(model: DeviceModel) -> list[float]:
    return [value for value in (model.bandwidth, model.bandwidth_low) if value]


_IDEAL = replace(FACTORS, bandwidth=dict.fromkeys(FACTORS.bandwidth, 1.0), seconds=dict.fromkeys(FACTORS.seconds, 0.0))
_LIKES = tuple(dict.fromkeys(family.like for family in _FAMILIES.values()))
_LEAST = {
    like: Rates(lambda model: min(_all_bandwidths(model)), partial(_operations, engine=like, end=0)) for like in _LIKES
}
_EXPECTED = {like: Rates(_expected_bandwidth, partial(_operations, engine=like, end=1)) for like in _LIKES}
_MOST = {
    like: Rates(lambda model: max(_all_bandwidths(model)), partial(_operations, engine=like, end=2)) for like in _LIKES
}


def _range(like: str, tokens: int, seconds: Callable[[Rates], float], spread: float) -> SpeedRange:
    expected = tokens / seconds(_EXPECTED[like])
    least, most = tokens / seconds(_LEAST[like]), tokens / seconds(_MOST[like])
    return SpeedRange(least / math.exp(spread), expected, most * math.exp(spread))


def _not_above(found: SpeedRange, ideal: float) -> SpeedRange:
    """A range that ends where the memory's whole bandwidth is used; no engine reads faster."""
    return SpeedRange(found.low, found.expected, max(found.expected, min(found.high, ideal)))


def _not_below(found: SpeedRange, alone: SpeedRange) -> SpeedRange:
    return SpeedRange(max(found.low, alone.low), max(found.expected, alone.expected), max(found.high, alone.high))


def _classes(inputs: SpeedInputs) -> set[str]:
    return {device_class(part.device.model) for part in inputs.parts if part.layers + part.experts > 0}


def _spread(inputs: SpeedInputs, which: str) -> float:
    return max(SPREAD[f"{which} {kind}"] for kind in _classes(inputs))


def _basis(phase: str, spread: float) -> Reason:
    factor = figure(math.exp(spread), ".2f")
    said = {
        "decode": text("decode: bytes read for a token over bandwidth, with factors fitted to measurements of which "
                       "nine in ten lay within {factor} times", factor=factor),
        "prefill": text("prefill: operations over the device's rate, with factors fitted to measurements of which "
                        "nine in ten lay within {factor} times", factor=factor),
        "batch": text("all sequences together: weights read once for a step, the KV cache of each, with factors fitted "
                      "to few measurements of which nine in ten lay within {factor} times", factor=factor),
    }  # fmt: skip
    return Reason(f"speed.{phase}", said[phase], PROVENANCE)


def _alike(engine: str, inputs: SpeedInputs) -> Reason:
    devices = ", ".join(dict.fromkeys(part.device.model.title for part in inputs.parts))
    return Reason(
        "speed.engine-alike",
        text("few or no measurements of {engine} on {device} were fitted; factors of what is alike are taken, and the "
             "ranges are wider", engine=engine, device=devices),
        PROVENANCE,
    )  # fmt: skip


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


def _missing_factor(inputs: SpeedInputs, like: str, known: Iterable[str]) -> Reason | None:
    for part in inputs.parts:
        if part.layers + part.experts > 0 and f"{like} {device_class(part.device.model)}" not in known:
            return _no_factor(like, part.device.model)
    return None


def _no_factor(like: str, model: DeviceModel) -> Reason:
    return Reason(
        "speed.factor-unknown",
        text("the speed of {engine} on {device} is unknown: no measurement on such a device was fitted",
             engine=like, device=model.title),
        PROVENANCE,
    )  # fmt: skip


def _missing_rate(inputs: SpeedInputs, like: str, tokens: float, phase: str = "prefill") -> Reason | None:
    """What is missing to tell how long `tokens` at once take to compute."""
    computing = computing_parts(inputs, tokens)
    for part in computing:
        model = part.device.model
        if part.layers + part.experts > 0 and known_rate(model, like) is None:
            said = {
                "prefill": text("the speed of prefill is unknown: no source tells the operations a second of {device}",
                                device=model.title),
                "batch": text("the speed of all sequences together is unknown: no source tells the operations a second "
                              "of {device}", device=model.title),
            }  # fmt: skip
            return Reason("speed.operations-unknown", said[phase], "; ".join(model.sources))
        if f"{like} {rate_class(model)}" not in FACTORS.operations:
            return _no_factor(like, model)
        if len(computing) < len(inputs.parts) and not (model.link_bandwidth or model.unified_memory):
            return Reason(
                "speed.link-unknown",
                text("the speed of prefill is unknown: no source tells the bandwidth between the RAM and {device}",
                     device=model.title),
                "; ".join(model.sources),
            )  # fmt: skip
    return None
