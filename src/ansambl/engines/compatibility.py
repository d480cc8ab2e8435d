"""The rows of ``data/compatibility.toml`` as records.

The file is ours: a mistake in it is a bug and raises ValueError.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ansambl.domain.compatibility import (
    DIMENSIONS,
    CompatibilityFacts,
    CompatibilityRow,
    DeviceSelector,
    KnownEngine,
    KnownUi,
    Platform,
    Verdict,
)
from ansambl.engines.compatibility_notes import NOTES

_DATA = Path(__file__).resolve().parent / "data" / "compatibility.toml"
_SELECTOR = re.compile(
    r"(?P<platform>[a-z]+)(?:>=(?P<low>\d+\.\d+))?(?:,?<(?P<below>\d+\.\d+))?(?::(?P<targets>[a-z0-9*,]+))?"
)
_ROW_KEYS = {"engine", "verdict", "source", "since", "until", "seen", "note", *DIMENSIONS}
_FOLLOWS = "carried-engine"


@cache
def compatibility_rows() -> CompatibilityFacts:
    """The shipped facts, always the same object."""
    return read_facts(tomllib.loads(_DATA.read_text(encoding="utf-8")))


def read_facts(table: Mapping[str, Any]) -> CompatibilityFacts:
    """The facts in a decoded file. Pure.

    Raises:
        ValueError: a row has a field, an engine, an interface, a device or a note that nobody knows.
    """
    engines = {row["name"]: _engine(row) for row in table["engines"]}
    uis = {row["name"]: KnownUi(row["name"], row["title"], tuple(row.get("aliases", ()))) for row in table["uis"]}
    rows = [one for row in table["rows"] for one in _rows(row)]
    for row in rows:
        if row.engine not in engines or not set(row.ui) <= set(uis):
            message = f"compatibility.toml: a row names '{row.engine}' or {row.ui}, which is not listed"
            raise ValueError(message)
    for follower in table.get("followers", ()):
        rows += _followed(rows, follower)
    return CompatibilityFacts(
        MappingProxyType(engines), MappingProxyType(uis), tuple(rows), MappingProxyType(dict(table["families"])),
        table["collected"],
    )  # fmt: skip


def _engine(row: Mapping[str, Any]) -> KnownEngine:
    return KnownEngine(
        row["name"], row["title"], row["checked"], tuple(row.get("aliases", ())), row.get("builds", False),
        tuple(row.get("converts", ())),
    )  # fmt: skip


def _rows(row: Mapping[str, Any]) -> Iterator[CompatibilityRow]:
    unknown = set(row) - _ROW_KEYS
    if unknown or not str(row.get("source", "")).strip():
        message = f"compatibility.toml: unknown fields {sorted(unknown)} or no source in {dict(row)}"
        raise ValueError(message)
    code = row.get("note")
    if code is not None and code not in NOTES:
        message = f"compatibility.toml: there is no note '{code}'"
        raise ValueError(message)
    conditions = {name: _words(row.get(name, ())) for name in DIMENSIONS if name != "device"}
    for engine in _words(row["engine"]):
        yield CompatibilityRow(
            engine=engine, verdict=Verdict(row.get("verdict", "yes")), source=row["source"],
            device=tuple(map(read_selector, _words(row.get("device", ())))), since=row.get("since"),
            until=row.get("until"), seen=row.get("seen"), code=code, note=NOTES[code] if code else None, **conditions,
        )  # fmt: skip


def _words(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def read_selector(words: str) -> DeviceSelector:
    """Some devices: ``"cuda>=8.0,<8.9"``, ``"rocm:gfx110*,gfx1151"``, ``"metal"``, ``"cpu"``.

    Raises:
        ValueError: it is not written so.
    """
    match = _SELECTOR.fullmatch(words)
    if match is None:
        message = f"compatibility.toml: '{words}' names no devices"
        raise ValueError(message)
    low, below = _capability(match["low"]), _capability(match["below"])
    return DeviceSelector(
        Platform(match["platform"]), low, below, tuple(match["targets"].split(",")) if match["targets"] else ()
    )


def _capability(words: str | None) -> tuple[int, int] | None:
    if words is None:
        return None
    major, _, minor = words.partition(".")
    return int(major), int(minor)


def _followed(rows: Iterable[CompatibilityRow], follower: Mapping[str, Any]) -> list[CompatibilityRow]:
    """What an engine gets from the engine that it carries: its rows of `dimensions`, unless it has its own.

    Which version of the other lies in which of its own is not known, so no first version is told, unless `builds`
    says that it counts by the same builds. `format` is what it hands over to the other.
    """
    only = _words(follower.get("format", ()))
    own = {
        (row.subject, value)
        for row in rows
        if row.engine == follower["engine"] and (not row.format or not only or set(row.format) & set(only))
        for value in getattr(row, row.subject, ())
        if isinstance(value, str)
    }
    same_builds = follower.get("builds", False)
    gained: list[CompatibilityRow] = []
    for row in rows:
        if row.engine != follower["carries"] or row.device or row.subject not in follower["dimensions"]:
            continue
        values = tuple(one for one in getattr(row, row.subject) if (row.subject, one) not in own)
        if not values:
            continue
        own_values: dict[str, Any] = {row.subject: values}
        changed = replace(row, engine=follower["engine"], **own_values)
        if not same_builds:
            changed = replace(
                changed, format=only, since=None, until=None, seen=follower.get("seen"), code=_FOLLOWS,
                note=NOTES[_FOLLOWS], source=f"{follower['source']}; {row.source}",
            )  # fmt: skip
        gained.append(changed)
    return gained
