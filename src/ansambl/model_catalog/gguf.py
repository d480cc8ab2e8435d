"""The header of a GGUF file: which model it is, what its weights weigh, and whether the file is whole.

Written after the format's public description (ggml, docs/gguf.md, versions 2 and 3). A header comes from strangers:
every length is checked against the file before it is used, and nothing is allocated by what a header claims.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ansambl.model_catalog.printable import printable

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
# Far above any real file: the largest vocabularies have about 300,000 words and as many merges, the largest files
# some thousands of tensors. A hostile header costs seconds and megabytes at most.
_MAX_FIELDS, _MAX_TENSORS, _MAX_ITEMS = 16_384, 131_072, 3_000_000
_MAX_NAME, _MAX_TEXT, _MAX_DIMENSIONS, _MAX_LIST, _MAX_KEPT = 256, 4096, 4, 4096, 1 << 18
TEMPLATE = "tokenizer.chat_template"
"""The field that holds the chat template; ``tokenizer.chat_template.NAME`` holds another one for a purpose."""
_MAX_TEMPLATE = 1 << 20
_MAX_TEXTS = 16 << 20
"""Bytes of all names and texts together that are kept."""
MAX_HEADER = 64 << 20
"""Bytes of a file that are looked at. A vocabulary of 260,000 words with scores and merges makes a header of 12 MB."""
_MAX_DIMENSION, _MAX_ELEMENTS = 1 << 40, 1 << 50
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
    34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36),
}  # fmt: skip

_TYPE_NAMES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K",
    12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S",
    20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64",
    29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4",
}  # fmt: skip

# general.file_type, which names the quantization of most tensors (llama.h, llama_ftype).
_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS",
    20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M",
    28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE",
}  # fmt: skip


TOO_LONG = f"its header is longer than {MAX_HEADER} bytes, more than any model needs"


class GgufError(ValueError):
    """The file is not a GGUF file that can be used; the message says what is wrong with it, in a few words."""


class GgufIncompleteError(GgufError):
    """The header goes on beyond the bytes at hand: the file is cut off, or more of it must be fetched."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a header: `kind` is ggml's number of its type, `size` its bytes (None for an unknown type)."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    @property
    def size(self) -> int | None:
        """Its bytes, exactly; None when the type is not known."""
        if self.kind not in _BLOCKS:
            return None
        per_block, block = _BLOCKS[self.kind]
        return -(-self.elements // per_block) * block

    @property
    def type_name(self) -> str:
        """``"Q4_K"`` and the like; an unknown type is its number."""
        return _TYPE_NAMES.get(self.kind, str(self.kind))


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a header says. `fields` holds its numbers and short strings, `lists` its short lists of numbers.

    `lengths` has the number of items of every list, also of those that are left out (words of the tokenizer).
    """

    version: int
    fields: dict[str, int | float | str | bool] = field(repr=False)
    tensors: int
    parameters: int
    expected_size: int
    lists: Mapping[str, tuple[int | float | bool, ...]] = field(repr=False, default_factory=dict)
    lengths: Mapping[str, int] = field(repr=False, default_factory=dict)
    table: tuple[Tensor, ...] = field(repr=False, default=())

    @property
    def tensor_bytes(self) -> int | None:
        """The exact sum of the bytes of all tensors of this file; None when one is of an unknown type."""
        sizes = [one.size for one in self.table]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def architecture(self) -> str | None:
        """``"llama"``, ``"gemma3"``… None when the header does not say."""
        value = self.fields.get("general.architecture")
        return printable(value) if isinstance(value, str) else None

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

    def __init__(self, data: mmap.mmap | bytes) -> None:
        self._data = data
        self._size = len(data)
        self._items = self._kept = self._texts = 0
        self.position = 0

    def _take(self, length: int) -> int:
        start = self.position
        if length > self._size - start:
            message = "the header goes on beyond the end of the file"
            raise GgufIncompleteError(message)
        self.position = start + length
        return start

    def number(self, code: str) -> int | float | bool:
        layout = "<" + code
        value: int | float | bool = struct.unpack_from(layout, self._data, self._take(struct.calcsize(layout)))[0]
        return value

    def count(self, code: str = "Q") -> int:
        return int(self.number(code))

    def name(self) -> str:
        return printable(self.text(_MAX_NAME), _MAX_NAME)

    def text(self, limit: int) -> str:
        length = self.count()
        start = self._take(length)
        self._texts += min(length, limit)
        if self._texts > _MAX_TEXTS:
            message = f"the names and texts of the header are longer than {_MAX_TEXTS} bytes, more than any model has"
            raise GgufError(message)
        return self._data[start : start + min(length, limit)].decode("utf-8", "replace")

    def _skip_strings(self, items: int) -> None:
        position, size, data, length_of = self.position, self._size, self._data, struct.Struct("<Q").unpack_from
        for _ in range(items):
            if position + 8 > size:
                break
            position += 8 + length_of(data, position)[0]
        else:
            if position <= size:
                self.position = position
                return
        message = "the header goes on beyond the end of the file"
        raise GgufIncompleteError(message)

    def array(self) -> tuple[int, tuple[int | float | bool, ...] | None]:
        """How many items the list at hand has, and its numbers when they are few; strings are passed over."""
        kind, items = self.count("I"), self.count()
        if kind in _SCALARS:
            start = self._take(items * struct.calcsize("<" + _SCALARS[kind]))
            short = items <= _MAX_LIST and self._kept + items <= _MAX_KEPT
            self._kept += items if short else 0
            return items, struct.unpack_from(f"<{items}{_SCALARS[kind]}", self._data, start) if short else None
        # The budget is for all lists together: many lists of empty strings take long too.
        self._items += items
        if kind == _STRING and self._items <= _MAX_ITEMS:
            self._skip_strings(items)
            return items, None
        message = "a list in the header is of an unknown kind or too long"
        raise GgufError(message)


@dataclass(slots=True)
class _Fields:
    values: dict[str, int | float | str | bool] = field(default_factory=dict)
    lists: dict[str, tuple[int | float | bool, ...]] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)


def _read_fields(reader: _Reader, count: int) -> _Fields:
    found = _Fields()
    for _ in range(count):
        name = reader.name()
        if name in found.values or name in found.lengths:
            message = f"the header says '{name[:80]}' twice"
            raise GgufError(message)
        kind = reader.count("I")
        if kind in _SCALARS:
            found.values[name] = reader.number(_SCALARS[kind])
        elif kind == _STRING:
            found.values[name] = reader.text(_MAX_TEMPLATE if name.startswith(TEMPLATE) else _MAX_TEXT)
        elif kind == _ARRAY:
            found.lengths[name], items = reader.array()
            if items is not None and not name.startswith("tokenizer."):
                found.lists[name] = items
        else:
            message = f"the header field '{name[:40]}' is of an unknown kind ({kind})"
            raise GgufError(message)
    return found


def _read_tensors(reader: _Reader, count: int) -> Iterator[Tensor]:
    for _ in range(count):
        name = reader.name()
        dimensions = reader.count("I")
        if dimensions > _MAX_DIMENSIONS:
            message = f"the tensor '{name[:80]}' has {dimensions} dimensions, more than {_MAX_DIMENSIONS}"
            raise GgufError(message)
        shape = tuple(reader.count() for _ in range(dimensions))
        tensor = Tensor(name, shape, reader.count("I"), reader.count())
        if max(shape, default=0) > _MAX_DIMENSION or tensor.elements > _MAX_ELEMENTS:
            message = f"the tensor '{name[:80]}' has a shape that no model has"
            raise GgufError(message)
        per_block = _BLOCKS.get(tensor.kind, (1, 1))[0]
        if (shape[0] if shape else 1) % per_block:
            message = f"the tensor '{name[:80]}' has rows of {shape[0] if shape else 1}, not of blocks of {per_block}"
            raise GgufError(message)
        yield tensor


def _check_places(table: tuple[Tensor, ...], alignment: int) -> None:
    """Refuse tensors that share a name or bytes, or begin where the format lets none begin."""
    names: set[str] = set()
    before, end = "", 0
    for one in sorted(table, key=lambda tensor: tensor.offset):
        if one.name in names:
            message = f"the header has two tensors '{one.name[:80]}'"
            raise GgufError(message)
        names.add(one.name)
        if one.offset % alignment:
            message = f"the tensor '{one.name[:80]}' begins at byte {one.offset}, which is no multiple of {alignment}"
            raise GgufError(message)
        if one.offset < end:
            message = f"the tensors '{before[:80]}' and '{one.name[:80]}' overlap"
            raise GgufError(message)
        if one.offset + (one.size or 0) > end:
            before, end = one.name, one.offset + (one.size or 0)


def parse_header(data: mmap.mmap | bytes) -> GgufHeader:
    """Read the header that `data` begins with: a whole file, or its first bytes as they were fetched from elsewhere.

    Raises:
        GgufIncompleteError: the header is longer than `data`.
        GgufError: it is no GGUF file, of an unknown version, or its header makes no sense.
    """
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
    table = tuple(_read_tensors(reader, tensors))
    alignment = fields.values.get("general.alignment", _DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or not 0 < alignment <= _MAX_ALIGNMENT or alignment & (alignment - 1):
        message = f"'general.alignment' is {printable(alignment, 40)}, expected a power of two up to {_MAX_ALIGNMENT}"
        raise GgufError(message)
    _check_places(table, alignment)
    start = -(-reader.position // alignment) * alignment
    end = max((one.offset + (one.size or 0) for one in table), default=0)
    return GgufHeader(
        version=version, fields=fields.values, tensors=tensors, parameters=sum(one.elements for one in table),
        expected_size=start + end if tensors else reader.position,
        lists=fields.lists, lengths=fields.lengths, table=table,
    )  # fmt: skip


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
        with mmap.mmap(file.fileno(), min(size, MAX_HEADER), access=mmap.ACCESS_READ) as data:
            try:
                return parse_header(data)
            except GgufIncompleteError:
                if size <= MAX_HEADER:
                    raise
                raise GgufError(TOO_LONG) from None
