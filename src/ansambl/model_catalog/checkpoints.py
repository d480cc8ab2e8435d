"""From what a configuration calls a checkpoint to the checked files on this machine."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path, PurePosixPath

from ansambl.domain.catalog import Inspection
from ansambl.domain.errors import CheckpointError
from ansambl.domain.model import Checkpoint
from ansambl.domain.names import folded
from ansambl.domain.text import text
from ansambl.domain.units import Bytes
from ansambl.foundation.paths import expanded
from ansambl.model_catalog import embedded, gguf_model, safetensors
from ansambl.model_catalog.catalog import catalog
from ansambl.model_catalog.config_json import read_table
from ansambl.model_catalog.failures import named
from ansambl.model_catalog.foreign_stores import LM_STUDIO, OLLAMA, find_ollama, lm_studio_folders
from ansambl.model_catalog.gguf import GgufHeader
from ansambl.model_catalog.inspection import inspect_checkpoint
from ansambl.model_catalog.library import MANIFEST, find_installed, installed, read_manifest
from ansambl.model_catalog.model_folder import folder_kind
from ansambl.model_catalog.printable import printable
from ansambl.model_catalog.references import parse_reference

_CONFIG, _QUANTIZED = "config.json", "hf_quant_config.json"
_NUMBERED = re.compile(r"(?P<stem>.+)-(?P<index>\d{5})-of-(?P<count>\d{5})\.safetensors")
_CACHED = "models--"
_PROJECTOR = "clip"
_POOLINGS = {1: "mean", 2: "cls", 3: "last", 4: "rank"}
"""What llama.cpp calls the architecture of an image projector."""
_UPWARDS = 4
"""How far above a file its manifest, or the cache's folder of its repository, may lie."""


def open_checkpoint(reference: str, models_folder: Path) -> Checkpoint:
    """Find the checkpoint that `reference` names and check, cheaply, that its files are whole.

    Args:
        reference: ``"embedded"``, the path of a GGUF file (any part of a divided one) or of a folder with
            ``config.json`` and safetensors (``~`` is the home folder; a bare name is looked for in `models_folder`
            too), a hub reference that was fetched before (``owner/name:Q4_K_M``), a name of the catalog, or a model
            of another program's store (``ollama:llama3.2:3b``, ``lmstudio:publisher/repository/file.gguf``).
        models_folder: where downloaded checkpoints lie.

    Raises:
        CheckpointError: there is no such file or folder, or it is no model, truncated, or incomplete.
    """
    if reference == embedded.REFERENCE:
        return embedded.find(models_folder)
    if reference.startswith(OLLAMA):
        return _from_ollama(reference)
    if reference.startswith(LM_STUDIO):
        return _from_lm_studio(reference)
    path = expanded(reference)
    if not _holds_model(path) and not path.is_absolute() and _holds_model(models_folder / path):
        path = models_folder / path
    if not _holds_model(path) and parse_reference(reference) is not None and not reference.startswith(("./", "../")):
        # A folder of that name which holds no model, like the library's own owner/name, is not what is meant.
        return _from_library(reference, models_folder)
    if not path.exists():
        if "/" not in reference:
            return _from_catalog(reference, models_folder)
        raise CheckpointError(
            text('the checkpoint {path} does not exist; give the path of a model file or folder, or "embedded"',
                 path=str(path))
        )  # fmt: skip
    return open_path(reference, _absolute(path))


def is_of_other_program(reference: str) -> bool:
    """Whether it names a model of Ollama's or LM Studio's own store."""
    return reference.startswith((OLLAMA, LM_STUDIO))


def _absolute(path: Path) -> Path:
    """The same file is known by one path; symbolic links stay where no ``..`` has to be followed."""
    path = path.absolute()
    return path.parent.resolve() / path.name if ".." in path.parts[:-1] else path


def open_path(reference: str, path: Path, repo: str | None = None) -> Checkpoint:
    """Open the checkpoint at the absolute `path`, which is there; `repo` is where it came from, when that is known.

    Raises:
        CheckpointError: it is no model, truncated, or incomplete.
    """
    repo = repo or _repo_of(path)
    if path.suffix == ".safetensors":
        path = path.parent
    if not path.is_dir():
        return _open_gguf(reference, path, repo)
    found = inspect_checkpoint(path)
    if found.format == "gguf":
        return _open_gguf(reference, Path(found.path), repo)
    with named(path):
        return _open_folder(reference, path, found, repo)


def _from_catalog(reference: str, models_folder: Path) -> Checkpoint:
    """What of a catalog's model is on this machine, perhaps of one quantization (``qwen3-32b:Q4_K_M``)."""
    name, _, quantization = reference.partition(":")
    known = catalog().get(folded(name))
    if known is None:
        raise CheckpointError(
            text('the checkpoint {path} does not exist; give the path of a model file or folder, or "embedded"',
                 path=reference)
        )  # fmt: skip
    repos = {known.repo.lower(), *(one.repo.lower() for one in known.downloads)}
    for one in installed(models_folder):
        fits = not quantization or quantization.lower() in {(one.quantization or "").lower(), one.format}
        if one.repo is not None and one.repo.lower() in repos and fits:
            return open_path(reference, Path(one.path), one.repo)
    raise CheckpointError(
        text("{reference} is not on this machine; fetch it with: ansambl models pull {reference}", reference=reference)
    )


def _from_ollama(reference: str) -> Checkpoint:
    name = reference.removeprefix(OLLAMA)
    found = find_ollama(name, os.environ)
    if found is None:
        raise CheckpointError(
            text("Ollama has no {name} here that Ansambl can read; see what there is with: ansambl models list, or "
                 "fetch it with: ollama pull {name}", name=printable(name))
        )  # fmt: skip
    return open_path(reference, found.weights)


def _from_lm_studio(reference: str) -> Checkpoint:
    name = reference.removeprefix(LM_STUDIO)
    inside = PurePosixPath(name)
    if name and not inside.is_absolute() and ".." not in inside.parts:
        for folder in lm_studio_folders(os.environ):
            if _holds_model(folder / name):
                return open_path(reference, folder / name, "/".join(inside.parts[:2]))
    raise CheckpointError(
        text("LM Studio has no {name} here; see what there is with: ansambl models list", name=printable(name))
    )


def _holds_model(path: Path) -> bool:
    """Whether it is a file, or a folder with a model directly in it."""
    try:
        return path.is_file() or any(one.name == _CONFIG or one.suffix == ".gguf" for one in path.iterdir())
    except OSError:
        return False


def _from_library(reference: str, models_folder: Path) -> Checkpoint:
    found = find_installed(reference, models_folder)
    if found is None:
        raise CheckpointError(
            text("{reference} is not on this machine; fetch it with: ansambl models pull {reference}",
                 reference=reference)
        )  # fmt: skip
    return open_path(reference, Path(found.path), found.repo)


def _open_gguf(reference: str, path: Path, repo: str | None) -> Checkpoint:
    with named(path):
        parts = gguf_model.read_parts(path)
        stats = [part.stat() for part, _ in parts]
    for (part, header), stat in zip(parts, stats, strict=True):
        if stat.st_size < header.expected_size:
            raise CheckpointError(
                text("the checkpoint {path} is truncated: it has {size} bytes, its header speaks of {expected}; fetch "
                     "it again", path=str(part), size=stat.st_size, expected=header.expected_size)
            )  # fmt: skip
    first, header = parts[0]
    if header.architecture == _PROJECTOR:
        raise CheckpointError(
            text("{path} is an image projector, not a model; give the model's file, and this one as mmproj",
                 path=str(path))
        )  # fmt: skip
    return Checkpoint(
        reference=reference, path=str(first), format="gguf", size=Bytes(sum(one.st_size for one in stats)),
        identity=":".join((f"file:{first}", *(f"{one.st_size}:{one.st_mtime_ns}" for one in stats))),
        quantization=header.quantization, context=header.context, repo=repo, architecture=header.architecture,
        layers=_layers(header), pooling=_pooling(header),
    )  # fmt: skip


def _pooling(header: GgufHeader) -> str | None:
    """By llama.cpp's numbers; 0 is none, which some models that write say of themselves."""
    value = header.fields.get(f"{header.architecture}.pooling_type")
    return _POOLINGS.get(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _layers(header: GgufHeader) -> int | None:
    value = header.fields.get(f"{header.architecture}.block_count")
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _open_folder(reference: str, path: Path, found: Inspection, repo: str | None) -> Checkpoint:
    """A folder whose headers were read and agree with its index."""
    weights = sorted(path.glob("*.safetensors"))
    if not found.files or not weights:
        raise CheckpointError(
            text("the folder {path} describes a model but holds no weights in safetensors; fetch them too, or give the "
                 "folder that holds them", path=str(path))
        )  # fmt: skip
    if not (path / safetensors.INDEX_NAME).is_file():
        _require_all(path, [one.name for one in weights])
    if not (path / _CONFIG).is_file():
        raise CheckpointError(
            text("the folder {path} holds weights but no config.json, without which no engine can load them; copy it "
                 "from where the weights came from", path=str(path))
        )  # fmt: skip
    table = read_table(path / _CONFIG)
    quantized = read_table(path / _QUANTIZED) if (path / _QUANTIZED).is_file() else None
    kind = folder_kind(
        table if isinstance(table, dict) else {}, found.by_type,
        written_for=safetensors.written_for(weights[0]), quantized=quantized,
    )  # fmt: skip
    return Checkpoint(
        reference=reference, path=str(path), format=kind.format, size=found.size, identity=_identity(path),
        quantization=kind.quantization, context=kind.context, repo=repo, architecture=kind.architecture,
        layers=kind.layers,
    )  # fmt: skip


def _require_all(path: Path, names: list[str]) -> None:
    """Without an index nothing but their names tells how many files there must be."""
    for name in names:
        match = _NUMBERED.fullmatch(name)
        for index in range(1, int(match["count"]) + 1 if match else 0):
            wanted = f"{match['stem']}-{index:05d}-of-{match['count']}.safetensors" if match else name
            if wanted not in names:
                raise CheckpointError(
                    text("the checkpoint {path} cannot be used: {reason}; fetch it again, or give another file",
                         path=str(path), reason=f"its part {wanted} is missing")
                )  # fmt: skip


def _identity(path: Path) -> str:
    """What changes when a file that an engine reads changes: the names, bytes and times of all of them."""
    digest = hashlib.sha256()
    for one in sorted(path.iterdir()):
        if one.is_file() and not one.name.startswith("."):
            stat = one.stat()
            digest.update(f"{one.name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return f"folder:{path}:{digest.hexdigest()[:16]}"


def _repo_of(path: Path) -> str | None:
    """The repository that a file or a folder was fetched from, by what the fetching left beside it."""
    for folder in (path, *path.parents[:_UPWARDS]):
        if folder.name.startswith(_CACHED) and folder.name.count("--") >= 2:
            return folder.name.removeprefix(_CACHED).replace("--", "/", 1)
        if (folder / MANIFEST).is_file():
            manifest = read_manifest(folder)
            return manifest.repo if manifest else None
    return None
