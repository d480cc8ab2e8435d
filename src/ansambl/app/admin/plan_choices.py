"""What one can plan with, as the admin API tells it: machines, devices, models."""

from __future__ import annotations

from collections.abc import Callable

from ansambl.api.plan_schemas import (
    CatalogCheckpointDocument,
    CatalogDocument,
    CatalogModelDocument,
    DeviceModelDocument,
    MachineDeviceDocument,
    MachineDocument,
    MachinesDocument,
)
from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.planning import candidates_of, find_candidates
from ansambl.domain.device import DeviceKind, DeviceModel, PlannedMachine
from ansambl.domain.errors import AnsamblError
from ansambl.domain.planning import Candidate
from ansambl.foundation.paths import DataPaths
from ansambl.hardware import inventory
from ansambl.hardware.catalog import device_models, from_inventory, load_machine, machine_names
from ansambl.model_catalog.catalog import catalog

THIS = "this"
"""What questions call this machine."""

Translate = Callable[[str], str]


def machines_document(translate: Translate) -> MachinesDocument:
    """This machine, those that are shipped, and the devices that a described one may have. Blocks."""
    models = device_models().values()
    return MachinesDocument(
        this=_machine(from_inventory(inventory.detect()), THIS, translate),
        machines=[_machine(load_machine(name), name, translate) for name in machine_names()],
        gpus=[_device(one) for one in models if one.kind is DeviceKind.GPU],
        processors=[_device(one) for one in models if one.kind is DeviceKind.RAM],
    )


def catalog_document(loaded: LoadedSettings, paths: DataPaths) -> CatalogDocument:
    """The models of the configuration of which a forecast can be made, then those of the catalog. Blocks."""
    found: list[CatalogModelDocument] = []
    for name, model in loaded.settings.models.items():
        if model.checkpoint is None:
            continue
        try:
            candidates = find_candidates(model.checkpoint, None, paths)
        except AnsamblError:
            # Not fetched, or nothing is known of its inside: `ansambl models inspect` tells.
            continue
        card = candidates[0].card
        found.append(
            CatalogModelDocument(
                name=name, repo=model.checkpoint, title=name, family=card.family if card else "",
                kind=str(card.kind) if card else "", licence=card.licence if card else None,
                **_inside(candidates), released=card.released if card else None,
                specialities=[str(one) for one in card.specialities] if card else [],
                checkpoints=[_checkpoint(one) for one in candidates], configured=True,
            )
        )  # fmt: skip
    for one in catalog().values():
        candidates = candidates_of(one)
        if not candidates:
            continue
        found.append(
            CatalogModelDocument(
                name=one.name, repo=one.repo, title=one.title, family=one.family, kind=str(one.kind),
                licence=one.licence, **_inside(candidates), released=one.released,
                specialities=[str(each) for each in one.specialities],
                checkpoints=[_checkpoint(each) for each in candidates],
            )
        )  # fmt: skip
    return CatalogDocument(models=found)


def _inside(candidates: tuple[Candidate, ...]) -> dict[str, int | None]:
    architecture = candidates[0].architecture
    return {
        "parameters": architecture.parameters or None, "active_parameters": architecture.active or None,
        "context": architecture.context,
    }  # fmt: skip


def _checkpoint(candidate: Candidate) -> CatalogCheckpointDocument:
    return CatalogCheckpointDocument(
        quantization=candidate.quantization, format=candidate.format, bytes=candidate.size, basis=str(candidate.basis)
    )


def _machine(machine: PlannedMachine, name: str, translate: Translate) -> MachineDocument:
    return MachineDocument(
        name=name, title=machine.title,
        devices=[
            MachineDeviceDocument(kind=str(one.kind), title=one.model.title, memory=one.memory)
            for one in (*machine.gpus, machine.ram)
        ],
        notes=[one.render(translate) for one in machine.notes],
    )  # fmt: skip


def _device(model: DeviceModel) -> DeviceModelDocument:
    return DeviceModelDocument(name=model.name, title=model.title, vendor=model.vendor, memory=model.memory)
