"""What one can plan with, as the admin API tells it: machines, devices, models."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path

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
from ansambl.app.planning import candidates_of, files_of, find_candidates
from ansambl.domain.catalog import CatalogModel
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
            candidates = _configured(model.checkpoint, paths)
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
    return CatalogDocument(models=[*found, *_shipped()])


@cache
def _shipped() -> tuple[CatalogModelDocument, ...]:
    """The models of the catalog. They are the same as long as the process lives, and two thousand sizes are derived."""
    rows = ((one, candidates_of(one)) for one in catalog().values())
    return tuple(_shipped_model(one, candidates) for one, candidates in rows if candidates)


def _shipped_model(model: CatalogModel, candidates: tuple[Candidate, ...]) -> CatalogModelDocument:
    return CatalogModelDocument(
        name=model.name, repo=model.repo, title=model.title, family=model.family, kind=str(model.kind),
        licence=model.licence, **_inside(candidates), released=model.released,
        specialities=[str(each) for each in model.specialities], checkpoints=[_checkpoint(each) for each in candidates],
    )  # fmt: skip


def _configured(reference: str, paths: DataPaths) -> tuple[Candidate, ...]:
    """What a configuration means; its files are read again only where they are no longer the same.

    Raises:
        AnsamblError: they are not here, or do not tell enough.
    """
    files = files_of(reference, paths)
    if files is None:
        return find_candidates(reference, None, paths)
    return _read(reference, paths, _stamp(files))


@lru_cache(maxsize=128)
def _read(reference: str, paths: DataPaths, stamp: tuple[tuple[str, int, int], ...]) -> tuple[Candidate, ...]:  # noqa: ARG001 - the stamp is what it is kept by
    # In a header, a vocabulary of a hundred thousand words stands before what is asked for.
    return find_candidates(reference, None, paths)


def _stamp(files: Path) -> tuple[tuple[str, int, int], ...]:
    """Path, time of the last change and bytes of a file, or of each file of a folder; nothing where it is not there."""
    try:
        listed = sorted(files.iterdir()) if files.is_dir() else [files]
        return tuple((str(one), (told := one.stat()).st_mtime_ns, told.st_size) for one in listed)
    except OSError:
        return ()


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
