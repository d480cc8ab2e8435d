"""What a checkpoint on this machine is: its files read together into one record."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansambl.domain.architecture import Architecture, Attention
from ansambl.domain.catalog import Inspection
from ansambl.domain.errors import CheckpointError
from ansambl.domain.text import Text, text
from ansambl.domain.units import Bytes
from ansambl.model_catalog import gguf_model, safetensors
from ansambl.model_catalog.config_json import ModelConfig, read_config
from ansambl.model_catalog.failures import named
from ansambl.model_catalog.gguf import GgufError
from ansambl.model_catalog.numbers import MissingError
from ansambl.model_catalog.safetensors import INDEX_NAME, SafetensorsError

_PROJECTOR = "mmproj"


def inspect_checkpoint(path: Path) -> Inspection:
    """Read the headers of the checkpoint at `path`; no weights are read.

    Args:
        path: a GGUF file (the first of a divided one), a safetensors file, a ``config.json``, or a folder that holds
            one checkpoint.

    Raises:
        CheckpointError: there is no such file, it is no model, it is damaged or truncated, or a field makes no sense.
    """
    with named(path):
        return _inspect(path)


def _inspect(path: Path) -> Inspection:
    if not path.exists():
        raise CheckpointError(
            text("the checkpoint {path} does not exist; give the path of a model file or folder", path=str(path))
        )
    if path.is_dir():
        return _inspect_folder(path)
    if not path.is_file():
        raise CheckpointError(
            text("the checkpoint {path} is neither a file nor a folder; give the path of a model file or folder",
                 path=str(path))
        )  # fmt: skip
    if path.suffix == ".safetensors":
        return _inspect_safetensors(path.parent, [path])
    if path.name in {"config.json", INDEX_NAME}:
        return _inspect_folder(path.parent)
    return _inspect_gguf(path)


def _inspect_folder(folder: Path) -> Inspection:
    index, config = folder / INDEX_NAME, folder / "config.json"
    if index.is_file():
        return _inspect_safetensors(folder, None)
    files = sorted(folder.glob("*.safetensors"))
    if files or config.is_file():
        return _inspect_safetensors(folder, files)
    ggufs = sorted(one for one in folder.glob("*.gguf") if _PROJECTOR not in one.name.lower())
    firsts = [one for one in ggufs if "-of-" not in one.name or "-00001-of-" in one.name]
    if len(firsts) == 1:
        return _inspect_gguf(firsts[0])
    if firsts:
        raise CheckpointError(
            text("the folder {path} holds {count} GGUF checkpoints ({names}); give one of the files", path=str(folder),
                 count=len(firsts), names=", ".join(one.name for one in firsts[:4]) + ("…" if firsts[4:] else ""))
        )  # fmt: skip
    raise CheckpointError(
        text(
            "the folder {path} holds no model: no config.json, no safetensors and no GGUF files; give another",
            path=str(folder),
        )
    )


def _inspect_gguf(path: Path) -> Inspection:
    parts = gguf_model.read_parts(path)
    headers = [header for _, header in parts]
    sizes = [part.stat().st_size for part, _ in parts]
    for (part, header), size in zip(parts, sizes, strict=True):
        if size < header.expected_size:
            message = f"{part.name} is truncated: it has {size} bytes, its header speaks of {header.expected_size}"
            raise GgufError(message)
    notes: list[Text] = []
    architecture: Architecture | None = None
    try:
        architecture = gguf_model.architecture(headers)
    except MissingError as missing:
        notes.append(text("the architecture cannot be told: {reason}", reason=str(missing)))
    sums: dict[str, int] = {}
    known = True
    for header in headers:
        for tensor in header.table:
            known = known and tensor.size is not None
            sums[tensor.type_name] = sums.get(tensor.type_name, 0) + (tensor.size or 0)
    if not known:
        notes.append(text("a tensor is of a type that is not known here, so the bytes of the weights are not exact"))
    fields = headers[0].fields
    title, licence = fields.get("general.name"), fields.get("general.license")
    return Inspection(
        path=str(path), format="gguf", files=len(parts), size=Bytes(sum(sizes)),
        tensors=sum(header.tensors for header in headers),
        tensor_bytes=Bytes(sum(sums.values())) if known else None,
        by_type=dict(sorted(sums.items(), key=lambda item: -item[1])),
        weights=gguf_model.weights(headers, architecture.layer_count) if architecture else None,
        architecture=architecture, quantization=headers[0].quantization, context=headers[0].context,
        title=title if isinstance(title, str) else None, licence=licence if isinstance(licence, str) else None,
        notes=tuple(notes),
    )  # fmt: skip


def _inspect_safetensors(folder: Path, files: list[Path] | None) -> Inspection:
    """A folder with config.json and safetensors files; `files` is None when an index says which."""
    notes: list[Text] = []
    config: ModelConfig | None = None
    described = folder / "config.json"
    try:
        config = read_config(described) if described.is_file() else None
    except MissingError as missing:
        notes.append(text("the architecture cannot be told: {reason}", reason=str(missing)))
    if not described.is_file():
        notes.append(text("there is no config.json beside the weights, so the architecture cannot be told"))
    claimed, count, expected = None, 0, None
    if files is None:
        index = safetensors.read_index(folder / INDEX_NAME)
        files, claimed, count = [folder / name for name in index.files], index.total_size, index.tensors
        expected = set(index.weight_map)
    present = [one for one in files if one.is_file()]
    if present and len(present) < len(files):
        missing_file = next(one.name for one in files if not one.is_file())
        message = f"its part {missing_file} is missing"
        raise SafetensorsError(message)
    tensors = [tensor for one in present for tensor in safetensors.read_tensors(one)]
    if present and expected is not None and not expected <= {one.name for one in tensors}:
        message = f"the tensor '{min(expected - {one.name for one in tensors})[:80]}' of the index is in no file"
        raise SafetensorsError(message)
    if not present:
        notes.append(text("the weights are not here, only their description"))
    architecture = config.architecture if config else None
    if architecture and present:
        architecture = _counted(architecture, tensors)
    sums = safetensors.by_type(tensors)
    return Inspection(
        path=str(folder), format="safetensors", files=len(present),
        size=Bytes(sum(one.stat().st_size for one in present)),
        tensors=len(tensors) or count,
        tensor_bytes=Bytes(sum(sums.values())) if present else Bytes(claimed) if claimed is not None else None,
        by_type=sums,
        weights=safetensors.weights(tensors, architecture.layer_count) if architecture and present else None,
        architecture=architecture, quantization=config.quantization if config else None,
        context=architecture.context if architecture else None, vision=config.vision if config else None,
        notes=tuple(notes),
    )  # fmt: skip


def _counted(architecture: Architecture, tensors: list[safetensors.StoredTensor]) -> Architecture:
    """The same with parameters counted from the files, where they are not packed."""
    total = safetensors.parameters(tensors)
    if total is None or not total:
        return architecture
    experts, used = architecture.experts, architecture.experts_active
    inside = safetensors.expert_parameters(tensors) if experts else 0
    active = total - inside + (inside * min(used, experts) // experts if experts else 0)
    return dataclasses.replace(architecture, parameters=total, active=active)


def kv_elements_per_token(architecture: Architecture) -> int:
    """Elements that one more token adds to the KV cache while no window is full."""
    return sum(
        group.count * (group.key_width + group.value_width)
        for group in architecture.layers
        if group.attention is not Attention.RECURRENT
    )


def architecture_to_json(architecture: Architecture) -> dict[str, Any]:
    """The record with its field names, and the elements that a token adds to the KV cache."""
    return {
        **dataclasses.asdict(architecture),
        "layer_count": architecture.layer_count,
        "kv_elements_per_token": kv_elements_per_token(architecture),
    }


def inspection_to_json(found: Inspection, translate: Callable[[str], str] | None = None) -> dict[str, Any]:
    """What ``models inspect --json`` prints: the record's field names, sizes in bytes, null for unknown."""
    shape = dataclasses.asdict(dataclasses.replace(found, notes=(), architecture=None))
    shape["architecture"] = architecture_to_json(found.architecture) if found.architecture else None
    shape["notes"] = [note.render(translate) for note in found.notes]
    return shape
