"""The headers of safetensors files and the index of a divided checkpoint: the exact bytes of every tensor.

Written after the format's public description: eight bytes with the header's length, the header in JSON, the data. A
header comes from strangers: it is bounded before it is read, decoded into fixed shapes only, and every offset is
checked against the file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec

from ansambl.domain.catalog import LayerWeights, Weights
from ansambl.domain.units import Bytes
from ansambl.model_catalog.printable import printable

INDEX_NAME = "model.safetensors.index.json"
MAX_HEADER, MAX_INDEX = 8 << 20, 32 << 20
_MAX_FILES, _MAX_NAMES = 2000, 600_000
_METADATA = "__metadata__"

# Bits of one element.
_BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32,
    "U16": 16, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4, "C64": 64,
}  # fmt: skip
_PLAIN = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"}
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d{1,4})\.")
_EXPERT = re.compile(r"\.experts?\.")
_EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "tok_embeddings.weight", "word_embeddings.weight")
_OUTPUTS = ("lm_head.weight", "output.weight")


class SafetensorsError(ValueError):
    """The file is no usable safetensors file or index; the message says what is wrong with it, in a few words."""


class _Entry(msgspec.Struct):
    dtype: Annotated[str, msgspec.Meta(max_length=16)]
    shape: Annotated[list[Annotated[int, msgspec.Meta(ge=0, le=1 << 48)]], msgspec.Meta(max_length=16)]
    data_offsets: tuple[Annotated[int, msgspec.Meta(ge=0)], Annotated[int, msgspec.Meta(ge=0)]]


class _Sizes(msgspec.Struct):
    total_size: Annotated[int, msgspec.Meta(ge=0)] | None = None


class _Index(msgspec.Struct):
    weight_map: dict[str, str]
    metadata: _Sizes = msgspec.field(default_factory=_Sizes)


class _Library(msgspec.Struct):
    format: Annotated[str, msgspec.Meta(max_length=40)] | None = None


class _Notes(msgspec.Struct):
    notes: _Library = msgspec.field(default_factory=_Library, name=_METADATA)


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor: `kind` is its element type as the format names it, `size` its exact bytes."""

    name: str
    kind: str
    shape: tuple[int, ...]
    size: int

    @property
    def elements(self) -> int:
        """How many numbers it holds; packed formats put several into one."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class SafetensorsIndex:
    """Which file holds which tensor; `total_size` is the sum of bytes that the index claims."""

    files: tuple[str, ...]
    tensors: int
    total_size: int | None
    weight_map: dict[str, str] = field(repr=False)


def header_length(start: bytes, size: int) -> int:
    """The bytes of the header that follows the first eight bytes, `start`, of a file of `size` bytes.

    Raises:
        SafetensorsError: it is no such file, it is cut off inside the header, or the header is longer than any is.
    """
    length = int.from_bytes(start, "little")
    if len(start) < 8 or not 2 <= length <= size - 8:
        message = "it is no safetensors file, or it is cut off inside its header"
        raise SafetensorsError(message)
    if length > MAX_HEADER:
        message = f"its header claims {length} bytes, more than any model needs ({MAX_HEADER})"
        raise SafetensorsError(message)
    return length


def parse_tensors(header: bytes, size: int) -> tuple[StoredTensor, ...]:
    """The tensors that the JSON `header` of a file of `size` bytes names.

    Raises:
        SafetensorsError: the header makes no sense, or the file is truncated.
    """
    # An entry of the format has four names; what has far more is something else, and would cost memory to find out.
    if header.count(b'":') + header.count(b'" ') > _MAX_NAMES:
        message = "its header has more entries than any model"
        raise SafetensorsError(message)
    try:
        raw = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
        raw.pop(_METADATA, None)
        entries = {name: msgspec.json.decode(one, type=_Entry) for name, one in raw.items()}
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as failure:
        message = f"its header is not as the format wants it ({printable(failure, 120)})"
        raise SafetensorsError(message) from failure
    data = size - 8 - len(header)
    found = [(_checked(name, entry, data), entry.data_offsets) for name, entry in entries.items()]
    before, end = "", 0
    for one, (begin, after) in sorted(found, key=lambda pair: pair[1]):
        if begin < end:
            message = f"the tensors '{printable(before)}' and '{printable(one.name)}' overlap"
            raise SafetensorsError(message)
        before, end = one.name, after
    return tuple(one for one, _ in found)


def read_tensors(path: Path) -> tuple[StoredTensor, ...]:
    """The tensors of one safetensors file; only its header is read.

    Raises:
        SafetensorsError: it is no such file, its header makes no sense, or it is truncated.
        OSError: it cannot be opened or read.
    """
    with path.open("rb") as file:
        size = path.stat().st_size
        return parse_tensors(file.read(header_length(file.read(8), size)), size)


def written_for(path: Path) -> str | None:
    """The library that the header's notes name (``"pt"``, ``"mlx"``); None when there are none.

    Raises:
        SafetensorsError: it is no such file.
        OSError: it cannot be opened or read.
    """
    with path.open("rb") as file:
        header = file.read(header_length(file.read(8), path.stat().st_size))
    try:
        return msgspec.json.decode(header, type=_Notes).notes.format
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


def _checked(name: str, entry: _Entry, data: int) -> StoredTensor:
    begin, end = entry.data_offsets
    if end > data:
        message = f"it is truncated: the tensor '{printable(name)}' ends at byte {end} of {data}"
        raise SafetensorsError(message)
    bits = _BITS.get(entry.dtype)
    if begin > end or (bits is not None and -(-math.prod(entry.shape) * bits // 8) != end - begin):
        message = f"the tensor '{printable(name)}' has a size that does not fit its shape"
        raise SafetensorsError(message)
    return StoredTensor(name, printable(entry.dtype), tuple(entry.shape), end - begin)


def read_index(path: Path) -> SafetensorsIndex:
    """Read ``model.safetensors.index.json``.

    Raises:
        SafetensorsError: it is no such index, too large, or names files outside its folder.
        OSError: it cannot be read.
    """
    if path.stat().st_size > MAX_INDEX:
        message = f"the index is larger than any model needs ({MAX_INDEX} bytes)"
        raise SafetensorsError(message)
    return parse_index(path.read_bytes())


def parse_index(content: bytes) -> SafetensorsIndex:
    """The same from the file's content.

    Raises:
        SafetensorsError: it is no such index, or names files outside its folder.
    """
    if content.count(b'":') + content.count(b'" ') > _MAX_NAMES:
        message = "the index has more entries than any model"
        raise SafetensorsError(message)
    try:
        index = msgspec.json.decode(content, type=_Index)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as failure:
        message = f"the index is not as the format wants it ({printable(failure, 120)})"
        raise SafetensorsError(message) from failure
    files = tuple(sorted(set(index.weight_map.values())))
    if len(files) > _MAX_FILES:
        message = f"the index names {len(files)} files, more than any model has"
        raise SafetensorsError(message)
    for name in files:
        if not name or not name.isprintable() or name in {".", ".."} or "/" in name or "\\" in name:
            message = f"the index names a file outside its folder: '{printable(name)}'"
            raise SafetensorsError(message)
    return SafetensorsIndex(files, len(index.weight_map), index.metadata.total_size, index.weight_map)


def by_type(tensors: Sequence[StoredTensor]) -> dict[str, int]:
    """Bytes by element type, the largest first."""
    sums: dict[str, int] = {}
    for one in tensors:
        sums[one.kind] = sums.get(one.kind, 0) + one.size
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def parameters(tensors: Sequence[StoredTensor]) -> int | None:
    """How many numbers the model has; None when some are packed, so that it cannot be counted."""
    return sum(one.elements for one in tensors) if all(one.kind in _PLAIN for one in tensors) else None


def expert_parameters(tensors: Sequence[StoredTensor]) -> int:
    """How many of the numbers belong to routed experts."""
    return sum(one.elements for one in tensors if _EXPERT.search(one.name))


def weights(tensors: Sequence[StoredTensor], layers: int) -> Weights:
    """Where the bytes lie; a vision tower's layers count as other."""
    dense, experts = [0] * layers, [0] * layers
    embedding = output = other = 0
    for one in tensors:
        match = _LAYER.search(one.name)
        elsewhere = any(word in one.name for word in ("vision", "visual", "audio", "mtp.", "projector"))
        if match and int(match[1]) < layers and not elsewhere:
            (experts if _EXPERT.search(one.name) else dense)[int(match[1])] += one.size
        elif one.name.endswith(_EMBEDDINGS) and not elsewhere:
            embedding += one.size
        elif one.name.endswith(_OUTPUTS) and not match:
            output += one.size
        else:
            other += one.size
    return Weights(
        tuple(LayerWeights(Bytes(one), Bytes(two)) for one, two in zip(dense, experts, strict=True)),
        Bytes(embedding), Bytes(output), Bytes(other),
    )  # fmt: skip
