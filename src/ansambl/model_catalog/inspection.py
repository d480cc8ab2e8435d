"""What a checkpoint is: its files read together into one record, be they on this machine or elsewhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansambl.domain.architecture import Architecture, Attention
from ansambl.domain.catalog import Inspection
from ansambl.domain.errors import CheckpointError
from ansambl.domain.text import Text, text
from ansambl.domain.units import Bytes
from ansambl.model_catalog import gguf_model, safetensors
from ansambl.model_catalog.config_json import SAMPLING_NAME, ModelConfig, read_config, read_sampling
from ansambl.model_catalog.failures import named
from ansambl.model_catalog.gguf import GgufError, GgufHeader
from ansambl.model_catalog.numbers import MissingError
from ansambl.model_catalog.printable import printable
from ansambl.model_catalog.safetensors import INDEX_NAME, SafetensorsError, SafetensorsIndex, StoredTensor

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
    return gguf_inspection(str(path), [(part.name, part.stat().st_size, header) for part, header in parts])


def gguf_inspection(shown: str, parts: Sequence[tuple[str, int, GgufHeader]]) -> Inspection:
    """What the headers of a GGUF checkpoint say; `parts` are its files in order: name, bytes in all, header.

    Raises:
        GgufError: a file is shorter than its header says, or the header makes no sense.
        NonsenseError: a number makes no sense.
    """
    for name, size, header in parts:
        if size < header.expected_size:
            message = f"{name} is truncated: it has {size} bytes, its header speaks of {header.expected_size}"
            raise GgufError(message)
    headers = [header for _, _, header in parts]
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
        path=shown, format="gguf", files=len(parts), size=Bytes(sum(size for _, size, _ in parts)),
        tensors=sum(header.tensors for header in headers),
        tensor_bytes=Bytes(sum(sums.values())) if known else None,
        by_type=dict(sorted(sums.items(), key=lambda item: -item[1])),
        weights=gguf_model.weights(headers, architecture.layer_count) if architecture else None,
        architecture=architecture, quantization=headers[0].quantization, context=headers[0].context,
        title=printable(title) if isinstance(title, str) else None,
        licence=printable(licence) if isinstance(licence, str) else None, notes=tuple(notes),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class SafetensorsParts:
    """What was read of a safetensors checkpoint: its description, its index, and the tensors of each file.

    `config` is None when there is no ``config.json``, `index` when the weights are one file. `files` holds name, bytes
    in all and tensors of each file that is there; it is empty when only the description is.
    """

    config: Callable[[], ModelConfig] | None
    index: SafetensorsIndex | None
    files: Sequence[tuple[str, int, Sequence[StoredTensor]]]
    sampling: Mapping[str, float] = field(default_factory=dict)


def _inspect_safetensors(folder: Path, files: list[Path] | None) -> Inspection:
    """A folder with config.json and safetensors files; `files` is None when an index says which."""
    index = None
    if files is None:
        index = safetensors.read_index(folder / INDEX_NAME)
        files = [folder / name for name in index.files]
    present = [one for one in files if one.is_file()]
    if present and len(present) < len(files):
        missing_file = next(one.name for one in files if not one.is_file())
        message = f"its part {missing_file} is missing"
        raise SafetensorsError(message)
    described, advice = folder / "config.json", folder / SAMPLING_NAME
    return safetensors_inspection(
        str(folder),
        SafetensorsParts(
            (lambda: read_config(described)) if described.is_file() else None,
            index,
            [(one.name, one.stat().st_size, safetensors.read_tensors(one)) for one in present],
            read_sampling(advice) if advice.is_file() else {},
        ),
    )


def safetensors_inspection(shown: str, parts: SafetensorsParts) -> Inspection:
    """What the parts of a safetensors checkpoint say together.

    Raises:
        SafetensorsError: the index and the files contradict each other.
        NonsenseError: a field of the description makes no sense.
    """
    notes: list[Text] = []
    config: ModelConfig | None = None
    try:
        config = parts.config() if parts.config else None
    except MissingError as missing:
        notes.append(text("the architecture cannot be told: {reason}", reason=str(missing)))
    if parts.config is None:
        notes.append(text("there is no config.json beside the weights, so the architecture cannot be told"))
    tensors = [tensor for _, _, found in parts.files for tensor in found]
    index, claimed = parts.index, parts.index.total_size if parts.index else None
    if parts.files and index is not None and (lost := set(index.weight_map) - {one.name for one in tensors}):
        message = f"the tensor '{printable(min(lost))}' of the index is in no file"
        raise SafetensorsError(message)
    if not parts.files:
        notes.append(text("the weights are not here, only their description"))
    if parts.sampling:
        values = ", ".join(f"{name} {value:g}" for name, value in parts.sampling.items())
        notes.append(text("its makers recommend for sampling: {values}", values=values))
    architecture = config.architecture if config else None
    if architecture and parts.files:
        architecture = _counted(architecture, tensors)
    sums = safetensors.by_type(tensors)
    return Inspection(
        path=shown, format=config.format if config else "safetensors", files=len(parts.files),
        size=Bytes(sum(size for _, size, _ in parts.files)),
        tensors=len(tensors) or (index.tensors if index else 0),
        tensor_bytes=Bytes(sum(sums.values())) if parts.files else Bytes(claimed) if claimed is not None else None,
        by_type=sums,
        weights=safetensors.weights(tensors, architecture.layer_count) if architecture and parts.files else None,
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
