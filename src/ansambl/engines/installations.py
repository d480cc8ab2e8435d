"""Engines that Ansambl installed, each in a folder of its own: what stands there, and where its program is.

The folder holds an environment or unpacked files and, written last, a manifest. What has no manifest is no
installation: an interrupted one is gone on with or removed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from ansambl.domain.engine import Installed, NotUsable, Surroundings
from ansambl.domain.text import text
from ansambl.foundation.paths import write_atomically

MANIFEST = "ansambl-engine.json"


class InstallManifest(msgspec.Struct, frozen=True):
    """What an installed engine's folder says of itself.

    `program` is relative to the folder: an executable, or the Python of the environment. `time` is seconds since the
    epoch, `size` the bytes of the folder when it was done.
    """

    engine: str
    version: str
    build: str
    program: str
    licence: str
    source: str
    time: float
    size: int


def engine_folder(engines_folder: Path, engine: str) -> Path:
    """Where an engine lies."""
    return engines_folder / engine


def write_install_manifest(folder: Path, manifest: InstallManifest) -> None:
    """Declare `folder` to hold a whole engine."""
    write_atomically(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2))


def manifest_to_json(manifest: InstallManifest) -> dict[str, Any]:
    """The manifest as commands print it: its fields by their names."""
    return msgspec.structs.asdict(manifest)


def read_install_manifest(folder: Path) -> InstallManifest | None:
    """What `folder` says of itself; None when it holds no whole engine."""
    try:
        found = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=InstallManifest)
    except (OSError, ValueError, RecursionError):
        return None
    return found if (folder / found.program).exists() else None


def find_installed(around: Surroundings, engine: str) -> Installed | None:
    """The engine that Ansambl installed; None when there is none."""
    if around.engines_folder is None:
        return None
    folder = engine_folder(Path(around.engines_folder), engine)
    found = read_install_manifest(folder)
    if found is None:
        return None
    return Installed(found.version, str(folder / found.program), found.build, managed=True)


def not_installed(title: str, engine: str) -> NotUsable:
    """What is said of an engine that Ansambl could install and has not."""
    return NotUsable(
        text("{engine} is not installed", engine=title),
        text("install it with: ansambl engines install {name}", name=engine),
    )
