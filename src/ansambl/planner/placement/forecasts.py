"""Forecasts of placements, each made once: machines with equal GPUs share those that keep nothing in RAM."""

from __future__ import annotations

from dataclasses import replace

from ansambl.domain.device import DeviceKind, PlannedMachine
from ansambl.domain.errors import AnsamblError
from ansambl.domain.footprint import Reason
from ansambl.domain.planning import Candidate, PlannedPlacement
from ansambl.planner.fitting import Wish, partly_in_ram, place
from ansambl.planner.memory.shares import usable
from ansambl.planner.placement.refusals import Refusals


class Forecasts:
    """What was forecast so far; what does not fit goes to `refusals`."""

    def __init__(self, refusals: Refusals) -> None:
        self.refusals = refusals
        self._known: dict[tuple[object, ...], PlannedPlacement] = {}

    def placed(self, candidate: Candidate, engine: str, machine: PlannedMachine, wish: Wish) -> PlannedPlacement | None:
        """The placement with the settings that fit; None when it does not fit or is refused."""
        gpus = tuple((gpu.model.name, gpu.model.bandwidth, gpu.memory) for gpu in machine.gpus)
        key = (id(candidate), engine, gpus, wish.context, wish.parallel)
        alike = self._known.get(key)
        if alike is not None:
            moved = _with_ram_of(alike, machine)
            if moved.fits:
                return moved
        try:
            placement = place(candidate, engine, machine, wish)
        except AnsamblError as error:
            self.refusals.add(candidate.model, Reason("placement.refused", error.message, "planner.fitting"))
            return None
        if not placement.fits:
            self.refusals.does_not_fit(candidate, placement)
            return None
        unified = machine.unified
        in_ram = partly_in_ram(placement)
        if gpus and not unified and not in_ram and "ram_margin" not in wish.settings:
            self._known[key] = placement
        return placement


def _with_ram_of(placement: PlannedPlacement, machine: PlannedMachine) -> PlannedPlacement:
    """The same placement on another machine with such GPUs: what lies in RAM is the same, the room for it is not."""
    ram = machine.ram
    devices = tuple(
        replace(one, name=ram.model.title, capacity=ram.memory, usable=usable(ram))
        if one.kind is DeviceKind.RAM
        else one
        for one in placement.footprint.devices
    )
    return replace(placement, machine=machine, footprint=replace(placement.footprint, devices=devices))
