"""The instances of a configuration on a machine, owned or not, as a simulation takes them: forecast or measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ansambl.app.configuration.configuration_file import load_data_paths
from ansambl.app.configuration.settings import AUTO, BUNDLED_ENGINE, BudgetSettings, ModelSettings
from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.configuration.settings_records import DEFAULT_CONTEXT, engine_name, parallel_of, placement
from ansambl.app.engine_choice import card_of_repo
from ansambl.app.footprints import (
    ASLEEP_ON_GPU,
    DISK_BYTES_PER_SECOND,
    LINK_BYTES_PER_SECOND,
    PYTHON_START_SECONDS,
    PYTHON_STOP_SECONDS,
    START_SECONDS,
    STOP_SECONDS,
)
from ansambl.app.measured_fits import measurements_here, with_measurements
from ansambl.app.planning import find_candidates, planned_machines
from ansambl.domain.device import DeviceKind, PlannedMachine
from ansambl.domain.engine import NotUsable
from ansambl.domain.errors import AnsamblError, NotSupportedError, UnknownNameError
from ansambl.domain.planning import Candidate, PlannedPlacement
from ansambl.domain.text import Text, text
from ansambl.domain.units import Bytes
from ansambl.engines.adapter import CanSleep
from ansambl.engines.compatibility import compatibility_rows
from ansambl.engines.registry import engine_lines, engine_names, get_engine
from ansambl.foundation.paths import DataPaths
from ansambl.planner.choosing import Engines, choose, engines_for
from ansambl.planner.families import LLAMA_CPP
from ansambl.planner.fitting import Wish
from ansambl.planner.memory.budget import visible_range
from ansambl.runtime.scheduling.records import RAM, InstanceFacts, Memory, SleepFacts, gpu_device
from ansambl.runtime.simulated import SimulatedInstance


@dataclass(frozen=True, slots=True)
class SimulatedMachine:
    """A machine with the instances of a configuration on it.

    `whole` is the memory of its devices, `capacity` what models may use of it. `placements` are the planner's, by
    model; `measured_loads` the models whose load time was measured here, of the others it follows from their size.
    `unknown` says of models that cannot be simulated why.
    """

    machine: PlannedMachine
    whole: Memory
    capacity: Memory
    instances: Mapping[str, SimulatedInstance]
    placements: Mapping[str, PlannedPlacement]
    measured_loads: frozenset[str] = frozenset()
    unknown: Mapping[str, AnsamblError] = field(default_factory=dict)


def simulated_machine(loaded: LoadedSettings, wanted: str | None, config: Path | None = None) -> SimulatedMachine:
    """The configuration on the machine `wanted`, on this one when it is None. Reads file headers.

    Raises:
        UsageError: there is no such machine.
    """
    machine = planned_machines([] if wanted is None else [wanted])[0]
    paths = load_data_paths(config)
    whole, capacity = _memory(machine, loaded.settings.budget)
    placements: dict[str, PlannedPlacement] = {}
    unknown: dict[str, AnsamblError] = {}
    for name, model in loaded.settings.models.items():
        try:
            placements[name] = _placed(name, model, machine, paths, here=wanted is None)
        except AnsamblError as error:
            unknown[name] = error
    conversations = loaded.settings.conversations
    kept = conversations.budget // max(1, len(placements)) if conversations.persist else 0
    instances = {name: _instance(loaded, name, one, capacity, kept) for name, one in placements.items()}
    measured = (name for name, one in placements.items() if one.measured and one.measured.load_seconds is not None)
    return SimulatedMachine(machine, whole, capacity, instances, placements, frozenset(measured), unknown)


def _memory(machine: PlannedMachine, budget: BudgetSettings) -> tuple[Memory, Memory]:
    """The devices as the scheduler names them. A GPU that lies in the RAM is no device of its own."""
    whole: dict[str, Bytes] = {RAM: machine.ram.memory}
    own = (one for one in machine.gpus if not one.model.unified_memory)
    whole.update({gpu_device(one.index): visible_range(one).expected for one in own})
    limits = {device: budget.ram if device == RAM else budget.gpu for device in whole}
    return whole, {device: min(size, limits[device] or size) for device, size in whole.items()}


def _placed(
    name: str, model: ModelSettings, machine: PlannedMachine, paths: DataPaths, *, here: bool
) -> PlannedPlacement:
    """The placement that the planner would take for a configured model.

    Raises:
        AnsamblError: it is unknown, or nothing can be forecast of it.
    """
    if model.checkpoint is None:
        raise NotSupportedError(
            text("of '{model}' neither memory nor speed can be forecast: it has no 'checkpoint'; leave it out of the "
                 "trace", model=name)
        )  # fmt: skip
    candidates = _candidates(model.checkpoint, paths)
    trained = candidates[0].architecture.context
    wish = Wish(
        model.context or min(trained or DEFAULT_CONTEXT, DEFAULT_CONTEXT), parallel_of(model),
        "f16" if model.kv_type == "auto" else model.kv_type, _forecast_settings(model),
    )  # fmt: skip
    engine = None if model.engine == AUTO else engine_name(model)
    engine = "llama.cpp" if engine == BUNDLED_ENGINE else engine
    facts = compatibility_rows()

    def engines(candidate: Candidate) -> Engines:
        return engines_for(candidate, machine, facts, wanted=engine)

    choice = choose(candidates, engines, machine, wish)
    if choice is None:
        raise NotSupportedError(
            text("nothing is known that runs {model} on {machine}; see: ansambl compat {model} --machine {machine}",
                 model=model.checkpoint, machine=machine.name)
        )  # fmt: skip
    measured = measurements_here(model.checkpoint, paths) if here else None
    if measured is not None:
        choice = with_measurements(choice, measured, engine=engine, settings=wish.settings)
    best = choice.best
    if not best.fits:
        raise NotSupportedError(
            text("'{name}' cannot be simulated: {model} does not fit {machine}; see: {command}",
                 name=name, model=model.checkpoint, machine=machine.name,
                 command=_fit_command(model.checkpoint, machine, here=here))
        )  # fmt: skip
    if best.speed.decode is None or best.speed.prefill is None:
        raise NotSupportedError(_no_speed(name, model.checkpoint, machine, here=here))
    return best


def _no_speed(name: str, checkpoint: str, machine: PlannedMachine, *, here: bool) -> Text:
    if here:
        return text("'{name}' cannot be simulated: the speed of {model} on this machine is not known; have it read and "
                    "write some long texts, so that it is measured, or choose another --machine",
                    name=name, model=checkpoint)  # fmt: skip
    return text("'{name}' cannot be simulated: the speed of {model} on {machine} is not known; see: {command}",
                name=name, model=checkpoint, machine=machine.name,
                command=_fit_command(checkpoint, machine, here=False))  # fmt: skip


def _fit_command(checkpoint: str, machine: PlannedMachine, *, here: bool) -> str:
    """The command that tells more; this machine has no name that commands know."""
    return f"ansambl fit {checkpoint}" if here else f"ansambl fit {checkpoint} --machine {machine.name}"


def _candidates(reference: str, paths: DataPaths) -> tuple[Candidate, ...]:
    """The checkpoints that a configuration means: of ``owner/name:Q4_K_M``, too, where it was not fetched yet."""
    try:
        return find_candidates(reference, None, paths)
    except UnknownNameError:
        model, _, quantization = reference.partition(":")
        card = card_of_repo(model)
        if card is None and not quantization:
            raise
        return find_candidates(card.name if card else model, quantization or None, paths)


def _instance(
    loaded: LoadedSettings, name: str, placed: PlannedPlacement, capacity: Memory, kept: int
) -> SimulatedInstance:
    model, speed = loaded.settings.models[name], placed.speed
    llama = placed.engine in LLAMA_CPP
    measured = placed.measured.load_seconds if placed.measured else None
    start = START_SECONDS if llama else PYTHON_START_SECONDS
    decode, prefill = speed.decode, speed.prefill
    if decode is None or prefill is None:
        message = "a placement without a speed was refused before"
        raise AssertionError(message)
    places, tokens = placed.parallel, placed.context * placed.parallel
    card = placed.candidate.card
    facts = InstanceFacts(
        name, needs=_needs(placed, capacity), places=places,
        load_seconds=measured if measured is not None else start + placed.candidate.size / DISK_BYTES_PER_SECOND,
        stop_seconds=STOP_SECONDS if llama else PYTHON_STOP_SECONDS,
        pinned=model.pinned, warm=model.warm, chats=card is None or card.kind.answers,
        sleeps=_sleeps(loaded, name, placed), ttl=None if model.pinned else model.ttl,
    )  # fmt: skip
    kv = sum(one.kv_needed.expected for one in placed.footprint.devices)
    return SimulatedInstance(
        facts, prefill=prefill.expected, decode=decode.expected,
        together=max(decode.expected, speed.batch.expected) if speed.batch else None, full=places,
        cache_tokens=0 if llama else placed.footprint.kv_capacity_tokens or tokens,
        kept_tokens=kept * tokens // kv if llama and kv else 0,
    )  # fmt: skip


def _needs(placed: PlannedPlacement, capacity: Memory) -> Memory:
    """The memory to reserve by device, by the rule of `footprints`: halfway between the expected and the high end."""
    needs: dict[str, int] = {}
    expected: dict[str, int] = {}
    for one in placed.footprint.devices:
        gpu = placed.machine.gpus[one.index] if one.kind is DeviceKind.GPU else None
        device = RAM if gpu is None or gpu.model.unified_memory else gpu_device(gpu.index)
        total = one.total
        likely = total.expected - one.reclaimable
        expected[device] = expected.get(device, 0) + likely
        needs[device] = needs.get(device, 0) + likely + (total.high - total.expected) // 2
    found = {}
    for device, size in needs.items():
        most = capacity.get(device, size)
        found[device] = Bytes(most if size > most >= expected[device] else size)
    return found


def _forecast_settings(model: ModelSettings) -> Mapping[str, Any]:
    """The settings of the engine that a forecast knows; others change neither memory nor speed."""
    known = {one.name for lines in engine_lines().values() for one in lines.settings if not one.extra}
    return {name: value for name, value in model.settings.items() if name in known}


def _sleeps(loaded: LoadedSettings, name: str, placed: PlannedPlacement) -> tuple[SleepFacts, ...]:
    """The levels at which the engine can sleep with its settings, by the rules of `footprints`."""
    if placed.engine not in engine_names():
        return ()
    adapter = get_engine(placed.engine)
    if not isinstance(adapter, CanSleep):
        return ()
    own = tuple(one.index for one in placed.machine.gpus)
    calls = adapter.sleep_calls(replace(placement(loaded, name, None, placed.engine), gpus=own))
    if isinstance(calls, NotUsable):
        return ()
    weights, parts = placed.candidate.size, placed.footprint.devices
    process = sum(one.total.expected for one in parts if one.kind is DeviceKind.RAM)
    gpus = {gpu_device(one.index): ASLEEP_ON_GPU for one in placed.machine.gpus if not one.model.unified_memory}
    kept = {1: process + weights}
    wake = {1: weights / LINK_BYTES_PER_SECOND}
    again = weights / DISK_BYTES_PER_SECOND
    return tuple(
        SleepFacts(level, {RAM: Bytes(kept.get(level, process)), **gpus}, 0.5 + wake.get(level, again))
        for level in calls.levels
    )


def load_basis(machine: SimulatedMachine, model: str) -> Text:
    """Where the load time of a model comes from."""
    if model in machine.measured_loads:
        return text("measured on this machine")
    return text("its size at {rate} GB/s, and the engine's own start", rate=DISK_BYTES_PER_SECOND / 1e9)
