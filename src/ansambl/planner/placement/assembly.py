"""From an answer of the program to an option of the plan: placements, roles, prefix groups, clones, swaps."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ansambl.domain.device import DeviceKind
from ansambl.domain.planning import PlannedPlacement, Residency
from ansambl.planner import memory
from ansambl.planner.fitting import Wish, memory_inputs
from ansambl.planner.memory.shares import VISIBLE_LOW
from ansambl.planner.memory.vllm import DEFAULT_UTILIZATION
from ansambl.planner.placement.build import UNITS, Built
from ansambl.planner.placement.claims import RAM, capacities, claims
from ansambl.planner.placement.inputs import PlanInputs, RoleNeed
from ansambl.planner.placement.problem import Answer, value
from ansambl.planner.placement.variants import Variant


@dataclass(frozen=True, slots=True)
class Chosen:
    """An answer in the plan's own records. `variants` are by placement id, `main` is the strongest with a role."""

    placements: tuple[PlannedPlacement, ...]
    variants: Mapping[str, Variant]
    roles: Mapping[str, str]
    prefix_groups: tuple[tuple[str, ...], ...]
    clones: Mapping[str, int]
    swaps: float
    rank: float
    main: str

    @property
    def main_variant(self) -> Variant:
        """The variant of the strongest placement that serves a role."""
        return self.variants[self.main]


def assemble(inputs: PlanInputs, built: Built, answer: Answer) -> Chosen:
    """The records of one answer."""
    names: dict[int, str] = {}
    for number in answer.chosen:
        one = built.variants[number].placement
        base = f"{one.candidate.model}-{one.candidate.quantization}@{one.machine.name}".lower()
        names[number] = base if base not in names.values() else f"{base}-{len(names) + 1}"
    placements = {
        number: replace(
            built.variants[number].placement, id=names[number],
            residency=Residency.SWAPPED if number in answer.swapped else Residency.RESIDENT,
        )
        for number in answer.chosen
    }  # fmt: skip
    _widen(inputs, built, answer, placements)
    roles = {role: names[number] for role, number in zip(built.roles, answer.roles, strict=True) if number is not None}
    mains = {number for number in answer.roles[: built.problem.required] if number is not None}
    main = min(mains, key=lambda number: (-built.variants[number].strength.points, number))
    council = [role.name for role in inputs.roles if role.at_once]
    clones = {}
    for number in sorted(mains):
        placement = placements[number]
        copies = min(placement.parallel, sum(1 for role in council if roles[role] == names[number])) - inputs.parallel
        if copies > 0 and placement.footprint.kv_capacity_tokens is None:
            clones[names[number]] = copies
    return Chosen(
        placements=_most_used_first([placements[number] for number in answer.chosen], roles, inputs.roles),
        variants={names[number]: built.variants[number] for number in answer.chosen},
        roles=roles,
        prefix_groups=_prefix_groups(inputs.roles, roles),
        clones=clones,
        swaps=_swaps(inputs, roles, {names[number] for number in answer.swapped}, placements.values()),
        rank=value(built.problem, answer) / UNITS,
        main=names[main],
    )


def _most_used_first(
    placements: Sequence[PlannedPlacement], placed: Mapping[str, str], roles: Sequence[RoleNeed]
) -> tuple[PlannedPlacement, ...]:
    """Those that serve the most roles first, helpers last."""
    serving = Counter(placed[role.name] for role in roles)
    return tuple(sorted(placements, key=lambda one: (-serving[one.id], -one.candidate.size, one.id)))


def _prefix_groups(roles: Sequence[RoleNeed], placed: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    groups: dict[tuple[str, str], list[str]] = {}
    for role in roles:
        groups.setdefault((placed[role.name], role.head), []).append(role.name)
    return tuple(tuple(names) for names in groups.values() if len(names) > 1)


def _swaps(
    inputs: PlanInputs, roles: Mapping[str, str], swapped: set[str], placements: Iterable[PlannedPlacement]
) -> float:
    """Swaps an hour when each request's role is drawn by weight.

    A swap comes when of a swap group another member is asked for than the last time.
    """
    machines = {one.id: one.machine.name for one in placements}
    total = sum(role.weight for role in inputs.roles)
    expected = 0.0
    for machine in sorted({machines[one] for one in swapped}):
        shares = {
            one: sum(role.weight for role in inputs.roles if roles[role.name] == one) / total
            for one in sorted(swapped) if machines[one] == machine
        }  # fmt: skip
        asked = sum(shares.values())
        if asked:
            expected += inputs.requests_per_hour * asked * (1 - sum((share / asked) ** 2 for share in shares.values()))
    return expected


def _widen(inputs: PlanInputs, built: Built, answer: Answer, placements: dict[int, PlannedPlacement]) -> None:
    """Give an engine that fills a budget what nobody else wants of its GPUs: its KV cache then holds more."""
    room = capacities(inputs.machines)
    for number in answer.chosen:
        placement, variant = placements[number], built.variants[number]
        share = placement.settings.get("gpu_memory_utilization")
        if placement.footprint.kv_capacity_tokens is None or share is None or number in answer.swapped:
            continue
        if share == inputs.settings.get(placement.engine, {}).get("gpu_memory_utilization"):
            continue
        others = dict.fromkeys(variant.taken, 0)
        for other in answer.chosen:
            if other != number:
                for device, size in built.variants[other].taken.items():
                    if device in others:
                        others[device] += size
        gpus = [one for one in variant.taken if one[1] != RAM]
        capacity = {one.index: one.capacity for one in placement.footprint.devices if one.kind is DeviceKind.GPU}
        least = min(
            (room[device] - others[device]) / (size * VISIBLE_LOW)
            for device, size in zip(sorted(gpus), (capacity[key] for key in sorted(capacity)), strict=True)
        )
        wider = min(DEFAULT_UTILIZATION, math.floor(least * 100 - 1) / 100)
        if wider <= float(share):
            continue
        settings = {**placement.settings, "gpu_memory_utilization": wider}
        wish = Wish(placement.context, placement.parallel, placement.kv_type, settings)
        again = memory.forecast(placement.engine, memory_inputs(placement.candidate, placement.machine, wish))
        grown = replace(placement, footprint=again, settings=settings)
        taken = claims(grown, variant.machine, variant.gpus)
        if again.fits and all(size + others.get(device, 0) <= room[device] for device, size in taken.items()):
            placements[number] = grown
