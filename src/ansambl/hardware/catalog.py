"""Machines to plan for: shipped by name, described in a file of the user, or this one as it was measured.

Sizes are bytes, bandwidths bytes a second, operations dense operations a second. What no source tells is None.
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ansambl.domain.device import DeviceKind, DeviceModel, PlannedDevice, PlannedMachine
from ansambl.domain.errors import UsageError
from ansambl.domain.hardware import Gpu, Machine
from ansambl.domain.names import folded, nearest_names
from ansambl.domain.text import Text, text
from ansambl.domain.units import Bytes
from ansambl.hardware.device_tables import Entry, read_catalog, recognise
from ansambl.hardware.machine_files import notes_on, plain_ram, read_machine, total_memory
from ansambl.hardware.toml_fields import shown as quoted

_DATA = Path(__file__).resolve().parent / "data"
_LARGEST_FILE = 1_000_000
_BY_DATA_SHEET = text("The RAM's bandwidth is the processor's by its data sheet; modules may run slower.")


@cache
def _entries() -> Mapping[str, Entry]:
    return MappingProxyType(read_catalog("devices.toml", _read_toml(_DATA / "devices.toml", "devices.toml")))


def device_models() -> Mapping[str, DeviceModel]:
    """The GPUs and processors of ``data/devices.toml`` by name (``"rtx-4090"``); `kind` tells which is which."""
    return MappingProxyType({name: entry.model for name, entry in _entries().items()})


@cache
def machine_names() -> tuple[str, ...]:
    """The machines that are shipped, in the order of their names."""
    return tuple(sorted(file.stem for file in (_DATA / "machines").glob("*.toml")))


def load_machine(name_or_path: str | Path) -> PlannedMachine:
    """The machine of this name, or the one that a TOML file of the user describes; never looks at this machine.

    A shipped name comes before a file of the same name; a path that says its folder (``./name``) is always a file.

    Raises:
        UsageError: there is no such name or file, or the file is wrong; one line with the file and the field.
    """
    wanted = os.fspath(name_or_path)
    known = {folded(name): name for name in machine_names()}
    name = known.get(folded(wanted))
    if name is not None:
        return _shipped(name)
    path = Path(wanted)
    if path.suffix != ".toml" and path.name == wanted and not _exists(path):
        raise _unknown(wanted)
    return read_machine(wanted, path.stem or wanted, _read_toml(path, wanted), _entries())


def described_machine(table: Mapping[str, Any], name: str) -> PlannedMachine:
    """The machine that a table describes as a machine file would, without a file; `name` is what plans call it.

    Raises:
        UsageError: a value is wrong, missing or contradicts another; one line with the field.
    """
    return read_machine(name, name, table, _entries())


def from_inventory(machine: Machine, ram_bandwidth: float | None = None) -> PlannedMachine:
    """This machine as it was measured, joined with the catalog's facts where its devices are in it.

    Memory is what was measured. A device that the catalog does not know keeps None; a GPU whose memory nobody tells is
    left out, and a note says so. `ram_bandwidth` is what was measured, in bytes a second; without it the RAM's
    bandwidth is the processor's by its data sheet, since which modules are really in is not known.
    """
    entries = tuple(_entries().values())
    ram_memory = Bytes(machine.memory.usable + sum(_set_aside(gpu) for gpu in machine.gpus))
    gpus: list[PlannedDevice] = []
    notes: list[Text] = []
    for gpu in (*machine.gpus, *_apple(machine, entries)):
        model = _joined(gpu, entries)
        memory = gpu.memory_total or total_memory(model, ram_memory)
        if not memory:
            notes.append(text("The memory of {device} is unknown, so nothing is planned for it.", device=model.title))
            continue
        if model.unified_memory:
            memory = Bytes(min(memory, ram_memory))
        gpus.append(PlannedDevice(DeviceKind.GPU, model, memory, len(gpus)))
    processor = recognise(machine.cpu.model, None, [one for one in entries if one.model.kind is DeviceKind.RAM])
    ram_model = plain_ram(gpus)
    if processor:
        ram_model = processor.model
        notes.append(_BY_DATA_SHEET)
    elif machine.cpu.model and not ram_model.unified_memory:
        ram_model = dataclasses.replace(ram_model, title=machine.cpu.model, capability=machine.cpu.isa_level)
    if ram_bandwidth is not None and not ram_model.unified_memory:
        ram_model = _measured(ram_model, ram_bandwidth)
        notes = [one for one in notes if one != _BY_DATA_SHEET]
    ram = PlannedDevice(DeviceKind.RAM, ram_model, ram_memory)
    return PlannedMachine(machine.name, machine.name, tuple(gpus), ram, (*notes, *notes_on(gpus, ram)))


def planned_to_json(machine: PlannedMachine, translate: Callable[[str], str] | None = None) -> dict[str, Any]:
    """The machine as ``machines show NAME --json`` prints it: the records' field names, bytes, null for unknown."""
    shape = dataclasses.asdict(dataclasses.replace(machine, notes=()))
    shape["notes"] = [note.render(translate) for note in machine.notes]
    return shape


@cache
def _shipped(name: str) -> PlannedMachine:
    file = f"{name}.toml"
    return read_machine(file, name, _read_toml(_DATA / "machines" / file, file), _entries())


def _unknown(wanted: str) -> UsageError:
    nearest = nearest_names(wanted[:60], machine_names())
    if nearest:
        return UsageError(
            text("there is no machine '{name}'; did you mean {nearest}? Or give a TOML file",
                 name=quoted(wanted).strip('"'), nearest=", ".join(nearest))
        )  # fmt: skip
    return UsageError(
        text(
            "there is no machine '{name}'; see: ansambl machines list, or give a TOML file",
            name=quoted(wanted).strip('"'),
        )
    )


def _exists(path: Path) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:
        return False


def _read_toml(path: Path, shown: str) -> dict[str, Any]:
    try:
        if not path.is_file() and _exists(path):
            raise UsageError(text("{file} is not a file; give a machine file in TOML", file=shown))
        with path.open("rb") as file:
            raw = file.read(_LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UsageError(
            text("the machine file {file} cannot be read ({reason}); see: ansambl machines list",
                 file=shown, reason=reason)
        ) from None  # fmt: skip
    if len(raw) > _LARGEST_FILE:
        raise UsageError(text("{file} is over 1 MB, which no machine file is; give another", file=shown))
    return parse_toml(raw, shown)


def parse_toml(raw: bytes, shown: str) -> dict[str, Any]:
    """The table in the bytes of a file that messages call `shown`. Pure.

    Raises:
        UsageError: it is no text or not TOML; with the line.
    """
    try:
        return tomllib.loads(raw.decode("utf-8-sig").replace("\r\n", "\n"))
    except UnicodeDecodeError:
        raise UsageError(text("{file} is not text in UTF-8; give a machine file in TOML", file=shown)) from None
    except RecursionError:
        raise UsageError(text("{file} is nested too deeply; give a machine file in TOML", file=shown)) from None
    except ValueError as error:
        # tomllib.TOMLDecodeError is one, and so is Python's refusal to read a number of thousands of digits.
        raise UsageError(
            text(
                "{file} is not valid TOML ({problem}); correct it there",
                file=shown,
                problem=" ".join(str(error).split()),
            )
        ) from None


def _set_aside(gpu: Gpu) -> int:
    """RAM that the firmware gave to an integrated GPU before the system counted its own."""
    if not gpu.integrated or gpu.memory_total is None or gpu.memory_shared is None:
        return 0
    return max(0, gpu.memory_total - gpu.memory_shared)


def _measured(model: DeviceModel, bandwidth: float) -> DeviceModel:
    """The RAM with what was measured as its low end; copying reaches less than the data sheet says, never more."""
    return dataclasses.replace(
        model, bandwidth=max(bandwidth, model.bandwidth or 0.0), bandwidth_low=bandwidth,
        sources=(*model.sources, "bandwidth measured on this machine by copying in RAM"),
    )  # fmt: skip


def _joined(gpu: Gpu, entries: tuple[Entry, ...]) -> DeviceModel:
    known = [one for one in entries if one.model.kind is DeviceKind.GPU]
    entry = recognise(gpu.name, gpu.memory_total, known)
    if entry is None and gpu.integrated and gpu.capability:
        # Drivers call the GPU of a processor just "Graphics"; its target says which it is.
        entry = next(
            (one for one in known if one.model.unified_memory and one.model.capability == gpu.capability), None
        )
    if entry:
        return dataclasses.replace(entry.model, capability=gpu.capability or entry.model.capability)
    title = gpu.name or f"{gpu.vendor} {gpu.index}"
    return DeviceModel(folded(title), title, gpu.vendor, capability=gpu.capability, unified_memory=gpu.integrated)


def _apple(machine: Machine, entries: tuple[Entry, ...]) -> tuple[Gpu, ...]:
    """The GPU of an Apple processor: the inventory does not list it, but it is always there."""
    if machine.gpus:
        return ()
    entry = recognise(machine.cpu.model, None, [one for one in entries if one.model.vendor == "apple"])
    return (Gpu(0, "apple", machine.cpu.model, None, integrated=True),) if entry else ()
