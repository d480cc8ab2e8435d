"""The header of a GGUF file: which model it is, and whether the file is whole.

Written after the format's public description (ggml, docs/gguf.md, versions 2 and 3). A header comes from strangers:
every length is checked against the file before it is used, and nothing is allocated by what a header claims.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MAX_FIELDS, _MAX_TENSORS, _MAX_ITEMS = 65_536, 1_000_000, 8_000_000
_MAX_NAME, _MAX_TEXT, _MAX_DIMENSIONS = 65_535, 4096, 4
_DEFAULT_ALIGNMENT, _MAX_ALIGNMENT = 32, 1 << 20

# Value types: unsigned and signed integers, floats and bool by struct code; 8 is a string, 9 an array.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9

# Tensor types: elements per block, bytes per block (ggml.h).
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip

# general.file_type, which names the quantization of most tensors (llama.h, llama_ftype).
_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS",
    20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M",
    28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE",
}  # fmt: skip


class GgufError(ValueError):
    """The file is not a GGUF file that can be used; the message says what is wrong with it, in a few words."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a header says. `fields` holds its numbers and short strings; arrays are left out."""

    version: int
    fields: dict[str, int | float | str | bool] = field(repr=False)
    tensors: int
    parameters: int
    expected_size: int

    @property
    def architecture(self) -> str | None:
        """``"llama"``, ``"gemma3"``… None when the header does not say."""
        value = self.fields.get("general.architecture")
        return value if isinstance(value, str) else None

    @property
    def context(self) -> int | None:
        """The longest sequence in tokens that the model was trained for."""
        value = self.fields.get(f"{self.architecture}.context_length")
        return value if isinstance(value, int) and value > 0 else None

    @property
    def quantization(self) -> str | None:
        """``"Q4_K_M"`` and the like."""
        value = self.fields.get("general.file_type")
        return _FILE_TYPES.get(value) if isinstance(value, int) else None

    @property
    def split_count(self) -> int:
        """How many files the checkpoint is divided into; 1 when it is whole."""
        value = self.fields.get("split.count")
        return value if isinstance(value, int) and not isinstance(value, bool) and value > 1 else 1


class _Reader:
    """Reads values one after another; never beyond the end of the file."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._size = len(data)
        self.position = 0

    def _take(self, length: int) -> int:
        start = self.position
        if length > self._size - start:
            message = "the header goes on beyond the end of the file"
            raise GgufError(message)
        self.position = start + length
        return start

    def number(self, code: str) -> int | float | bool:
        layout = "<" + code
        value: int | float | bool = struct.unpack_from(layout, self._data, self._take(struct.calcsize(layout)))[0]
        return value

    def count(self, code: str = "Q") -> int:
        return int(self.number(code))

    def text(self, limit: int) -> str:
        length = self.count()
        start = self._take(length)
        return self._data[start : start + min(length, limit)].decode("utf-8", "replace")

    def skip_array(self) -> None:
        kind, items = self.count("I"), self.count()
        if kind in _SCALARS:
            self._take(items * struct.calcsize("<" + _SCALARS[kind]))
        elif kind == _STRING and items <= _MAX_ITEMS:
            for _ in range(items):
                self._take(self.count())
        else:
            message = "a list in the header is of an unknown kind or too long"
            raise GgufError(message)


def _read_fields(reader: _Reader, count: int) -> dict[str, int | float | str | bool]:
    fields: dict[str, int | float | str | bool] = {}
    for _ in range(count):
        name = reader.text(_MAX_NAME)
        kind = reader.count("I")
        if kind in _SCALARS:
            fields[name] = reader.number(_SCALARS[kind])
        elif kind == _STRING:
            fields[name] = reader.text(_MAX_TEXT)
        elif kind == _ARRAY:
            reader.skip_array()
        else:
            message = f"the header field '{name[:40]}' is of an unknown kind ({kind})"
            raise GgufError(message)
    return fields


def _read_tensors(reader: _Reader, count: int) -> tuple[int, int]:
    """How many elements all tensors have, and where the last one ends, counted from the start of the data."""
    parameters = end = 0
    for _ in range(count):
        reader.text(_MAX_NAME)
        dimensions = reader.count("I")
        if dimensions > _MAX_DIMENSIONS:
            message = "a tensor in the header has too many dimensions"
            raise GgufError(message)
        elements = math.prod(reader.count() for _ in range(dimensions))
        kind, offset = reader.count("I"), reader.count()
        per_block, block = _BLOCKS.get(kind, (1, 0))
        parameters += elements
        end = max(end, offset + -(-elements // per_block) * block)
    return parameters, end


def read_header(path: Path) -> GgufHeader:
    """Read the header of the file at `path`; no more than the header is read from the disk.

    Raises:
        GgufError: it is no GGUF file, of an unknown version, or its header makes no sense.
        OSError: it cannot be opened or read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < 24:
            message = "the file is too short to be a GGUF file"
            raise GgufError(message)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data[:4] != MAGIC:
                message = "the file does not begin with 'GGUF'"
                raise GgufError(message)
            reader = _Reader(data)
            reader.position = 4
            version = reader.count("I")
            if version not in _VERSIONS:
                message = f"GGUF version {version} is not known, only {' and '.join(map(str, _VERSIONS))}"
                raise GgufError(message)
            tensors, count = reader.count(), reader.count()
            if tensors > _MAX_TENSORS or count > _MAX_FIELDS:
                message = "the header claims more tensors or fields than any model has"
                raise GgufError(message)
            fields = _read_fields(reader, count)
            parameters, end = _read_tensors(reader, tensors)
            alignment = fields.get("general.alignment", _DEFAULT_ALIGNMENT)
            if not isinstance(alignment, int) or not 0 < alignment <= _MAX_ALIGNMENT:
                message = "the header's alignment makes no sense"
                raise GgufError(message)
            start = -(-reader.position // alignment) * alignment
            return GgufHeader(version, fields, tensors, parameters, start + end if tensors else reader.position)
