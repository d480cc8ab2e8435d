"""Devices out of TOML tables: those of the shipped catalog, and those that people type into a machine file. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from ansambl.domain.device import DeviceKind, DeviceModel
from ansambl.domain.errors import UsageError
from ansambl.domain.names import folded, nearest_names
from ansambl.domain.text import text
from ansambl.domain.units import Bytes
from ansambl.hardware.toml_fields import Fields, Pair, shown

FACT_KEYS = ("title", "vendor", "bandwidth", "operations", "capability", "watts", "sources")
GPU_KEYS = (*FACT_KEYS, "memory", "link_bandwidth", "unified_memory")
RAM_KEYS = (*FACT_KEYS, "channels", "transfer_rate", "bandwidth_measured")
FORMATS = ("bf16", "fp16", "fp8", "fp4", "int8", "int4", "fp32")

_BYTES_A_TRANSFER = 8
"""A memory channel is 64 bits wide."""
_MOST_CHANNELS = 64
_RATES = (100, 100_000)
_UNKNOWN_VENDOR = "unknown"
_NOISE = re.compile(
    r"\((?:r|tm|c)\)|\b(?:nvidia|geforce|amd|radeon|intel|apple|graphics|processor|cpu)\b|\b\d+-core\b"
    r"|\b\d+th gen\b|@.*|\bwith\b"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One device of the catalog: its facts, how drivers name it, and for a processor its memory channels."""

    model: DeviceModel
    seen_as: tuple[str, ...] = ()
    channels: int | None = None
    transfer_rate: tuple[int, int] | None = None


def read_catalog(file: str, table: Mapping[str, object]) -> dict[str, Entry]:
    """The devices of ``devices.toml`` by name.

    Raises:
        UsageError: something in it is wrong; names the field.
    """
    root = Fields(file, table)
    root.only(("gpus", "processors"))
    entries: dict[str, Entry] = {}
    for fields in (*root.tables("gpus"), *root.tables("processors")):
        processor = fields.path.startswith("processors")
        fields.only(("name", "seen_as", *(RAM_KEYS if processor else (*GPU_KEYS, "memory_visible"))))
        name = fields.words("name")
        if name is None:
            raise fields.missing("name", '"rtx-4090"')
        if name in entries:
            raise UsageError(text("{file}: the device {name} stands there twice; remove one", file=file, name=name))
        blank = Entry(DeviceModel(name, name, _UNKNOWN_VENDOR))
        entry = read_processor(fields, blank) if processor else Entry(read_gpu(fields, blank.model))
        if not entry.model.sources:
            raise fields.missing("sources", '["where the figures are from"]')
        entries[name] = replace(entry, seen_as=(entry.model.title, *fields.all_words("seen_as")))
    return entries


def read_gpu(fields: Fields, known: DeviceModel) -> DeviceModel:
    """What a table says of a GPU, over what is `known` of it.

    Raises:
        UsageError: a value is wrong; names the field.
    """
    model = _read_facts(fields, known)
    link, unified = fields.bandwidth("link_bandwidth"), fields.flag("unified_memory")
    return replace(
        _with_bandwidth(model, fields.bandwidth("bandwidth")),
        kind=DeviceKind.GPU,
        memory=fields.memory("memory") or known.memory,
        memory_visible=fields.memory("memory_visible") or known.memory_visible,
        link_bandwidth=link[0] if link else known.link_bandwidth,
        unified_memory=known.unified_memory if unified is None else unified,
    )


def read_processor(fields: Fields, known: Entry) -> Entry:
    """What a table says of a processor with its RAM, over what is `known` of it.

    The RAM's bandwidth is what the table says, else channels times transfer rate times 8 bytes, the low end at most
    what was measured.

    Raises:
        UsageError: a value is wrong, or the bandwidth is given twice; names the field.
    """
    model = replace(_read_facts(fields, known.model), kind=DeviceKind.RAM)
    given = fields.bandwidth("bandwidth")
    channels = fields.count("channels", 1, _MOST_CHANNELS)
    rates = fields.counts("transfer_rate", *_RATES)
    if given and (channels or rates):
        raise UsageError(
            text("{file}: {field} is given twice, once by transfer_rate and channels; remove one",
                 file=fields.file, field=fields.field("bandwidth"))
        )  # fmt: skip
    channels, rates = channels or known.channels, rates or known.transfer_rate
    if rates and not channels:
        raise fields.missing("channels", "2")
    if channels and not rates:
        raise fields.missing("transfer_rate", "5600")
    pair = given
    if channels and rates and not given:
        low, high = (float(channels * rate * 1_000_000 * _BYTES_A_TRANSFER) for rate in rates)
        seen = known.model.bandwidth_low
        pair = (low if seen is None else min(low, seen)), high
    measured = fields.bandwidth("bandwidth_measured")
    if measured and pair and measured[0] > pair[1]:
        raise UsageError(
            text("{file}: {field} is {value}, but the modules promise at most {limit} GB/s; correct one of them",
                 file=fields.file, field=fields.field("bandwidth_measured"),
                 value=shown(fields.table["bandwidth_measured"]), limit=f"{pair[1] / 1e9:.4g}")
        )  # fmt: skip
    if measured:
        pair = (min(pair[0], measured[0]), pair[1]) if pair else measured
    return Entry(_with_bandwidth(model, pair), known.seen_as, channels, rates)


def find_entry(fields: Fields, entries: Mapping[str, Entry], kind: DeviceKind) -> Entry | None:
    """The device that a table names with ``device``; None when it names none.

    Raises:
        UsageError: there is no such device of this kind; offers the nearest names.
    """
    wanted = fields.words("device")
    if wanted is None:
        return None
    suitable = {folded(name): entry for name, entry in entries.items() if entry.model.kind is kind}
    entry = suitable.get(folded(wanted))
    if entry:
        return entry
    nearest = nearest_names(wanted[:60], suitable)
    field, name = fields.field("device"), wanted[:60]
    if nearest:
        message = text("{file}: {field}: there is no device {name}; did you mean {nearest}?",
                       file=fields.file, field=field, name=name, nearest=", ".join(nearest))  # fmt: skip
    else:
        message = text("{file}: {field}: there is no device {name}; leave it out and write title, memory and bandwidth",
                       file=fields.file, field=field, name=name)  # fmt: skip
    raise UsageError(message)


def recognise(name: str | None, memory: Bytes | None, entries: Sequence[Entry]) -> Entry | None:
    """The device that a driver or a kernel calls `name`; None when there is none, or when its memory is another.

    Letter case, vendor and family do not matter; whatever else stands in the name does ("Laptop GPU", "SUPER", "MIG").
    """
    seen = _plain(name or "")
    for entry in entries:
        sold = entry.model.memory
        fits = memory is None or sold is None or entry.model.unified_memory or abs(memory - sold) <= sold // 10
        if seen and fits and any(fnmatchcase(seen, _plain(one)) for one in entry.seen_as):
            return entry
    return None


def _plain(name: str) -> str:
    return " ".join(_NOISE.sub(" ", name.casefold()).split())


def _read_facts(fields: Fields, known: DeviceModel) -> DeviceModel:
    rates = fields.inner("operations")
    rates.only(FORMATS)
    operations = {one: pair for one in FORMATS if (pair := rates.operations(one))}
    return replace(
        known,
        title=fields.words("title") or known.title,
        vendor=fields.words("vendor") or known.vendor,
        operations={**known.operations, **operations},
        capability=fields.words("capability") or known.capability,
        watts=fields.count("watts", 1, 100_000) or known.watts,
        sources=tuple(dict.fromkeys((*known.sources, *fields.all_words("sources")))),
    )


def _with_bandwidth(model: DeviceModel, pair: Pair | None) -> DeviceModel:
    if pair is None:
        return model
    return replace(model, bandwidth=pair[1], bandwidth_low=pair[0] if pair[0] < pair[1] else None)
