"""What this machine measured, put in the place of what was forecast: for the very checkpoint, engine and settings."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansambl.app.placement_forecast import UNMEASURED
from ansambl.domain.errors import AnsamblError
from ansambl.domain.footprint import Reason
from ansambl.domain.hardware import Machine
from ansambl.domain.measurement import Measurement, Speeds, machine_key, setting_words
from ansambl.domain.names import folded
from ansambl.domain.planning import Candidate, Plan, PlannedPlacement, PlanOption
from ansambl.domain.text import text
from ansambl.domain.units import format_bytes
from ansambl.foundation.paths import DataPaths
from ansambl.hardware import inventory
from ansambl.model_catalog import embedded
from ansambl.model_catalog.checkpoints import open_checkpoint
from ansambl.planner.choosing import Choice
from ansambl.planner.families import LLAMA_CPP
from ansambl.planner.fitting import Wish, measured_speed, place, with_measurement
from ansambl.runtime.measurements import read_measurements

_DOUBTS = frozenset({"unknown", "slow", "projector-not-counted"})
_SIZE_MARGIN = 0.01
"""A catalog's size of files beside that of the files themselves."""


@dataclass(frozen=True, slots=True)
class MeasurementsHere:
    """The measurements of this machine. `identity` is that of the checkpoint that was asked about, where it is here."""

    machine: Machine
    found: tuple[Measurement, ...]
    identity: str | None = None

    def best(
        self, placement: PlannedPlacement, *, engine: str | None, settings: Mapping[str, Any]
    ) -> Measurement | None:
        """The measurement that tells most of the placement: of the same context, else of the nearest one.

        `engine` and `settings` are those that were asked for; what was left open is as it was measured.
        """
        fitting = [one for one in self.found if self._speaks_of(one, placement, engine, settings)]
        best = min(fitting, key=lambda one: _distance(one, placement), default=None)
        if best is None:
            return None
        # A start that was just made has done no work yet; earlier ones of the same placement have.
        alike = (one.speeds for one in fitting if one.key == best.key)
        return replace(best, speeds=sum(alike, Speeds()))

    def _speaks_of(
        self, one: Measurement, placement: PlannedPlacement, engine: str | None, settings: Mapping[str, Any]
    ) -> bool:
        key = one.key
        if engine is None:
            # What nobody named is what ran here, of those that follow the same rules.
            same_engine = key.engine == placement.engine or {key.engine, placement.engine} <= LLAMA_CPP
        else:
            same_engine = key.engine == placement.engine
        cards = Counter(gpu.name or gpu.vendor for gpu in self.machine.gpus)
        wanted = setting_words({name: value for name, value in settings.items() if name not in UNMEASURED})
        version = settings.get("engine_version")
        return (
            same_engine
            and self._same_files(one, placement.candidate)
            and key.kv_type == placement.kv_type.lower()
            and Counter(key.gpus) == cards
            and (version is None or str(version) == key.version)
            and all(key.settings.get(name) == word for name, word in wanted.items())
        )

    def _same_files(self, one: Measurement, candidate: Candidate) -> bool:
        if self.identity is not None:
            return one.key.checkpoint == self.identity
        places = {candidate.reference, *((place.repo for place in candidate.card.downloads) if candidate.card else ())}
        return (
            one.repo is not None
            and folded(one.repo) in {folded(place) for place in places}
            and folded(one.quantization or "") == folded(candidate.quantization)
            and abs(one.size - candidate.size) <= candidate.size * _SIZE_MARGIN
        )


def measurements_here(reference: str | None, paths: DataPaths) -> MeasurementsHere | None:
    """The measurements of this machine for a question about `reference`, or any model; None when there are none."""
    machine = inventory.detect()
    found = read_measurements(paths.database, machine=machine_key(machine))
    if not found:
        return None
    return MeasurementsHere(machine, found, None if reference is None else _identity(reference, paths))


def with_measurements(
    choice: Choice, here: MeasurementsHere, *, engine: str | None, settings: Mapping[str, Any]
) -> Choice:
    """The choice with measurements in place of forecasts where there are some; what fits still comes first."""
    tried = [_measured(one, here, engine, settings) for one in (choice.best, *choice.others)]
    best, *others = sorted(tried, key=lambda one: not one.fits)
    return replace(choice, best=best, others=tuple(others))


def plan_with_measurements(plan: Plan, here: MeasurementsHere) -> Plan:
    """The plan with the speeds of placements that ran here as they were measured; which option is best stays.

    Memory stays as it was planned, since placements share it: where one took more than that, its option says so.
    """
    return replace(plan, options=tuple(_measured_option(one, here) for one in plan.options))


def _measured_option(option: PlanOption, here: MeasurementsHere) -> PlanOption:
    placements, against = [], list(option.speaks_against)
    for placement in option.placements:
        found = here.best(placement, engine=None, settings=placement.settings)
        if found is None or found.key.settings != setting_words(placement.settings):
            placements.append(placement)
            continue
        corrected = with_measurement(placement, found)
        placements.append(replace(placement, speed=measured_speed(placement, placement.speed, found), measured=found))
        if corrected.footprint.total.high > placement.footprint.total.high:
            against.append(_took_more(corrected, placement))
    return replace(option, placements=tuple(placements), speaks_against=tuple(against))


def _took_more(measured: PlannedPlacement, planned: PlannedPlacement) -> Reason:
    return Reason(
        "measured-more",
        text("{model} took up to {measured} on this machine, more than the {planned} that are planned for it",
             model=planned.candidate.model, measured=format_bytes(measured.footprint.total.high),
             planned=format_bytes(planned.footprint.total.high)),
        "measured on this machine",
    )  # fmt: skip


def _measured(
    placement: PlannedPlacement, here: MeasurementsHere, engine: str | None, settings: Mapping[str, Any]
) -> PlannedPlacement:
    found = here.best(placement, engine=engine, settings=settings)
    if found is None:
        return placement
    wish = Wish(
        placement.context, placement.parallel, placement.kv_type, {**_numbers(found.key.settings), **settings}
    )  # fmt: skip
    try:
        placed = with_measurement(place(placement.candidate, found.key.engine, placement.machine, wish), found)
    except AnsamblError:
        # A setting that this version's rules no longer know.
        return placement
    doubts = _only(placement.footprint.reasons, _DOUBTS)
    return replace(placed, footprint=replace(placed.footprint, reasons=(*doubts, *placed.footprint.reasons)))


def _only(reasons: Iterable[Reason], codes: frozenset[str]) -> Sequence[Reason]:
    return [one for one in reasons if one.code in codes]


def _numbers(settings: Mapping[str, str]) -> dict[str, Any]:
    """Words as a user's ``--set`` would give them."""
    return {name: int(word) if word.isdecimal() else word for name, word in settings.items()}


def _distance(one: Measurement, placement: PlannedPlacement) -> tuple[bool, bool, float, float]:
    key = one.key
    apart = abs(math.log(key.context / placement.context))
    return key.parallel != placement.parallel, key.context != placement.context, apart, -one.time


def _identity(reference: str, paths: DataPaths) -> str | None:
    try:
        if reference == embedded.REFERENCE:
            return embedded.find(paths.models, verify=False).identity
        return open_checkpoint(reference, paths.models).identity
    except AnsamblError:
        return None
