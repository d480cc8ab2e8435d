"""The rows of ``data/drivers.toml`` as records. The file is ours: a mistake in it is a bug and raises ValueError."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ansambl.domain.compatibility import DriverNeed, Platform

_DATA = Path(__file__).resolve().parent / "data" / "drivers.toml"
_KEYS = frozenset({"platform", "toolkit", "least", "own", "source"})


@cache
def driver_needs() -> tuple[DriverNeed, ...]:
    """The shipped rows, always the same object."""
    return read_driver_needs(tomllib.loads(_DATA.read_text(encoding="utf-8")))


def read_driver_needs(table: Mapping[str, Any]) -> tuple[DriverNeed, ...]:
    """The rows in a decoded file. Pure.

    Raises:
        ValueError: a row has an unknown field, no source, or names no driver.
    """
    return tuple(_row(row) for row in table["drivers"])


def _row(row: Mapping[str, Any]) -> DriverNeed:
    if set(row) - _KEYS or not row.get("source") or not (row.get("least") or row.get("own")):
        message = f"drivers.toml: unknown fields, no source or no driver in {dict(row)}"
        raise ValueError(message)
    return DriverNeed(Platform(row["platform"]), row["toolkit"], row["source"], row.get("least"), row.get("own"))
