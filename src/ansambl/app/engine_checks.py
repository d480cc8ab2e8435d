"""Checks before an engine is started: what cannot work is refused in one line, what is doubtful is only told."""

from __future__ import annotations

from dataclasses import replace

from ansambl.app.memory_explanations import with_advice, would_fit
from ansambl.app.placement_forecast import forecast_placement, used_gpus
from ansambl.domain.device import DeviceKind
from ansambl.domain.engine import EngineTraits, Installed
from ansambl.domain.errors import NotSupportedError
from ansambl.domain.footprint import DeviceFootprint, Footprint, Range
from ansambl.domain.hardware import Machine
from ansambl.domain.plan import Placement
from ansambl.domain.text import Text, text
from ansambl.domain.units import Bytes, format_bytes
from ansambl.engines.compatibility import compatibility_rows
from ansambl.engines.drivers import cuda_beside, driver_needs
from ansambl.model_catalog.catalog import catalog
from ansambl.planner.compatibility import StartJudgement, StartQuestion, judge_start
from ansambl.planner.families import LLAMA_CPP


def check_start(
    placement: Placement, traits: EngineTraits, installed: Installed | None, machine: Machine, *, memory: bool = True
) -> list[Text]:
    """What the owner should know before this start, although nothing keeps the engine from trying.

    Reads the headers of the checkpoint's files, so call it in a thread.

    Args:
        placement: what shall be started.
        traits: the engine's.
        installed: what was found of the engine.
        machine: this machine, with the memory that is free now.
        memory: whether the forecast is compared with it.

    Raises:
        NotSupportedError: it cannot work: a format or quantization that the engine does not read, a GPU that it does
            not run on, a driver too old for its build, no GPU where it needs one, or more memory than there is at all.
    """
    judged = judge_checkpoint(placement, traits, installed, machine)
    if judged.against:
        raise NotSupportedError(
            text("models.{model}: {reason}; choose another engine or another checkpoint, or see: ansambl doctor",
                 model=placement.model, reason=judged.against[0].text)
        )  # fmt: skip
    told = [*_missing_gpus(placement, machine), *(one.text for one in judged.warnings)]
    return [*told, *check_memory(placement, machine)] if memory else told


def _missing_gpus(placement: Placement, machine: Machine) -> list[Text]:
    """An engine that is told a GPU which is not there mostly goes on without, and says nothing."""
    missing = set(placement.gpus) - {one.index for one in used_gpus(placement, machine)}
    if not missing:
        return []
    return [
        text("models.{model}.gpus names {missing}, and no such GPU was found here; see: ansambl machines detect",
             model=placement.model, missing=", ".join(map(str, sorted(missing))))
    ]  # fmt: skip


def judge_checkpoint(
    placement: Placement, traits: EngineTraits, installed: Installed | None, machine: Machine
) -> StartJudgement:
    """The engine, its version and build, the checkpoint and the GPUs judged; memory is not looked at."""
    checkpoint = placement.checkpoint
    card = catalog().get(placement.known_as or "")
    family = (checkpoint.architecture if checkpoint else None) or (card.family if card else None)
    question = StartQuestion(
        engine=traits, installed=installed, format=checkpoint.format if checkpoint else None,
        quantization=checkpoint.quantization if checkpoint else None, family=family,
        kv_type=None if placement.kv_type == "auto" or "/" in placement.kv_type else placement.kv_type,
        gpus=used_gpus(placement, machine), cuda=cuda_beside(installed.path if installed else None),
    )  # fmt: skip
    return judge_start(question, compatibility_rows(), driver_needs())


def check_memory(placement: Placement, machine: Machine) -> list[Text]:
    """The forecast against the memory that is free now, with figures.

    A forecast may be wrong, so it refuses only what is more than all memory of the machine together.

    Raises:
        NotSupportedError: even the least that the engine must hold is more than the machine has.
    """
    found = forecast_placement(placement, machine)
    if found is None:
        return []
    footprint = found.footprint
    least, capacity = _unavoidable(placement, footprint), sum(one.capacity for one in footprint.devices)
    if least > capacity:
        problem = text(
            "models.{model}: it needs at least {needed}, and this machine has {capacity} in all; lower context "
            "({context} × {parallel} tokens), or choose a smaller checkpoint", model=placement.model,
            needed=format_bytes(Bytes(least)), capacity=format_bytes(Bytes(capacity)), context=placement.context,
            parallel=placement.parallel,
        )  # fmt: skip
        raise NotSupportedError(with_advice(problem, would_fit(found, placement), placement))
    return [
        text("models.{model} will take about {needed} on {device}, and {free} are free there now; close what uses "
             "the memory, or lower context", model=placement.model, needed=format_bytes(_taken(one).expected),
             device=one.name, free=format_bytes(free))
        for one in footprint.devices
        if (free := _free(one, placement, machine)) is not None and _taken(one).expected > free
    ]  # fmt: skip


def _unavoidable(placement: Placement, footprint: Footprint) -> int:
    """The least bytes that cannot be read from the file again while it runs."""
    least: int = sum(_taken(one).low for one in footprint.devices)
    if placement.engine in LLAMA_CPP:
        # Weights in RAM are pages of the file: with too little RAM it is slow, but it starts.
        least -= sum(one.weights.low - one.reclaimable for one in footprint.devices if one.kind is DeviceKind.RAM)
    return least


def _taken(device: DeviceFootprint) -> Range:
    """What it will take: an engine with a cache of fixed size in RAM lets requests wait that find no room in it."""
    if device.kind is not DeviceKind.RAM or device.kv_cache.high >= device.kv_needed.high:
        return device.needed
    return replace(device, kv_needed=device.kv_cache).needed


def _free(device: DeviceFootprint, placement: Placement, machine: Machine) -> Bytes | None:
    if device.kind is DeviceKind.RAM:
        return machine.memory.available
    gpus = used_gpus(placement, machine)
    gpu = gpus[device.index] if device.index < len(gpus) else None
    if gpu is None or gpu.memory_total is None or gpu.memory_used is None:
        return None
    return Bytes(gpu.memory_total - gpu.memory_used)
