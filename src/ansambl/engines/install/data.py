"""The rows of ``data/builds.toml`` as records.

The file is ours: a mistake in it is a bug and raises ValueError.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ansambl.domain.units import MIB, Bytes
from ansambl.engines.install.notes import NOTES
from ansambl.engines.install.records import Archive, Build, Lock, Source, Way

_DATA = Path(__file__).resolve().parents[1] / "data"
LOCKS = _DATA / "locks"
"""The folder of the requirements with hashes."""

_KEYS = {
    "engine", "version", "build", "variant", "way", "systems", "pythons", "driver", "capability", "targets",
    "cpu_flags", "programs", "download_mib", "size_mib", "scratch_mib", "licence", "locks", "check", "program",
    "archives", "source", "notes", "sources", "verified",
}  # fmt: skip
_BUILDS = {"cuda", "rocm", "metal", "vulkan", "cpu"}


@cache
def known_builds() -> tuple[Build, ...]:
    """Everything that can be installed, the better one first where several fit a machine."""
    return read_builds(tomllib.loads((_DATA / "builds.toml").read_text(encoding="utf-8")))


def installable_engines() -> tuple[str, ...]:
    """The engines that can be installed."""
    return tuple(dict.fromkeys(one.engine for one in known_builds()))


def read_builds(table: Mapping[str, Any]) -> tuple[Build, ...]:
    """The builds in a decoded file. Pure.

    Raises:
        ValueError: a row has a field, a build, an engine or a note that nobody knows, or lacks one that it needs.
    """
    titles = {row["name"]: row["title"] for row in table["engines"]}
    return tuple(_build(row, titles) for row in table["builds"])


def _build(row: Mapping[str, Any], titles: Mapping[str, str]) -> Build:
    wrong = sorted(set(row) - _KEYS) or sorted(set(row.get("notes", ())) - set(NOTES))
    if wrong or row["engine"] not in titles or row["build"] not in _BUILDS or not row.get("sources"):
        message = (
            f"builds.toml: {wrong or 'engine, build or sources'} cannot be right in {row['engine']} {row['build']}"
        )
        raise ValueError(message)
    way = Way(row["way"])
    found = Build(
        engine=row["engine"], title=titles[row["engine"]], version=row["version"], build=row["build"], way=way,
        systems=tuple(row["systems"]), licence=row["licence"], sources=tuple(row["sources"]), program=row["program"],
        variant=row.get("variant", ""), pythons=tuple(row.get("pythons", ())), driver=row.get("driver"),
        capability=row.get("capability"), targets=tuple(row.get("targets", ())),
        cpu_flags=tuple(row.get("cpu_flags", ())), programs=tuple(row.get("programs", ())),
        download=Bytes(row["download_mib"] * MIB) if "download_mib" in row else None,
        size=Bytes(row["size_mib"] * MIB), scratch=Bytes(row.get("scratch_mib", 0) * MIB),
        locks=tuple(_lock(one) for one in row.get("locks", ())), check=row.get("check", ""),
        archives=tuple(Archive(one["url"], one["sha256"]) for one in row.get("archives", ())),
        source=Source(**{**row["source"], "options": tuple(row["source"]["options"])}) if "source" in row else None,
        notes=tuple(row.get("notes", ())), verified=row.get("verified", ""),
    )  # fmt: skip
    whole = {
        Way.WHEELS: bool(found.locks and found.check and found.pythons),
        Way.ARCHIVE: bool(found.archives),
        Way.SOURCE: found.source is not None,
    }
    if not whole[way]:
        message = f"builds.toml: {found.engine} {found.folder} does not say what '{way}' needs"
        raise ValueError(message)
    return found


def _lock(words: str | Mapping[str, str]) -> Lock:
    return Lock(words) if isinstance(words, str) else Lock(words["name"], words["index"])
