"""Leaving out a checkpoint before its forecast: what it could be at best is already beaten by what was forecast."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ansambl.domain.compatibility import Verdict
from ansambl.domain.device import DeviceKind, PlannedMachine
from ansambl.domain.planning import Candidate, PlannedPlacement
from ansambl.planner.memory.shares import usable
from ansambl.planner.placement.inputs import PlanInputs
from ansambl.planner.placement.worth import worth_at

SLACK, SLACK_MEMORY, OTHERS = 1.0, 0.03, 2
"""A variant is as good as another that is better by less: points of worth, and a share of a device's memory. A plan of
several models that holds one beaten by `OTHERS` other models can always take one of those instead.
"""

_CANNOT = -1e9
# Of the bytes of a checkpoint's files the part that is sure to lie on the GPUs when nothing is moved to RAM.
_SURE = 0.9


class Beaten:
    """The placements forecast so far on one set of devices, to compare with what is still to come."""

    def __init__(self, inputs: PlanInputs, machine: PlannedMachine) -> None:
        self._inputs = inputs
        self._machine = machine
        self._roles = (*inputs.roles, *inputs.helpers)
        self._gpus = sum(usable(gpu) for gpu in machine.gpus)
        self._ram = usable(machine.ram)
        self._rows: list[list[float]] = []
        self._models: list[str] = []
        self._table: NDArray[np.float64] | None = None
        self._open = frozenset((*inputs.pinned, *inputs.models))

    def add(self, placement: PlannedPlacement, points: Mapping[str, float | None], at_once: int) -> None:
        """A placement that was forecast and fits."""
        gpu = ram = 0
        for device in placement.footprint.devices:
            size = device.needed.high
            if device.kind is DeviceKind.RAM:
                ram += size
            else:
                gpu += size
        council = sum(1 for role in self._inputs.roles if role.at_once)
        if at_once < council:
            return
        self._rows.append([*self._row(points), -float(gpu), -float(ram)])
        self._models.append(placement.candidate.model)
        self._table = None

    def _row(self, points: Mapping[str, float | None]) -> list[float]:
        return [_CANNOT if (one := points[role.name]) is None else one for role in self._roles]

    def hopeless(self, candidate: Candidate, strength: float, verdict: Verdict) -> bool:
        """Whether two other models are as good at everything, whatever its forecast would say."""
        if len(self._rows) < OTHERS or candidate.model in self._open:
            return False
        best = [
            worth_at(strength, candidate, self._fastest(candidate), role, self._inputs.worth, verdict)
            for role in self._roles
        ]
        least = candidate.weights.span[0]
        gpu = ram = 0.0
        if self._machine.gpus:
            # Where not all fits, the GPUs are filled but for a layer or two.
            layer = least / max(1, candidate.architecture.layer_count)
            gpu = max(0.0, min(_SURE * least, self._gpus - 3 * layer))
        else:
            ram = float(least)
        if self._table is None:
            self._table = np.array(self._rows)
        row = np.array([*(_CANNOT if one is None else one for one in best), -gpu, -ram])
        slack = np.array([*(SLACK for _ in best), SLACK_MEMORY * self._gpus, SLACK_MEMORY * self._ram])
        better = np.all(self._table >= row - slack, axis=1)
        return len({self._models[one] for one in np.flatnonzero(better)} - {candidate.model}) >= OTHERS

    def _fastest(self, candidate: Candidate) -> float:
        """Tokens a second that no device of these exceeds: the active weights read once at full bandwidth."""
        devices = self._machine.gpus or (self._machine.ram,)
        bandwidths = [device.model.bandwidth for device in devices]
        if any(one is None for one in bandwidths):
            return 1e9
        architecture = candidate.architecture
        read = candidate.weights.span[0] * _SURE * architecture.active / max(1, architecture.parameters)
        return sum(one or 0.0 for one in bandwidths) / max(1.0, read)
