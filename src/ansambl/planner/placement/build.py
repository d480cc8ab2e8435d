"""From variants to the program's whole numbers, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ansambl.domain.units import MIB
from ansambl.planner.placement.claims import Device, capacities
from ansambl.planner.placement.inputs import PlanInputs
from ansambl.planner.placement.problem import Column, Problem
from ansambl.planner.placement.variants import Variant

UNITS = 20
"""Whole numbers of the program for one point: tenths of worth times halves of weight."""

_TENTHS, _HALF_WEIGHTS = 10, 2
_MICROSECONDS = 1e6
# Doublings from 1 ms to 32 s for a token of all roles; what is slower is all the same.
_FASTEST, _DOUBLINGS, _FOREVER = 1_000, 15, 10**12


@dataclass(frozen=True, slots=True)
class Built:
    """The program's input with what its numbers mean."""

    problem: Problem
    variants: tuple[Variant, ...]
    kinds: tuple[str, ...]
    roles: tuple[str, ...]
    devices: tuple[Device, ...]


def build(inputs: PlanInputs, variants: Sequence[Variant]) -> Built:
    """The problem of all variants together; its order depends only on the variants' own order."""
    room = capacities(inputs.machines)
    devices = tuple(sorted(room))
    position = {device: number for number, device in enumerate(devices)}
    kinds = tuple(sorted({one.model for one in variants}))
    kind_of = {name: number for number, name in enumerate(kinds)}
    needs = (*inputs.roles, *inputs.helpers)
    rules, goal = inputs.worth, inputs.goal.value
    shift = _shifts(inputs, variants)
    columns = tuple(
        Column(
            group=one.machine,
            kind=kind_of[one.model],
            # Up, and the capacity down, so that what fits here fits in bytes.
            taken={position[device]: -(-size // MIB) for device, size in one.taken.items()},
            worth=tuple(
                None if (points := one.points[role.name]) is None else round((points + shift[role.name]) * _TENTHS)
                for role in needs
            ),
            at_once=one.at_once,
            busy=tuple(position[device] for device in one.busy),
            fixed=round(one.step.fixed * _MICROSECONDS),
            slope=round(one.step.slope * _MICROSECONDS),
        )
        for one in variants
    )
    weights = tuple(max(1, round(role.weight * _HALF_WEIGHTS)) for role in needs)
    weight = sum(weights[: len(inputs.roles)])
    problem = Problem(
        columns=columns,
        capacity={position[device]: size // MIB for device, size in room.items()},
        weights=weights,
        required=len(inputs.roles),
        council=frozenset(number for number, role in enumerate(inputs.roles) if role.at_once),
        weakest=round(weight * rules.weakest.get(goal, 0.0)),
        clone=round(rules.clone * UNITS),
        column=round(rules.placement * UNITS),
        swap=round(rules.swap * _TENTHS),
        levels=_levels(rules.rates.get(goal, 0.0) * _TENTHS * weight),
    )
    return Built(problem, tuple(variants), kinds, tuple(role.name for role in needs), devices)


def _shifts(inputs: PlanInputs, variants: Sequence[Variant]) -> dict[str, float]:
    """Points to add by role so that the best possible is the same for all; helpers keep their own scale.

    The worst served role is then the one that misses most of what it could have, not the one whose scale is lowest.
    """
    best = {}
    for role in inputs.roles:
        reached = [points for one in variants if (points := one.points[role.name]) is not None]
        best[role.name] = max(reached, default=0.0)
    mean = sum(best.values()) / len(best)
    return {role.name: 0.0 if role.helper else mean - best[role.name] for role in (*inputs.roles, *inputs.helpers)}


def _levels(for_doubling: float) -> tuple[tuple[int, int], ...]:
    if for_doubling <= 0:
        return ()
    levels = [(_FASTEST << one, round(for_doubling * (_DOUBLINGS - one))) for one in range(_DOUBLINGS + 1)]
    return (*levels, (_FOREVER, 0))
