"""From what a configuration calls a checkpoint to the checked file on this machine."""

from __future__ import annotations

from pathlib import Path

from ansambl.domain.errors import CheckpointError, NotSupportedError
from ansambl.domain.model import Checkpoint
from ansambl.domain.text import text
from ansambl.domain.units import Bytes
from ansambl.foundation.paths import expanded
from ansambl.model_catalog import embedded
from ansambl.model_catalog.failures import named
from ansambl.model_catalog.gguf import read_header
from ansambl.model_catalog.gguf_model import split_parts
from ansambl.model_catalog.library import find_installed
from ansambl.model_catalog.references import parse_reference


def open_checkpoint(reference: str, models_folder: Path) -> Checkpoint:
    """Find the checkpoint that `reference` names and check, cheaply, that its file is whole.

    Args:
        reference: ``"embedded"``, the path of a local GGUF file (``~`` is the home folder; a bare file name is looked
            for in `models_folder` too), or a hub reference that was fetched before (``owner/name:Q4_K_M``).
        models_folder: where downloaded checkpoints lie.

    Raises:
        CheckpointError: there is no such file, or it is no GGUF file, truncated, or incomplete.
        NotSupportedError: it is a folder.
    """
    if reference == embedded.REFERENCE:
        return embedded.find(models_folder)
    path = expanded(reference)
    if not path.exists() and not path.is_absolute() and (models_folder / path).is_file():
        path = models_folder / path
    if not path.exists():
        if parse_reference(reference) is not None and not reference.startswith(("./", "../")):
            return _from_library(reference, models_folder)
        raise CheckpointError(
            text('the checkpoint {path} does not exist; give the path of a GGUF file, or "embedded"', path=str(path))
        )
    if path.is_dir():
        raise NotSupportedError(
            text("the checkpoint {path} is a folder; only single GGUF files can be run so far", path=str(path))
        )
    return _open_gguf(reference, path.absolute())


def _from_library(reference: str, models_folder: Path) -> Checkpoint:
    found = find_installed(reference, models_folder)
    if found is None:
        raise CheckpointError(
            text("{reference} is not on this machine; fetch it with: ansambl models pull {reference}",
                 reference=reference)
        )  # fmt: skip
    if found.format != "gguf":
        raise NotSupportedError(
            text("the checkpoint {path} is a folder; only single GGUF files can be run so far", path=found.path)
        )
    return _open_gguf(reference, Path(found.path))


def _open_gguf(reference: str, path: Path) -> Checkpoint:
    with named(path):
        header = read_header(path)
        stat = path.stat()
        size = sum(part.stat().st_size for part in split_parts(path, header.split_count))
    if stat.st_size < header.expected_size:
        raise CheckpointError(
            text("the checkpoint {path} is truncated: it has {size} bytes, its header speaks of {expected}; fetch it "
                 "again", path=str(path), size=stat.st_size, expected=header.expected_size)
        )  # fmt: skip
    return Checkpoint(
        reference=reference, path=str(path), format="gguf", size=Bytes(size),
        identity=f"file:{path}:{stat.st_size}:{stat.st_mtime_ns}",
        quantization=header.quantization, context=header.context,
    )  # fmt: skip
