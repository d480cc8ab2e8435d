"""Drivers that engines need: the rows of ``data/drivers.toml``, and the CUDA that an installed engine brings along.

The file is ours: a mistake in it is a bug and raises ValueError.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ansambl.domain.compatibility import DriverNeed, Platform

_DATA = Path(__file__).resolve().parent / "data" / "drivers.toml"
# The folders that packages leave in an environment, and the library that a compiled engine has beside it.
_PACKAGES = (
    ("torch-*+cu*.dist-info", re.compile(r"\+cu(?P<major>\d{2})(?P<minor>\d)")),
    ("nvidia_cuda_runtime*.dist-info", re.compile(r"runtime(?:_cu\d+)?-(?P<major>\d+)\.(?P<minor>\d+)")),
)
_LIBRARY = re.compile(r"libcudart\.so\.(?P<major>\d+)(?:\.(?P<minor>\d+))?")
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


def cuda_beside(program: str | None) -> str | None:
    """The CUDA that an engine brings along, by the files beside its `program` (``"13.0"``, ``"12"``); None if unknown.

    `program` is the Python of an environment or the engine's own executable. Only names of files are looked at.
    """
    if program is None:
        return None
    folder = Path(program).parent
    try:
        for site in sorted(folder.parent.glob("lib*/python*/site-packages")):
            for pattern, version in _PACKAGES:
                for found in sorted(site.glob(pattern)):
                    match = version.search(found.name)
                    if match:
                        return f"{match['major']}.{match['minor']}"
        libraries = sorted([*folder.glob("libcudart.so.*"), *folder.parent.glob("lib/libcudart.so.*")])
    except OSError:
        return None
    for library in reversed(libraries):
        match = _LIBRARY.match(library.name)
        if match:
            return f"{match['major']}.{match['minor']}" if match["minor"] else match["major"]
    return None
