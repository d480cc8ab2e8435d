"""Machines to plan for out of TOML tables. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ansambl.domain.device import DeviceKind, DeviceModel, PlannedDevice, PlannedMachine
from ansambl.domain.errors import UsageError
from ansambl.domain.text import Text, text
from ansambl.domain.units import Bytes, format_bytes
from ansambl.hardware.device_tables import GPU_KEYS, RAM_KEYS, Entry, find_entry, read_gpu, read_processor
from ansambl.hardware.toml_fields import Fields

MOST_GPUS = 64

# What macOS lets a GPU have of smaller RAM: llama.cpp logs 14,302 MB of 18 GiB on an M3 Pro, 26,801 of 32 on an M4 and
# 30,151 of 36 (recommendedMaxWorkingSetSize): 74 to 78 %.
_APPLE_SHARE = 0.74
_ASSUMED = {
    "gpu": text("The name does not say which variant of the GPU it is: one was chosen."),
    "processor": text("The name does not say which processor and RAM modules it has: a common desktop was taken."),
    "server": text("The name does not say which processor and RAM modules it has: a common server was taken."),
    "ram": text("The name does not say how much RAM it has: an amount was chosen."),
}


def read_machine(file: str, name: str, table: Mapping[str, object], entries: Mapping[str, Entry]) -> PlannedMachine:
    """The machine that a parsed file describes; `file` is how messages name it, `entries` are the catalog's devices.

    Raises:
        UsageError: a value is wrong, missing or contradicts another; one line with the file and the field.
    """
    root = Fields(file, table)
    root.only(("title", "gpus", "ram", "assumed"))
    assumed = root.all_words("assumed")
    if set(assumed) - set(_ASSUMED):
        raise root.wrong("assumed", str(list(_ASSUMED)).replace("'", '"'))
    ram_fields = root.inner("ram")
    ram_fields.only(("device", "memory", *RAM_KEYS))
    ram_memory = ram_fields.memory("memory")
    if ram_memory is None:
        raise ram_fields.missing("memory", '"64GiB"')
    gpus: list[PlannedDevice] = []
    for fields in root.tables("gpus"):
        gpus += _gpus(fields, entries, ram_memory, len(gpus))
    ram = PlannedDevice(DeviceKind.RAM, _ram_model(ram_fields, entries, gpus), ram_memory)
    notes = [_ASSUMED[one] for one in assumed]
    return PlannedMachine(name, root.words("title") or name, tuple(gpus), ram, (*notes, *notes_on(gpus, ram)))


def notes_on(gpus: list[PlannedDevice], ram: PlannedDevice) -> list[Text]:
    """What a reader of a plan must know of these devices: memory that is shared, figures that are unknown."""
    notes: list[Text] = []
    for model in dict.fromkeys(gpu.model.name for gpu in gpus):
        gpu = next(one for one in gpus if one.model.name == model)
        if gpu.model.unified_memory and gpu.memory < ram.memory:
            notes.append(
                text("{device} works in the machine's RAM, of which it may use {size}.",
                     device=gpu.model.title, size=format_bytes(gpu.memory))
            )  # fmt: skip
        elif gpu.model.unified_memory and gpu.model.memory_visible is None:
            notes.append(
                text("{device} works in the machine's RAM; how much of it the system keeps back is unknown.",
                     device=gpu.model.title)
            )  # fmt: skip
        if gpu.model.bandwidth is None:
            notes.append(text("The memory bandwidth of {device} is unknown.", device=gpu.model.title))
    if ram.model.bandwidth is None and not ram.model.unified_memory:
        notes.append(text("The bandwidth of the RAM is unknown."))
    return notes


def plain_ram(gpus: list[PlannedDevice]) -> DeviceModel:
    """The RAM of which nothing is known but what a GPU that works in it tells."""
    shared = next((gpu.model for gpu in gpus if gpu.model.unified_memory), None)
    blank = DeviceModel("ram", "RAM", "unknown", kind=DeviceKind.RAM)
    if shared is None:
        return blank
    return replace(
        blank,
        vendor=shared.vendor,
        bandwidth=shared.bandwidth,
        bandwidth_low=shared.bandwidth_low,
        unified_memory=True,
        sources=shared.sources,
    )


def total_memory(model: DeviceModel, ram: Bytes) -> Bytes | None:
    """What a GPU's driver calls its total: as sold; in the RAM, what was seen to be usable, at most all of it."""
    if model.unified_memory:
        if model.vendor == "apple" and model.memory and ram < model.memory:
            return Bytes(int(ram * _APPLE_SHARE))
        return Bytes(min(model.memory_visible or model.memory or ram, ram))
    return model.memory


def _gpus(fields: Fields, entries: Mapping[str, Entry], ram: Bytes, first: int) -> list[PlannedDevice]:
    fields.only(("device", "count", *GPU_KEYS))
    entry = find_entry(fields, entries, DeviceKind.GPU)
    count = fields.count("count", 1, MOST_GPUS) or 1
    if first + count > MOST_GPUS:
        raise UsageError(
            text("{file}: {field}: a machine has at most {limit} GPUs; remove some",
                 file=fields.file, field=fields.path, limit=MOST_GPUS)
        )  # fmt: skip
    if entry is None and fields.words("title") is None:
        raise fields.missing("device", '"rtx-4090"')
    title = fields.words("title") or ""
    known = entry.model if entry else DeviceModel(title, title, "unknown", sources=(fields.file,))
    model = read_gpu(fields, known)
    memory = fields.memory("memory") or total_memory(model, ram)
    if memory is None:
        raise fields.missing("memory", '"24GiB"')
    if model.unified_memory and memory > ram:
        raise UsageError(
            text("{file}: {field} is {size}, but the GPU works in the RAM, which has {ram}; lower it or set ram.memory",
                 file=fields.file, field=fields.field("memory"), size=format_bytes(memory), ram=format_bytes(ram))
        )  # fmt: skip
    if entry:
        model = replace(model, memory=entry.model.memory)
    return [PlannedDevice(DeviceKind.GPU, model, memory, first + one) for one in range(count)]


def _ram_model(fields: Fields, entries: Mapping[str, Entry], gpus: list[PlannedDevice]) -> DeviceModel:
    entry = find_entry(fields, entries, DeviceKind.RAM)
    if entry is None:
        title = fields.words("title")
        blank = plain_ram(gpus)
        entry = Entry(replace(blank, name=title, title=title) if title else blank)
    model = read_processor(fields, entry).model
    return model if model.sources else replace(model, sources=(fields.file,))
