"""One candidate on one machine with one engine: the settings with which it fits, and what is forecast then.

Everything on the GPUs comes first. Where that does not fit, llama.cpp keeps the experts of as few layers in RAM as
will do, else whole layers, else works without the GPUs; engines that split tensors take more GPUs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ansambl.domain.device import PlannedMachine
from ansambl.domain.errors import UsageError
from ansambl.domain.footprint import Footprint, Reason
from ansambl.domain.measurement import Measurement
from ansambl.domain.planning import Candidate, PlannedPlacement
from ansambl.domain.speed import SpeedForecast, SpeedRange
from ansambl.domain.text import Text, text
from ansambl.domain.units import format_bytes
from ansambl.planner import memory, speed
from ansambl.planner.calibration import MeasuredSpeed, calibrated, corrected
from ansambl.planner.families import LLAMA_CPP, RANKED
from ansambl.planner.memory import MemoryInputs

TYPICAL_FILL = 4096
"""Tokens that a conversation holds when the expected speed is told; the low end is that of a full context."""

LEAST_USEFUL = 2.0
"""Tokens a second. Slower than anybody reads: whole layers in RAM are then not counted as fitting, unless asked for."""

BEYOND_MODEL = 1_048_576
"""Tokens up to which a context beyond what a model was made for is still forecast (with position scaling)."""

_IN_RAM = frozenset({"n_gpu_layers", "n_cpu_moe", "cpu_moe"})
_RANKS = (1, 2, 4, 8, 16)
_BATCHES = {True: "n_ubatch", False: "max_num_batched_tokens"}


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted of a placement: `context` tokens for each of `parallel` sequences, and settings that are fixed.

    `prompt` is the tokens of a typical prefill.
    """

    context: int
    parallel: int = 1
    kv_type: str = "f16"
    settings: Mapping[str, Any] = field(default_factory=dict)
    prompt: int = 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that fits with the settings of a placement; None when not even one token or sequence does."""

    context: int | None
    parallel: int | None


def place(candidate: Candidate, engine: str, machine: PlannedMachine, wish: Wish, id: str = "") -> PlannedPlacement:  # noqa: A002 - the record's own word
    """The first settings that fit, else those that come nearest; then `fits` is False and no speed is forecast.

    Settings of the wish are never changed. `id` names the placement, by default after model, quantization and engine.

    Raises:
        NotSupportedError: there are no rules for this engine.
        UsageError: a setting or the context makes no sense.
    """
    check_context(candidate, wish.context)
    inputs = memory_inputs(candidate, machine, wish)
    nearest: tuple[dict[str, Any], Footprint] | None = None
    slow: Reason | None = None
    for chosen in _tries(engine, inputs):
        footprint = memory.forecast(engine, replace(inputs, settings={**wish.settings, **chosen}))
        if footprint.fits:
            placed = _placed(candidate, engine, machine, wish, chosen, footprint, id)
            placed = replace(placed, speed=speed_of(placed, wish.prompt))
            slow = _too_slow(placed, wish)
            if slow is None:
                return placed
        # Who has GPUs asks about them: that the RAM alone comes nearer says nothing.
        if nearest is None or (0 < footprint.excess < nearest[1].excess and chosen.get("n_gpu_layers") != 0):
            nearest = (chosen, footprint)
    if nearest is None:
        message = "an engine has at least one way to be tried"
        raise AssertionError(message)
    chosen, footprint = nearest
    if slow is not None:
        footprint = replace(footprint, reasons=(*footprint.reasons, slow))
    return _placed(candidate, engine, machine, wish, chosen, footprint, id)


def check_context(candidate: Candidate, context: int) -> None:
    """Refuse a context that no engine could give.

    Raises:
        UsageError: the context is far beyond what the model was made for.
    """
    made_for = candidate.architecture.context
    if made_for and context > max(made_for, BEYOND_MODEL):
        raise UsageError(
            text("context is {context}, and {model} was made for {most} tokens; give at most {most}",
                 context=context, model=candidate.model, most=made_for)
        )  # fmt: skip


def memory_inputs(candidate: Candidate, machine: PlannedMachine, wish: Wish) -> MemoryInputs:
    """The wish as the memory forecast takes it."""
    return MemoryInputs(
        architecture=candidate.architecture, weights=candidate.weights, machine=machine, context=wish.context,
        parallel=wish.parallel, kv_type=wish.kv_type, settings=wish.settings,
    )  # fmt: skip


def limits(placement: PlannedPlacement) -> Limits:
    """The longest context and the most sequences with the placement's own settings."""
    wish = Wish(placement.context, placement.parallel, placement.kv_type, placement.settings)
    inputs = memory_inputs(placement.candidate, placement.machine, wish)
    if placement.measured is None:
        return Limits(memory.largest_context(placement.engine, inputs), memory.most_parallel(placement.engine, inputs))
    correct = _correction(placement.engine, inputs, placement.measured)
    return Limits(
        memory.largest_context(placement.engine, inputs, correct),
        memory.most_parallel(placement.engine, inputs, correct),
    )


def with_measurement(placement: PlannedPlacement, measured: Measurement) -> PlannedPlacement:
    """The placement with what was `measured` of its checkpoint and engine in place of what was forecast.

    The measurement must be of the same settings and KV type; its context may be another. The speed is moved by what
    was measured of it.

    Raises:
        NotSupportedError, UsageError: as `place`.
    """
    wish = Wish(placement.context, placement.parallel, placement.kv_type, placement.settings)
    inputs = memory_inputs(placement.candidate, placement.machine, wish)
    footprint = _correction(placement.engine, inputs, measured)(placement.footprint)
    placed = replace(placement, footprint=footprint, measured=measured)
    if not placed.fits:
        return replace(placed, speed=SpeedForecast(placement.engine, None, None))
    return replace(placed, speed=measured_speed(placed, speed_of(placed), measured))


def measured_speed(placement: PlannedPlacement, forecast: SpeedForecast, measured: Measurement) -> SpeedForecast:
    """The forecast of a placement's speed, moved by what was measured of it, perhaps with another context."""
    before = speed_of(replace(placement, context=measured.key.context, parallel=measured.key.parallel))
    found = MeasuredSpeed(
        decode=measured.speeds.decode, prefill=measured.speeds.prefill,
        forecast_decode=before.decode.expected if before.decode else None,
        forecast_prefill=before.prefill.expected if before.prefill else None,
    )  # fmt: skip
    return calibrated(forecast, [found], samples=measured.speeds.samples)


def _correction(engine: str, inputs: MemoryInputs, measured: Measurement) -> Callable[[Footprint], Footprint]:
    before = memory.forecast(engine, replace(inputs, context=measured.key.context, parallel=measured.key.parallel))
    # Finished prompts are kept only later; the forecast counts what they may grow to.
    grows = (_whole(inputs.settings.get("prompt_cache")) or 0) if engine in LLAMA_CPP else 0
    return lambda footprint: corrected(footprint, before, measured, grows=grows)


def layers_in_ram(placement: PlannedPlacement) -> int:
    """Whole layers that llama.cpp keeps in RAM although there is a GPU."""
    count = _whole(placement.settings.get("n_gpu_layers"))
    # "all" and "auto" are numbers too high for any model, and so is -1.
    if count is None or count < 0 or not placement.machine.gpus or placement.engine not in LLAMA_CPP:
        return 0
    return max(0, placement.candidate.architecture.layer_count - max(0, count - 1))


def expert_layers_in_ram(placement: PlannedPlacement) -> int:
    """Layers whose experts lie in RAM although the layers themselves are on a GPU."""
    if placement.engine not in LLAMA_CPP or not placement.machine.gpus:
        return 0
    layers = placement.candidate.architecture.layer_count
    if str(placement.settings.get("cpu_moe", "")).lower() in {"on", "true", "1"}:
        return layers
    return min(layers, _whole(placement.settings.get("n_cpu_moe")) or 0)


def partly_in_ram(placement: PlannedPlacement) -> bool:
    """Whether layers or experts lie in RAM although there is a GPU."""
    return bool(layers_in_ram(placement) or expert_layers_in_ram(placement))


def _whole(value: object) -> int | None:
    """A setting that the memory rules have taken as a number (``4``, ``"4"``, ``"4.0"``); None for a word."""
    try:
        return int(float(str(value)))
    except (ValueError, OverflowError):
        return None


def may_use_ram(placement: PlannedPlacement) -> bool:
    """Whether all lies on the GPUs, and llama.cpp could keep layers in RAM for a longer context."""
    machine = placement.machine
    return (
        placement.fits
        and placement.engine in LLAMA_CPP
        and bool(machine.gpus)
        and not machine.ram.model.unified_memory
        and not _IN_RAM & placement.settings.keys()
    )


def projector_reason(placement: PlannedPlacement) -> Reason | None:
    """That a model which sees pictures loads one more file with llama.cpp, and that it is not counted unless set.

    Text alone works without it, so it is not counted by itself. Its size is at most that of the parameters that are not
    the text model's, in 16 bits (they may hold heads for prediction, too).
    """
    card, candidate = placement.candidate.card, placement.candidate
    if card is None or not card.vision or placement.engine not in LLAMA_CPP or "mmproj" in placement.settings:
        return None
    if card.parameters is None or card.text_parameters is None:
        size: Text | str = text("its size is not known")
    else:
        size = text("it takes up to about {size}", size=format_bytes(2 * (card.parameters - card.text_parameters)))
    return Reason(
        "projector-not-counted",
        text("for pictures {engine} loads a projector file (mmproj) beside the model, which is not counted here: {size}"
             "; count it with --set mmproj=SIZE", engine=placement.engine, size=size),
        f"llama.cpp docs/multimodal.md; parameters: {next(iter(card.sources), candidate.source)}",
    )  # fmt: skip


def _tries(engine: str, inputs: MemoryInputs) -> Iterator[dict[str, Any]]:
    """Settings to try, the best first; each is worked out only when those before it did not fit."""
    given = inputs.settings
    gpus = inputs.machine.gpus
    if engine in LLAMA_CPP:
        yield {}
        if not gpus or _IN_RAM & given.keys() or inputs.machine.unified:
            return
        if inputs.architecture.experts:
            fewest = memory.fewest_expert_layers_in_ram(inputs)
            if fewest is not None:
                yield {"n_cpu_moe": fewest}
        most = _most_gpu_layers(engine, inputs)
        if most:
            yield {"n_gpu_layers": most}
        yield {"n_gpu_layers": 0}
        return
    if "tensor_parallel" in given or len(gpus) <= 1 or engine not in RANKED:
        yield {}
        return
    for ranks in _RANKS:
        if ranks <= len(gpus) and inputs.architecture.heads % ranks == 0:
            yield {"tensor_parallel": ranks}


def _most_gpu_layers(engine: str, inputs: MemoryInputs) -> int:
    """The most layers that the GPUs hold, whatever the RAM says; 0 when not even one."""
    low, high = 0, inputs.architecture.layer_count + 1
    while high - low > 1:
        middle = (low + high) // 2
        tried = memory.forecast(engine, replace(inputs, settings={**inputs.settings, "n_gpu_layers": middle}))
        held = all(one.fits for one in tried.devices if one.kind.value == "gpu")
        low, high = (middle, high) if held else (low, middle)
    return low


def _placed(
    candidate: Candidate, engine: str, machine: PlannedMachine, wish: Wish, chosen: Mapping[str, Any],
    footprint: Footprint, name: str,
) -> PlannedPlacement:  # fmt: skip
    made_for = candidate.architecture.context
    if made_for and wish.context > made_for:
        beyond = Reason(
            "context-beyond-model",
            text("{model} was made for {most} tokens; more needs position scaling (RoPE, YaRN), costs quality, and an "
                 "engine may refuse it", model=candidate.model, most=made_for),
            candidate.source,
        )  # fmt: skip
        footprint = replace(footprint, reasons=(*footprint.reasons, beyond))
    return PlannedPlacement(
        id=name or f"{candidate.model}-{candidate.quantization}-{engine}".lower(), candidate=candidate, engine=engine,
        machine=machine, context=wish.context, parallel=wish.parallel, kv_type=wish.kv_type, footprint=footprint,
        speed=SpeedForecast(engine, None, None), settings={**wish.settings, **chosen},
    )  # fmt: skip


def speed_of(placement: PlannedPlacement, prompt: int = 1024) -> SpeedForecast:
    """The speed: expected after a few thousand tokens, one stream's low end with the context full."""
    candidate = placement.candidate
    batch = _whole(placement.settings.get(_BATCHES[placement.engine in LLAMA_CPP]))
    inputs = speed.SpeedInputs(
        architecture=candidate.architecture, weights=candidate.weights, parts=_parts(placement),
        context=min(placement.context, TYPICAL_FILL), prompt=max(1, min(prompt, placement.context)),
        kv_type=placement.kv_type, split_tensors=_ranks(placement) > 1, parallel=placement.parallel,
        batch_tokens=batch or None,
    )  # fmt: skip
    answer = speed.forecast(placement.engine, inputs)
    if answer.decode is None or placement.context <= TYPICAL_FILL:
        return answer
    full = speed.decode_after(placement.engine, replace(inputs, context=placement.context))
    if full is None:
        return answer
    slowest = Reason(
        "speed.full-context",
        text("decode: expected after {typical} tokens, low end after {context}, where about {speed} tokens/s remain",
             typical=inputs.context, context=placement.context, speed=f"{full.expected:.3g}"),
        "KV cache read for each token, as in the forecast",
    )  # fmt: skip
    decode = SpeedRange(min(full.low, answer.decode.low), answer.decode.expected, answer.decode.high)
    return replace(answer, decode=decode, reasons=(*answer.reasons, slowest))


def _ranks(placement: PlannedPlacement) -> int:
    if placement.engine not in RANKED:
        return 1
    return _whole(placement.settings.get("tensor_parallel")) or 1


def _parts(placement: PlannedPlacement) -> tuple[speed.Part, ...]:
    gpus, ram = placement.machine.gpus, placement.machine.ram
    if not gpus:
        return (speed.Part(ram, 1.0, 1.0),)
    if placement.engine not in LLAMA_CPP:
        return speed.spread_over(gpus[: _ranks(placement)] if placement.engine in RANKED else gpus)
    layers = placement.candidate.architecture.layer_count
    here = layers_in_ram(placement) / layers
    if here >= 1:
        return (speed.Part(ram, 1.0, 1.0),)
    experts = max(here, expert_layers_in_ram(placement) / layers)
    memory_of_all = sum(gpu.memory for gpu in gpus)
    shares = [gpu.memory / memory_of_all for gpu in gpus]
    parts = tuple(
        speed.Part(gpu, (1 - here) * share, (1 - experts) * share) for gpu, share in zip(gpus, shares, strict=True)
    )
    return (*parts, speed.Part(ram, here, experts)) if here or experts else parts


def _too_slow(placement: PlannedPlacement, wish: Wish) -> Reason | None:
    layers = layers_in_ram(placement)
    if not layers or _IN_RAM & wish.settings.keys():
        return None
    decode = placement.speed.decode
    if decode is not None and decode.expected >= LEAST_USEFUL:
        return None
    reached = text("an unknown speed") if decode is None else text(
        "about {speed} tokens/s", speed=f"{decode.expected:.2g}"
    )  # fmt: skip
    return Reason(
        "too-slow",
        text("with {layers} whole layers in RAM it would hold, but answer at {reached}: not counted as fitting; "
             "to have it all the same: --engine {engine} --set n_gpu_layers={count}",
             layers=layers, reached=reached, engine=placement.engine, count=placement.settings["n_gpu_layers"]),
        "planner rule: slower than anybody reads",
    )  # fmt: skip
