"""Every way to run a checkpoint on the machines that fits, less those that another way beats in everything.

Checkpoints × machines × engines × sets of devices; cheap bounds come before forecasts, and equal machines are worked
out once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ansambl.domain.catalog import Basis
from ansambl.domain.compatibility import Judgement, Verdict
from ansambl.domain.device import DeviceKind, PlannedMachine
from ansambl.domain.footprint import DeviceFootprint, Footprint
from ansambl.domain.planning import Candidate, PlannedPlacement
from ansambl.domain.units import GIB
from ansambl.planner.compatibility import judge
from ansambl.planner.families import GPU_ONLY
from ansambl.planner.fitting import LEAST_USEFUL, Wish, partly_in_ram
from ansambl.planner.memory.shares import usable
from ansambl.planner.placement.claims import Device, Step, busy, capacities, claims, step
from ansambl.planner.placement.domination import undominated
from ansambl.planner.placement.forecasts import Forecasts
from ansambl.planner.placement.inputs import PlanInputs, Wants
from ansambl.planner.placement.prefilter import OTHERS, SLACK, SLACK_MEMORY, Beaten
from ansambl.planner.placement.refusals import Refusals
from ansambl.planner.placement.side_by_side import least_budget
from ansambl.planner.placement.worth import Strength, cannot_serve, native_bits, strength, worth

# More bits than these lose nothing that a test notices (llama.cpp's Q8_0 is 8.5) and cost memory and speed.
_ENOUGH_BITS, _NEARLY_ENOUGH = 8.75, 8.0
# Two files of one model whose sizes differ by less than this share are the same choice; the reported one is kept.
_SAME_SIZE = 0.16
# Points lost by few bits from which on a file is only tried where none of the same model with more bits fits: a
# doubling of parameters is worth ten, and such a file saves a quarter of its memory.
_DESPERATE = 12.0
# Points lost from which on a file is not tried where one of its model that loses less takes no more than this share
# of the memory: there is nothing to save.
_LOSSY, _LIGHT = 4.0, 0.25
# On the processor beside a GPU more bits than these only cost speed, but for models of a few bytes.
_PROCESSOR_BITS, _PROCESSOR_SMALL = 5.5, 2 * GIB
# Tokens a second below which a model on the processor beside a GPU is not looked at.
_PROCESSOR_LEAST = 8.0
_CANNOT = -1e9
# Tokens of the longest passage that is embedded at once.
_EMBEDDING_CONTEXT = 8192
# A council's copies of the KV cache that take less than this share of a placement are always made.
_CHEAP_COPIES = 0.1


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to run a checkpoint.

    `points` are its worth by role name (None: it cannot serve it). `at_once` counts the roles of a council that it
    answers without one waiting for another. `taken` are bytes by device at the high end.
    """

    placement: PlannedPlacement
    machine: int
    gpus: tuple[int, ...]
    strength: Strength
    judgement: Judgement
    taken: Mapping[Device, int]
    busy: tuple[Device, ...]
    step: Step
    at_once: int
    points: Mapping[str, float | None]

    @property
    def model(self) -> str:
        """The model's short name."""
        return self.placement.candidate.model

    @property
    def key(self) -> tuple[object, ...]:
        """An order that does not depend on the order of the input."""
        one = self.placement
        settings = tuple(sorted((name, str(value)) for name, value in one.settings.items()))
        return (self.machine, self.gpus, one.candidate.model, one.candidate.quantization, one.candidate.format,
                one.candidate.reference, one.candidate.size, one.engine, one.parallel, settings)  # fmt: skip

    @property
    def on_gpus(self) -> bool:
        """Whether all of its work is done on GPUs."""
        one = self.placement
        return bool(one.machine.gpus) and not partly_in_ram(one)


@dataclass(frozen=True, slots=True)
class _Way:
    """A placement of one set of GPUs, before it is told to which machine and GPUs it belongs."""

    placement: PlannedPlacement
    strength: Strength
    judgement: Judgement
    at_once: int
    points: Mapping[str, float | None]


def thinned(candidates: Sequence[Candidate], made_with: Mapping[str, float]) -> tuple[Candidate, ...]:
    """The checkpoints less those that another of the same model and format makes needless, in a fixed order."""
    kept: list[Candidate] = []
    groups: dict[tuple[str, str], list[Candidate]] = {}
    order = sorted(candidates, key=lambda one: (one.model, one.format, one.quantization, one.reference, one.size))
    for one in order:
        groups.setdefault((one.model, one.format), []).append(one)
    for (model, _), group in groups.items():
        most = made_with.get(model, math.inf) * 1.03
        least_enough = [one.bits for one in group if one.bits >= _NEARLY_ENOUGH]
        if least_enough and min(least_enough) <= _ENOUGH_BITS:
            most = min(most, _ENOUGH_BITS)
        fitting = [one for one in group if one.bits <= most] or group
        # A reported size before a derived one, then the most bits: what comes later and weighs the same is left out.
        fitting.sort(key=lambda one: (one.basis is not Basis.REPORTED, -one.weights.total, one.quantization))
        chosen: list[Candidate] = []
        for one in fitting:
            if all(abs(one.weights.total - other.weights.total) > _SAME_SIZE * other.weights.total for other in chosen):
                chosen.append(one)
        kept.extend(sorted(chosen, key=lambda one: (-one.weights.total, one.quantization)))
    return tuple(kept)


def find_variants(inputs: PlanInputs, refusals: Refusals) -> tuple[Variant, ...]:
    """All variants for all machines, none dominated, in a fixed order; why checkpoints are left out goes to `refusals`.

    Raises:
        UsageError: a setting or the KV type makes no sense.
    """
    made_with = native_bits(inputs.candidates)
    strengths = []
    for one in thinned(inputs.candidates, made_with):
        points = strength(one, made_with, inputs.language, inputs.worth)
        refusals.strengths[one.model] = max(points.points, refusals.strengths.get(one.model, points.points))
        if _serves(one, inputs, refusals):
            strengths.append((one, points))
    strengths.sort(key=lambda pair: (-pair[1].points, pair[0].model, pair[0].quantization, pair[0].format))
    forecasts = Forecasts(refusals)
    known: dict[object, list[_Way]] = {}
    found: list[Variant] = []
    for position, machine in enumerate(inputs.machines):
        mine: list[Variant] = []
        for gpus in device_sets(machine):
            sub = replace(machine, gpus=tuple(machine.gpus[one] for one in gpus))
            alike = (_signature(sub), bool(machine.gpus))
            ways = known.get(alike)
            if ways is None:
                ways = known[alike] = list(_ways(strengths, sub, inputs, forecasts, beside_gpu=bool(machine.gpus)))
            mine.extend(_variant(way, inputs, position, sub, gpus) for way in ways)
        found.extend(_undominated(mine, inputs))
    found.sort(key=lambda one: one.key)
    return tuple(found)


def device_sets(machine: PlannedMachine) -> list[tuple[int, ...]]:
    """The sets of GPUs (by position) that a placement may use: each alone, neighbours in powers of two, all, none."""
    count = len(machine.gpus)
    sets: list[tuple[int, ...]] = [(one,) for one in range(count)]
    size = 2
    while size <= count:
        sets.extend(tuple(range(start, start + size)) for start in range(0, count - size + 1, size))
        size *= 2
    if count > 1 and tuple(range(count)) not in sets:
        sets.append(tuple(range(count)))
    if not machine.unified:
        sets.append(())
    return sets


def _signature(machine: PlannedMachine) -> object:
    gpus = tuple((gpu.model.name, gpu.model.bandwidth, gpu.memory) for gpu in machine.gpus)
    ram = machine.ram
    return gpus, (ram.model.name, ram.model.bandwidth, ram.model.bandwidth_low, ram.memory)


def _serves(candidate: Candidate, inputs: PlanInputs, refusals: Refusals) -> bool:
    """Whether any role or helper could use it at all."""
    chosen_by_user = candidate.model in inputs.models or candidate.model in inputs.pinned
    reasons = [cannot_serve(candidate, role) for role in inputs.roles]
    for_role = any(reason is None for reason in reasons) and (not inputs.models or chosen_by_user)
    for_helper = any(cannot_serve(candidate, role) is None for role in inputs.helpers)
    made_for = candidate.architecture.context
    embeds = any(role.wants is Wants.EMBEDDING and cannot_serve(candidate, role) is None for role in inputs.helpers)
    if not for_role and not for_helper:
        # That a model for search or speech does not chat is no news.
        reason = next((one for one in reasons if one is not None and one.code != "role.not-chat"), None)
        if reason is not None:
            refusals.add(candidate.model, reason)
        return False
    if made_for and made_for < inputs.context and not chosen_by_user and not embeds:
        refusals.context(candidate, inputs.context)
        return False
    return True


def _ways(
    strengths: Sequence[tuple[Candidate, Strength]], machine: PlannedMachine, inputs: PlanInputs, forecasts: Forecasts,
    *, beside_gpu: bool,
) -> Iterator[_Way]:  # fmt: skip
    device = (machine.gpus[0] if machine.gpus else machine.ram).model
    refusals = forecasts.refusals
    fitting: set[str] = set()
    light: set[str] = set()
    room = sum(usable(gpu) for gpu in machine.gpus) or usable(machine.ram)
    beaten = Beaten(inputs, machine)
    for candidate, points in strengths:
        if (candidate.model in fitting and points.lost >= _DESPERATE) or (
            candidate.model in light and points.lost >= _LOSSY
        ):
            continue
        for engine in inputs.engines:
            if candidate.format not in engine.formats:
                continue
            if not machine.gpus and engine.name in GPU_ONLY:
                continue
            judgement = Judgement(Verdict.YES)
            if inputs.rows is not None:
                judgement = judge(
                    inputs.rows, engine.name, version=inputs.versions.get(engine.name), format=candidate.format,
                    quantization=candidate.quantization, family=candidate.architecture.family, device=device,
                )  # fmt: skip
            if judgement.verdict is Verdict.NO:
                refusals.incompatible(candidate, judgement)
                continue
            if not _could_fit(candidate, engine.name, machine, refusals, beside_gpu=beside_gpu):
                continue
            if beaten.hopeless(candidate, points.points, judgement.verdict):
                refusals.feasible(candidate)
                continue
            for placement, at_once in _placements(
                candidate, engine.name, machine, inputs, forecasts, copies=bool(machine.gpus) or not beside_gpu
            ):
                fitting.add(candidate.model)
                if points.lost < _LOSSY and candidate.weights.total <= _LIGHT * room:
                    light.add(candidate.model)
                refusals.feasible(candidate)
                worths = _worths(placement, points, judgement, inputs)
                beaten.add(placement, worths, at_once)
                yield _Way(placement, points, judgement, at_once, worths)


def _could_fit(
    candidate: Candidate, engine: str, machine: PlannedMachine, refusals: Refusals, *, beside_gpu: bool
) -> bool:
    """Bounds that need no forecast: the weights alone against the memory, and the speed of the RAM."""
    weights = candidate.weights.span[0]
    gpus = sum(usable(gpu) for gpu in machine.gpus)
    unified = machine.unified
    room = gpus if unified or engine in GPU_ONLY else gpus + usable(machine.ram)
    if weights > room:
        refusals.too_large(candidate, machine, room)
        return False
    architecture = candidate.architecture
    bandwidth = machine.ram.model.bandwidth_low or machine.ram.model.bandwidth
    in_ram = (weights if not machine.gpus else weights - gpus) * architecture.active / max(1, architecture.parameters)
    if bandwidth is None or unified or in_ram <= 0 or (not machine.gpus and not beside_gpu):
        return True
    if not machine.gpus and weights > _PROCESSOR_SMALL and candidate.bits > _PROCESSOR_BITS:
        return False
    if bandwidth / in_ram >= (_PROCESSOR_LEAST if not machine.gpus else LEAST_USEFUL):
        return True
    if machine.gpus:
        refusals.too_slow(candidate, machine, bandwidth / in_ram)
    return False


def _placements(
    candidate: Candidate,
    engine: str,
    machine: PlannedMachine,
    inputs: PlanInputs,
    forecasts: Forecasts,
    *,
    copies: bool,
) -> Iterator[tuple[PlannedPlacement, int]]:
    """The placements of one engine with the roles of a council that each answers at once, with or without `copies`."""
    council = sum(1 for role in inputs.roles if role.at_once)
    context = inputs.context
    embedding = any(role.wants is Wants.EMBEDDING and cannot_serve(candidate, role) is None for role in inputs.helpers)
    if embedding:
        # A passage is short: an embedding model is asked for no more than it was made for.
        context = min(context, candidate.architecture.context or context, _EMBEDDING_CONTEXT)
    wish = Wish(context, 1 if embedding else inputs.parallel, inputs.kv_type, inputs.settings.get(engine, {}),
                inputs.prompt)  # fmt: skip
    if copies and council > wish.parallel and not embedding and engine not in GPU_ONLY:
        cloned = forecasts.placed(candidate, engine, machine, replace(wish, parallel=council))
        if cloned is not None and not _on_fewer(cloned):
            yield cloned, council
            cache = sum(device.kv_needed.high for device in cloned.footprint.devices)
            if cache * (1 - wish.parallel / council) <= _CHEAP_COPIES * cloned.footprint.total.high:
                return
    first = forecasts.placed(candidate, engine, machine, wish)
    if first is None or _on_fewer(first):
        return
    if first.footprint.kv_capacity_tokens is None:
        yield first, wish.parallel
        return
    # Its pages are shared between roles with one prefix, so a council needs no copies.
    smaller = least_budget(first, wish)
    yield smaller or first, max(council, wish.parallel)


def _on_fewer(placement: PlannedPlacement) -> bool:
    """Whether fewer of its GPUs would do as well: that is a variant of its own."""
    gpus = placement.machine.gpus
    if len(gpus) < 2:
        return False
    if placement.engine in GPU_ONLY:
        return len(_gpus(placement.footprint)) < len(gpus)
    if partly_in_ram(placement):
        return False
    return placement.footprint.total.high < min(usable(gpu) for gpu in gpus)


def _gpus(footprint: Footprint) -> list[DeviceFootprint]:
    return [device for device in footprint.devices if device.kind is DeviceKind.GPU]


def _variant(way: _Way, inputs: PlanInputs, position: int, machine: PlannedMachine, gpus: tuple[int, ...]) -> Variant:
    indexes = iter(gpu.index for gpu in machine.gpus)
    placement = way.placement
    devices = tuple(
        replace(one, index=next(indexes)) if one.kind is DeviceKind.GPU else one for one in placement.footprint.devices
    )
    placement = replace(placement, machine=machine, footprint=replace(placement.footprint, devices=devices))
    taken = claims(placement, position, gpus)
    return Variant(
        placement, position, gpus, way.strength, way.judgement, taken, busy(placement, taken),
        step(placement, len(inputs.roles), way.at_once), way.at_once,
        way.points,
    )  # fmt: skip


def _worths(
    placement: PlannedPlacement, points: Strength, judgement: Judgement, inputs: PlanInputs
) -> Mapping[str, float | None]:
    """The points of a placement by role; roles run on no other models than those that the user names, if any."""
    return {
        role.name: worth(points.points, placement, role, inputs.worth, judgement.verdict)
        if role.helper or not inputs.models or placement.candidate.model in inputs.models
        else None
        for role in (*inputs.roles, *inputs.helpers)
    }


def _undominated(variants: list[Variant], inputs: PlanInputs) -> list[Variant]:
    """The variants of one machine that no other beats in everything."""
    serving = sorted((one for one in variants if any(points is not None for points in one.points.values())),
                     key=lambda one: one.key)  # fmt: skip
    if not serving:
        return []
    devices = sorted({device for one in serving for device in one.taken})
    roles = (*inputs.roles, *inputs.helpers)
    room = capacities(inputs.machines)
    rows = [
        [sum(points for points in one.points.values() if points is not None)]
        + [_CANNOT if one.points[role.name] is None else float(one.points[role.name] or 0.0) for role in roles]
        + [-float(one.taken.get(device, 0)) for device in devices]
        + [float(one.at_once), -one.step.fixed, -one.step.fixed - one.step.slope * len(inputs.roles)]
        + [-float(device in one.busy) for device in devices]
        for one in serving
    ]
    slack = [math.inf, *(SLACK for _ in roles), *(SLACK_MEMORY * room[device] for device in devices),
             0.0, 0.0, 0.0, *(0.0 for _ in devices)]  # fmt: skip
    left = undominated(
        np.array(rows), np.array(slack), [one.model for one in serving], OTHERS,
        frozenset((*inputs.pinned, *inputs.models)),
    )  # fmt: skip
    return [serving[one] for one in left]
