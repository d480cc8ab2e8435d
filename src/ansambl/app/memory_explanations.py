"""More about an engine that ended for lack of memory: what it needed, what was free, and which context would fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ansambl.app.placement_forecast import PlacementForecast, forecast_placement
from ansambl.domain.engine import ExitExplanation, ExitReason
from ansambl.domain.errors import AnsamblError
from ansambl.domain.footprint import DeviceFootprint
from ansambl.domain.hardware import Machine, Memory
from ansambl.domain.plan import Placement
from ansambl.domain.text import Text, text
from ansambl.domain.units import Bytes, format_bytes
from ansambl.engines.registry import get_engine
from ansambl.planner import memory
from ansambl.planner.families import LLAMA_CPP

LEAST_CONTEXT = 256
"""Tokens; what is advised is a multiple of it, as llama.cpp pads its cells, and a shorter context helps nobody."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What would fit: a context with as many sequences."""

    context: int
    parallel: int


class MemoryExplainer:
    """Explains the ends of one instance's engine.

    Args:
        machine: looks at the machine now; asked after the engine is gone, so what it held is free again.
        kills: counts the processes that the kernel ended for lack of memory; None where nobody can tell.
    """

    def __init__(self, machine: Callable[[], Machine], kills: Callable[[], int | None]) -> None:
        self._machine = machine
        self._kills = kills
        self._killed = kills()

    def explain_more(self, placement: Placement, explanation: ExitExplanation) -> ExitExplanation:
        """The explanation with what was missing and what would fit. Reads headers of files: call it in a thread."""
        if explanation.reason is ExitReason.KILLED:
            explanation = self._proven(placement, explanation)
        if explanation.reason is not ExitReason.OUT_OF_MEMORY or explanation.largest_context is not None:
            return explanation
        try:
            return explained(placement, explanation, self._machine())
        except AnsamblError:
            return explanation

    def _proven(self, placement: Placement, explanation: ExitExplanation) -> ExitExplanation:
        """Out of memory where the kernel's own count says so; the system's log needs rights that we may not have."""
        before, self._killed = self._killed, self._kills()
        if before is None or self._killed is None or self._killed <= before:
            return explanation
        return replace(
            explanation, reason=ExitReason.OUT_OF_MEMORY,
            message=text("{engine} was ended by the kernel because memory ran out; lower context or parallel, or "
                         "choose a smaller checkpoint", engine=get_engine(placement.engine).traits.title),
        )  # fmt: skip


def explained(placement: Placement, explanation: ExitExplanation, machine: Machine) -> ExitExplanation:
    """The explanation with figures of the forecast beside what is free on `machine` now.

    A restart helps when others may give memory back, and not where the machine has too little of it in all. Engines
    that divide a share of the GPU by rules of their own say themselves what fits: their explanation stays as it is.
    """
    if placement.engine not in LLAMA_CPP and placement.engine != "transformers":
        return explanation
    free = _only_free(machine)
    found = forecast_placement(placement, free)
    if found is None:
        return explanation
    found = _without_margin(found)
    short = max(found.footprint.devices, key=lambda one: one.needed.expected - one.capacity)
    missing = max(0, short.needed.expected - short.capacity)
    advice = would_fit(found, placement)
    message = _with_figures(explanation.message, short, missing) if missing else explanation.message
    message = with_advice(message, advice, placement)
    total = machine.memory.usable + sum(gpu.memory_total or 0 for gpu in machine.gpus if not gpu.integrated)
    hopeless = sum(one.needed.low for one in found.footprint.devices) > total
    return replace(
        explanation, message=message, restart_helps=explanation.restart_helps and not hopeless,
        missing=explanation.missing or (Bytes(missing) or None),
        largest_context=advice.context if advice is not None and advice.parallel == placement.parallel else None,
    )  # fmt: skip


def would_fit(found: PlacementForecast, placement: Placement) -> Advice | None:
    """The longest context that fits with as many sequences, else with one; None when nothing does, or all would."""
    for parallel in dict.fromkeys((placement.parallel, 1)):
        inputs = replace(found.inputs, parallel=parallel)
        longest = memory.largest_context(found.engine, inputs)
        if longest is None:
            continue
        trained = placement.checkpoint.context if placement.checkpoint else None
        context = min(longest, placement.context, trained or longest)
        if parallel == placement.parallel and context >= placement.context:
            # By the forecast it would have fitted: advice from it would be wrong again.
            return None
        rounded = context // LEAST_CONTEXT * LEAST_CONTEXT
        if rounded:
            return Advice(rounded, parallel)
    return None


def with_advice(problem: Text, advice: Advice | None, placement: Placement) -> Text:
    """The problem with what would fit instead."""
    if advice is None:
        return problem
    if advice.parallel == placement.parallel:
        return text("{problem}; context = {context} would fit", problem=problem, context=advice.context)
    return text("{problem}; context = {context} with parallel = {parallel} would fit", problem=problem,
                context=advice.context, parallel=advice.parallel)  # fmt: skip


def _with_figures(problem: Text, device: DeviceFootprint, missing: int) -> Text:
    return text(
        "{problem}; by the forecast it needs {needed} on {device}, {missing} more than the {free} that are free there",
        problem=problem, needed=format_bytes(device.needed.expected), device=device.name,
        missing=format_bytes(Bytes(missing)), free=format_bytes(device.capacity),
    )  # fmt: skip


def _only_free(machine: Machine) -> Machine:
    """The machine as if it had only what is free on it now."""
    gpus = tuple(
        replace(gpu, memory_total=Bytes(gpu.memory_total - gpu.memory_used), memory_used=Bytes(0))
        if gpu.memory_total is not None and gpu.memory_used is not None and not gpu.integrated
        else gpu
        for gpu in machine.gpus
    )
    available = machine.memory.available
    return replace(machine, memory=Memory(available, available), gpus=gpus)


def _without_margin(found: PlacementForecast) -> PlacementForecast:
    """Nothing is left to others: what they use is not free any more."""
    if found.engine not in LLAMA_CPP:
        return found
    inputs = replace(found.inputs, settings={**found.inputs.settings, "ram_margin": 0})
    return replace(found, inputs=inputs, footprint=memory.forecast(found.engine, inputs))
