"""Parts that can be bought and their prices: shipped with date and source, overridden by a file of the user.

Prices are never fetched. Amounts are US dollars.
"""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from ansambl.domain.device import DeviceKind, DeviceModel, PlannedDevice, PlannedMachine
from ansambl.domain.errors import UsageError
from ansambl.domain.names import folded, nearest_names
from ansambl.domain.purchase import Part, PartType, Price, PriceKind, UsdRange
from ansambl.domain.text import text
from ansambl.hardware.catalog import device_models, load_machine
from ansambl.hardware.machine_files import notes_on
from ansambl.hardware.toml_fields import Fields, shown

MOST_USD = 1_000_000.0
"""No part for a home costs more: a greater price is a slip."""

MOST_CARDS, MOST_KITS = 8, 4
"""Cards in one machine, and RAM kits on one board."""

_SHIPPED = Path(__file__).resolve().parent / "data" / "prices.toml"
_LARGEST_FILE = 1_000_000
_MOST_PARTS = 300
_Member = TypeVar("_Member", PartType, PriceKind)
_DATE = re.compile(r"20\d\d(-(0[1-9]|1[0-2]))?")
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,59}")
_SOCKET = re.compile(r"[A-Za-z0-9+.-]{1,20}")
_COMMON = ("name", "title", "type", "usd", "kind", "date", "sources", "notes", "watts")
# The keys of each type beyond the common ones, and those of them that must be there.
_KEYS: Mapping[PartType, tuple[tuple[str, ...], tuple[str, ...]]] = {
    PartType.GPU: (("device",), ("device",)),
    PartType.CPU: (("device", "socket", "cooler"), ("device", "socket", "watts")),
    PartType.BOARD: (("socket", "ram_type", "gpus", "kits"), ("socket", "ram_type", "gpus", "kits")),
    PartType.RAM: (("ram_type", "memory"), ("ram_type", "memory")),
    PartType.PSU: ((), ("watts",)),
    PartType.CASE: (("gpus", "cooler"), ("gpus",)),
    PartType.SSD: ((), ()),
    PartType.MACHINE: (("machine", "device", "gpus", "memory", "bandwidth"), ()),
}
_EXAMPLES = {
    "device": '"rtx-3090"', "socket": '"AM5"', "ram_type": '"ddr5"', "gpus": "1", "kits": "1", "memory": '"64GiB"',
    "watts": "850",
}  # fmt: skip


@cache
def shipped_parts() -> Mapping[str, Part]:
    """The parts of ``data/prices.toml`` by name."""
    return MappingProxyType(read_parts("prices.toml", _read_toml(_SHIPPED, "prices.toml"), {}))


def load_parts(path: str | Path | None) -> Mapping[str, Part]:
    """The shipped parts with what a file of the user puts over them.

    Raises:
        UsageError: the file cannot be read, or something in it is wrong; one line with the file and the field.
    """
    if path is None:
        return shipped_parts()
    name = os.fspath(path)
    return read_parts(name, _read_toml(Path(path), name), shipped_parts())


def read_parts(file: str, table: Mapping[str, object], known: Mapping[str, Part]) -> dict[str, Part]:
    """The `known` parts with those of a parsed file over them; `file` is how messages name it.

    ``name = 800`` or ``name = [700, 900]`` gives a known part another price; a table ``[[parts]]`` adds a part or takes
    the place of one.

    Raises:
        UsageError: a value is wrong, missing, or names what does not exist; names the field.
    """
    root = Fields(file, table)
    if table.get("currency", "USD") != "USD":
        raise root.wrong("currency", '"USD", and prices in US dollars')
    parts = dict(known)
    by_name = {folded(name): name for name in known}
    for key in table:
        if key in {"currency", "parts"}:
            continue
        name = by_name.get(folded(key))
        if name is None:
            nearest = nearest_names(key[:60], (*known, "parts", "currency"))
            if nearest:
                raise UsageError(
                    text("{file}: there is no part {name}; did you mean {nearest}?", file=file, name=root.field(key),
                         nearest=", ".join(nearest))
                )  # fmt: skip
            raise UsageError(
                text("{file}: there is no part {name}; describe a new one in a table [[parts]]", file=file,
                     name=root.field(key))
            )  # fmt: skip
        parts[name] = replace(known[name], price=Price(_usd(root, key), PriceKind.GIVEN, (file,)))
    tables = root.tables("parts")
    if len(tables) > _MOST_PARTS:
        raise UsageError(text("{file}: there are more than {most} parts; remove some", file=file, most=_MOST_PARTS))
    seen: set[str] = set()
    for fields in tables:
        part = _part(fields, shipped=not known)
        if part.name in seen:
            raise UsageError(text("{file}: the part {name} stands there twice; remove one", file=file, name=part.name))
        seen.add(part.name)
        parts[part.name] = part
    return parts


def _part(fields: Fields, *, shipped: bool) -> Part:
    if "type" not in fields.table:
        raise fields.missing("type", '"gpu"')
    kind = _choice(fields, "type", PartType)
    extra, needed = _KEYS[kind]
    fields.only((*_COMMON, *extra))
    for key in ("name", "usd", *needed, *(("date", "sources", "kind", "title") if shipped else ())):
        if key not in fields.table:
            raise fields.missing(key, _EXAMPLES.get(key, '"…"' if key != "usd" else "[700, 900]"))
    name = fields.words("name") or ""
    if not _NAME.fullmatch(name):
        raise fields.wrong("name", '"rtx-3090-used", in small letters, digits, dots and dashes')
    price = Price(
        usd=_usd(fields, "usd"),
        kind=_choice(fields, "kind", PriceKind) if "kind" in fields.table else PriceKind.GIVEN,
        sources=fields.all_words("sources") or (fields.file,),
        date=_date(fields),
    )
    part = Part(
        name=name, title=fields.words("title") or name, type=kind, price=price, socket=_short(fields, "socket"),
        ram_type=_short(fields, "ram_type"), gpus=fields.count("gpus", 1, MOST_CARDS) or 0,
        kits=fields.count("kits", 1, MOST_KITS) or 0, cooler=fields.flag("cooler") or False,
        watts=fields.count("watts", 1, 20_000), notes=fields.all_words("notes"),
    )  # fmt: skip
    if kind is PartType.MACHINE:
        return _whole_machine(fields, part)
    if kind is PartType.GPU:
        device = _device(fields, DeviceKind.GPU)
        if device.memory is None or device.unified_memory:
            raise fields.wrong("device", '"rtx-3090", a card with memory of its own')
        return replace(part, device=device, watts=part.watts or device.watts)
    if kind is PartType.CPU:
        return replace(part, device=_device(fields, DeviceKind.RAM))
    return replace(part, memory=fields.memory("memory"))


def _whole_machine(fields: Fields, part: Part) -> Part:
    shipped = fields.words("machine")
    if shipped is not None:
        for key in ("device", "gpus", "memory", "bandwidth"):
            if key in fields.table:
                raise UsageError(
                    text("{file}: {field} contradicts {other}; remove one", file=fields.file, field=fields.field(key),
                         other=fields.field("machine"))
                )  # fmt: skip
        try:
            machine = load_machine(shipped)
        except UsageError as error:
            raise UsageError(
                text("{file}: {field}: {problem}", file=fields.file, field=fields.field("machine"),
                     problem=error.message)
            ) from None  # fmt: skip
        machine = replace(machine, name=part.name, title=part.title)
    else:
        memory = fields.memory("memory")
        if memory is None:
            raise fields.missing("memory", '"32GiB", or machine = "dgx-spark"')
        pair = fields.bandwidth("bandwidth")
        ram = DeviceModel(
            "ram", "RAM", "unknown", kind=DeviceKind.RAM, bandwidth=pair[1] if pair else None,
            bandwidth_low=pair[0] if pair and pair[0] < pair[1] else None, sources=part.price.sources,
        )  # fmt: skip
        machine = assembled(
            part.name, part.title, _cards(fields, part.gpus), PlannedDevice(DeviceKind.RAM, ram, memory)
        )
    if part.watts is None and machine.gpus and all(gpu.model.watts for gpu in machine.gpus):
        part = replace(part, watts=sum(gpu.model.watts or 0 for gpu in machine.gpus))
    return replace(part, machine=machine, gpus=len(machine.gpus))


def _cards(fields: Fields, count: int) -> tuple[PlannedDevice, ...]:
    if "device" not in fields.table:
        if count:
            raise fields.missing("device", '"rtx-3090"')
        return ()
    model = _device(fields, DeviceKind.GPU)
    if model.memory is None or model.unified_memory:
        raise fields.wrong("device", '"rtx-3090", a card with memory of its own')
    return tuple(PlannedDevice(DeviceKind.GPU, model, model.memory, index) for index in range(count or 1))


def assembled(name: str, title: str, gpus: tuple[PlannedDevice, ...], ram: PlannedDevice) -> PlannedMachine:
    """A machine of these devices, with notes on what is unknown of them."""
    return PlannedMachine(name, title, gpus, ram, tuple(notes_on(list(gpus), ram)))


def _device(fields: Fields, kind: DeviceKind) -> DeviceModel:
    wanted = fields.words("device") or ""
    suitable = {folded(name): model for name, model in device_models().items() if model.kind is kind}
    model = suitable.get(folded(wanted))
    if model is None:
        nearest = nearest_names(wanted[:60], suitable)
        raise UsageError(
            text("{file}: {field}: there is no device {name}; did you mean {nearest}?", file=fields.file,
                 field=fields.field("device"), name=shown(wanted), nearest=", ".join(nearest))
            if nearest else
            text("{file}: {field}: there is no device {name}; devices are named in docs/reference/machines.md",
                 file=fields.file, field=fields.field("device"), name=shown(wanted))
        )  # fmt: skip
    return model


def _choice(fields: Fields, key: str, members: type[_Member]) -> _Member:
    value = fields.table[key]
    known = [str(one) for one in members]
    if value not in known:
        raise UsageError(
            text("{file}: {field} cannot be {value}; choose one of {known}", file=fields.file, field=fields.field(key),
                 value=shown(value), known=", ".join(known))
        )  # fmt: skip
    return members(value)


def _short(fields: Fields, key: str) -> str | None:
    value = fields.words(key)
    if value is not None and not _SOCKET.fullmatch(value):
        raise fields.wrong(key, _EXAMPLES[key])
    return None if value is None else value.upper()


def _date(fields: Fields) -> str | None:
    value = fields.words("date")
    if value is not None and not _DATE.fullmatch(value):
        raise fields.wrong("date", '"2026-05"')
    return value


def _usd(fields: Fields, key: str) -> UsdRange:
    value = fields.table[key]
    ends = value if isinstance(value, list) else [value, value]
    if len(ends) != 2 or not all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in ends):
        raise fields.wrong(key, "800 or [700, 900]")
    # A whole number may be too large for a float.
    if not all(isinstance(one, int) or math.isfinite(one) for one in ends):
        raise fields.wrong(key, "800 or [700, 900]")
    if not 0 < ends[0] <= ends[1] <= MOST_USD:
        raise UsageError(
            text("{file}: {field} is {value}; give US dollars above 0 and at most {most}, the lower price first",
                 file=fields.file, field=fields.field(key), value=shown(value), most=f"{MOST_USD:.0f}")
        )  # fmt: skip
    return UsdRange(float(ends[0]), float(ends[1]))


def _read_toml(path: Path, name: str) -> dict[str, Any]:
    try:
        # A pipe or a device would be waited for without end.
        if path.exists() and not path.is_file():
            raise UsageError(text("{file} is not a file; give a price file in TOML", file=name))
        with path.open("rb") as file:
            raw = file.read(_LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UsageError(
            text("the price file {file} cannot be read ({reason}); give a TOML file with lines such as "
                 "rtx-3090-used = 800", file=name, reason=reason)
        ) from None  # fmt: skip
    if len(raw) > _LARGEST_FILE:
        raise UsageError(text("{file} is over 1 MB, which no price file is; give another", file=name))
    try:
        return tomllib.loads(raw.decode("utf-8-sig").replace("\r\n", "\n"))
    except (ValueError, RecursionError) as error:
        # Not text, not TOML, nested without end, or a number of thousands of digits.
        problem = " ".join(str(error).split())
        raise UsageError(
            text("{file} is not valid TOML ({problem}); correct it there", file=name, problem=problem)
        ) from None
