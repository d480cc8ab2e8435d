"""Which checkpoints lie on this machine: those that we fetched, other programs' stores, and folders of the user.

Nothing is written, and no network is used. What is not whole is not listed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from ansambl.domain.errors import CheckpointError, UsageError
from ansambl.domain.text import Text, text
from ansambl.domain.units import Bytes
from ansambl.foundation.paths import expanded, write_atomically
from ansambl.model_catalog import embedded
from ansambl.model_catalog.config_json import read_table
from ansambl.model_catalog.foreign_stores import LM_STUDIO, OLLAMA, lm_studio_folders, ollama_folders, ollama_models
from ansambl.model_catalog.gguf import GgufError, read_header
from ansambl.model_catalog.model_folder import format_of
from ansambl.model_catalog.numbers import NonsenseError
from ansambl.model_catalog.printable import printable
from ansambl.model_catalog.references import INDEX, HubFile, gguf_groups, parse_reference, safetensors_files
from ansambl.model_catalog.safetensors import SafetensorsError, read_index

MANIFEST = "ansambl-checkpoint.json"
"""Written into a folder as its last file, when all the others are there and checked."""
INCOMING = ".incoming"
_DEPTH, _MOST_ENTRIES = 5, 100_000


class Origin(StrEnum):
    """Who put a checkpoint where it is."""

    ANSAMBL = "ansambl"
    HUB_CACHE = "hub cache"
    OLLAMA = "Ollama"
    LM_STUDIO = "LM Studio"
    FOLDER = "folder"


@dataclass(frozen=True, slots=True)
class InstalledCheckpoint:
    """A checkpoint on this machine. `path` is what an engine is given: a GGUF file (the first), or a folder.

    `reference` is what people write for it: ``owner/name:Q4_K_M``, or its path. `repo` is None when nobody says where
    it came from; `size` is the bytes of all its files.
    """

    reference: str
    path: str
    repo: str | None
    format: str
    quantization: str | None
    size: Bytes
    files: int
    origin: Origin
    revision: str | None = None
    licence: str | None = None


class Manifest(msgspec.Struct, frozen=True):
    """What a fetched checkpoint's folder says of itself. `files` maps a path to its bytes, `first` is what to run."""

    reference: str
    repo: str
    revision: str
    format: str
    quantization: str | None
    licence: str | None
    first: str
    files: dict[str, int]


def installed(
    models_folder: Path, *, folders: Iterable[Path] = (), environment: Mapping[str, str] | None = None
) -> tuple[InstalledCheckpoint, ...]:
    """All checkpoints on this machine that are whole, ours first, then by reference.

    Args:
        models_folder: where `download.fetch` puts them; GGUF files that a user put there count too.
        folders: further folders to look for checkpoints in.
        environment: the variables that say where the hub's cache and the stores of others are; this process's when
            left out.
    """
    around = os.environ if environment is None else environment
    found = list(in_models_folder(models_folder))
    found += _in_cache(cache_folder(around))
    found += _of_ollama(around)
    found += _of_lm_studio(around)
    for folder in folders:
        found += _in_folder(folder, Origin.FOLDER)
    order = list(Origin)
    # Several names of Ollama's may share one file.
    unique = {(one.path, one.reference if one.origin is Origin.OLLAMA else ""): one for one in reversed(found)}
    return tuple(sorted(unique.values(), key=lambda one: (order.index(one.origin), one.reference, one.path)))


def disk_size(found: Iterable[InstalledCheckpoint]) -> Bytes:
    """The bytes of these checkpoints together: a file that has several names, as in Ollama's store, counts once."""
    return Bytes(sum({one.path: one.size for one in found}.values()))


def in_models_folder(models_folder: Path) -> Iterator[InstalledCheckpoint]:
    """What was fetched there, then what a user put there; the embedded model is none of them."""
    yield from _fetched(models_folder)
    fetched = {path.parent for path in models_folder.glob(f"*/*/*/{MANIFEST}")}
    known = embedded.embedded_path(models_folder)
    for one in _in_folder(models_folder, Origin.FOLDER, fetched):
        if Path(one.path) != known:
            yield one


def find_installed(reference: str, models_folder: Path) -> InstalledCheckpoint | None:
    """The checkpoint that a hub reference names, when it is on this machine: ours, the hub's cache, LM Studio's."""
    wanted = parse_reference(reference)
    if wanted is None:
        return None
    # One after the other: every file that is looked at costs the reading of its header.
    for one in chain(in_models_folder(models_folder), _in_cache(cache_folder(os.environ)), _of_lm_studio(os.environ)):
        if one.repo is None or one.repo.lower() != wanted.repo.lower():
            continue
        if wanted.quantization and wanted.quantization.lower() not in {(one.quantization or "").lower(), one.format}:
            continue
        if wanted.file and not one.path.endswith(f"/{wanted.file}"):
            continue
        return one
    return None


def remove(reference: str, models_folder: Path, *, confirmed: bool) -> InstalledCheckpoint:
    """What `reference` names among the checkpoints that Ansambl fetched; with `confirmed` it is deleted.

    Raises:
        UsageError: there is no such checkpoint, or Ansambl did not fetch it.
        CheckpointError: it cannot be deleted.
    """
    ours = [one for one in _fetched(models_folder) if reference in {one.reference, one.path, one.repo}]
    if len(ours) > 1:
        raise UsageError(
            text("'{reference}' means several checkpoints ({names}); give one of them", reference=printable(reference),
                 names=", ".join(one.reference for one in ours))
        )  # fmt: skip
    if not ours:
        for one in installed(models_folder):
            if reference in {one.reference, one.path, one.repo}:
                raise UsageError(_not_ours(one))
        raise UsageError(
            text("Ansambl has not fetched '{reference}', so it does not remove it; see what there is with: ansambl "
                 "models list", reference=printable(reference))
        )  # fmt: skip
    if confirmed:
        folder = _folder_of(ours[0], models_folder)
        try:
            # The manifest goes first: what is left of a deletion that was cut off is no checkpoint.
            (folder / MANIFEST).unlink()
            shutil.rmtree(folder)
            for parent in (folder.parent, folder.parent.parent):
                if parent != models_folder and not any(parent.iterdir()):
                    parent.rmdir()
        except OSError as failure:
            raise CheckpointError(
                text("the checkpoint {path} cannot be removed ({reason}); give yourself permission to delete it",
                     path=str(folder), reason=failure.strerror or str(failure))
            ) from failure  # fmt: skip
    return ours[0]


def _not_ours(one: InstalledCheckpoint) -> Text:
    """Whose a checkpoint is, and what removes it there."""
    if one.origin is Origin.OLLAMA:
        return text("{reference} belongs to Ollama; remove it there: ollama rm {name}", reference=one.reference,
                    name=one.reference.removeprefix(OLLAMA))  # fmt: skip
    if one.origin is Origin.LM_STUDIO:
        return text("{reference} belongs to LM Studio; remove it there, under My Models", reference=one.reference)
    if one.origin is Origin.HUB_CACHE:
        return text("{reference} lies in the hub's cache, which other programs use too; remove it there: hf cache rm "
                    "model/{repo}", reference=one.reference, repo=one.repo)  # fmt: skip
    return text("{path} is a file of yours; delete it yourself if nothing else uses it", path=one.path)


def _folder_of(one: InstalledCheckpoint, models_folder: Path) -> Path:
    path = Path(one.path)
    # A fetched checkpoint lies in owner/name/quantization, and its first file perhaps in a folder of the repository.
    return models_folder.joinpath(*path.relative_to(models_folder).parts[:3])


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Declare `folder` to be a whole checkpoint."""
    write_atomically(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2))


def read_manifest(folder: Path) -> Manifest | None:
    """What `folder` says of itself; None when it is no checkpoint, or a file is missing or of another length."""
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
        whole = all((folder / path).stat().st_size == size for path, size in manifest.files.items())
    except (OSError, ValueError, RecursionError):
        # msgspec's errors are ValueErrors.
        return None
    return manifest if whole else None


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Where the hub's own tools keep what they fetch, by the variables that they read."""
    home = environment.get("HF_HOME") or os.path.join(  # noqa: PTH118  (expanded below, as the hub's tool does)
        environment.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"
    )
    chosen = environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE") or f"{home}/hub"
    return expanded(os.path.expandvars(chosen))


def installed_to_json(one: InstalledCheckpoint) -> dict[str, Any]:
    """What ``models list --json`` prints of it."""
    return asdict(one)


def _fetched(models_folder: Path) -> Iterator[InstalledCheckpoint]:
    for path in sorted(models_folder.glob(f"*/*/*/{MANIFEST}")):
        folder = path.parent
        manifest = None if INCOMING in folder.parts else read_manifest(folder)
        if manifest is not None:
            first = folder / manifest.first if manifest.first else folder
            form, quantization = manifest.format, manifest.quantization
            if not manifest.first:
                form, quantization = _described(folder) or (form, quantization)
            yield InstalledCheckpoint(
                manifest.reference, str(first), manifest.repo, form, quantization,
                Bytes(sum(manifest.files.values())), len(manifest.files), Origin.ANSAMBL, manifest.revision,
                manifest.licence,
            )  # fmt: skip


def _in_cache(cache: Path) -> Iterator[InstalledCheckpoint]:
    """The newest commit of each model in the hub's cache."""
    for folder in sorted(cache.glob("models--*--*")):
        repo = folder.name.removeprefix("models--").replace("--", "/", 1)
        snapshots = _folders(folder / "snapshots")
        try:
            head = (folder / "refs" / "main").read_text("ascii").strip()
        except (OSError, ValueError):
            head = ""
        for snapshot in sorted(snapshots, key=lambda one: (one.name == head, one.stat().st_mtime))[-1:]:
            for one in _in_folder(snapshot, Origin.HUB_CACHE):
                tag = f":{one.quantization}" if one.format == "gguf" and one.quantization else ""
                yield InstalledCheckpoint(
                    repo + tag,
                    one.path,
                    repo,
                    one.format,
                    one.quantization,
                    one.size,
                    one.files,
                    one.origin,
                    snapshot.name,
                )


def _folders(folder: Path) -> list[Path]:
    try:
        return [one for one in folder.iterdir() if one.is_dir()]
    except OSError:
        return []


def _of_ollama(environment: Mapping[str, str]) -> Iterator[InstalledCheckpoint]:
    """The models in Ollama's stores whose weights llama.cpp can read."""
    seen: set[str] = set()
    for folder in ollama_folders(environment):
        for one in ollama_models(folder):
            quantization = _quantization(one.weights.parent, [HubFile(one.weights.name, _size(one.weights))])
            if quantization is not None and one.name not in seen:
                seen.add(one.name)
                yield InstalledCheckpoint(
                    f"{OLLAMA}{one.name}", str(one.weights), None, "gguf", quantization or None, Bytes(one.size),
                    one.files, Origin.OLLAMA,
                )  # fmt: skip


def _of_lm_studio(environment: Mapping[str, str]) -> Iterator[InstalledCheckpoint]:
    """The models in LM Studio's stores, which are laid out like a hub: publisher, repository, files."""
    for root in lm_studio_folders(environment):
        for one in _in_folder(root, Origin.LM_STUDIO):
            inside = Path(one.path).relative_to(root)
            repo = "/".join(inside.parts[:2]) if len(inside.parts) > 1 else None
            yield replace(one, reference=f"{LM_STUDIO}{inside.as_posix()}", repo=repo)


def _size(path: Path) -> Bytes:
    try:
        return Bytes(path.stat().st_size)
    except OSError:
        return Bytes(0)


def _in_folder(root: Path, origin: Origin, left_out: Iterable[Path] = ()) -> Iterator[InstalledCheckpoint]:
    """The checkpoints below `root` that are whole: GGUF files, and folders with a description and safetensors."""
    skipped, files, seen = set(left_out), [], 0
    described: list[Path] = []
    for name, folders, names in os.walk(root):
        folder = Path(name)
        seen += len(names) + len(folders)
        if seen > _MOST_ENTRIES:
            break
        deep = len(folder.relative_to(root).parts) >= _DEPTH
        folders[:] = [] if deep else sorted(
            one for one in folders if not one.startswith(".") and folder / one not in skipped
        )  # fmt: skip
        if "config.json" in names:
            described.append(folder)
        for one in names:
            path = folder / one
            if one.lower().endswith((".gguf", ".safetensors")) and path.is_file():
                files.append(HubFile(path.relative_to(root).as_posix(), Bytes(path.stat().st_size)))
    for group in gguf_groups(files):
        quantization = _quantization(root, group.files)
        if quantization is not None:
            first = str(root / group.files[0].path)
            yield InstalledCheckpoint(
                first, first, None, "gguf", quantization or group.quantization, group.size,
                len(group.files), origin,
            )  # fmt: skip
    for folder in described:
        found = _folder_checkpoint(root, folder, files, origin)
        if found is not None:
            yield found


def _described(folder: Path) -> tuple[str, str | None] | None:
    """The format and the quantization of a folder by its description; None when that cannot be read."""
    try:
        table = read_table(folder / "config.json")
    except (NonsenseError, OSError):
        return None
    return format_of(table) if isinstance(table, dict) else None


def _folder_checkpoint(
    root: Path, folder: Path, files: Iterable[HubFile], origin: Origin
) -> InstalledCheckpoint | None:
    """The one that `folder` itself is; None when a file is missing."""
    inside = folder.relative_to(root).as_posix()
    start = "" if inside == "." else f"{inside}/"
    weights = safetensors_files(
        HubFile(one.path.removeprefix(start), one.size) for one in files if one.path.startswith(start)
    )
    if not weights or not _is_whole(folder, {one.path for one in weights}):
        return None
    described = _described(folder)
    if described is None:
        return None
    form, quantization = described
    size = Bytes(sum(one.size for one in weights))
    return InstalledCheckpoint(
        str(folder), str(folder), None, form, quantization, size, len(weights), origin
    )  # fmt: skip


def _quantization(root: Path, files: Iterable[HubFile]) -> str | None:
    """What the first header says, empty when nothing; None when a file is damaged, cut off, or no model."""
    found = None
    for one in files:
        try:
            header = read_header(root / one.path)
        except (GgufError, OSError):
            return None
        if one.size < header.expected_size or (found is None and header.architecture is None):
            return None
        found = (header.quantization or "") if found is None else found
    return found


def _is_whole(folder: Path, names: set[str]) -> bool:
    if not (folder / INDEX).is_file():
        return True
    try:
        return set(read_index(folder / INDEX).files) <= names
    except (SafetensorsError, OSError):
        return False
