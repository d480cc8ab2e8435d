"""Writing a GGUF file: a header of fields and tensors, and the tensors' numbers after it.

Written after the format's public description (ggml, docs/gguf.md, version 3).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_ALIGNMENT = 32
_F32 = 0
_UINT32, _FLOAT32, _STRING, _ARRAY = 4, 6, 8, 9
Value = str | int | float | tuple[int, ...]
"""What a field can be here: a text, a whole number (32 bits), a fraction (32 bits), a list of whole numbers."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A tensor of 32-bit floats to be written. `shape` is in the file's order, the fastest first."""

    name: str
    shape: tuple[int, ...]
    content: Callable[[], bytes]

    @property
    def size(self) -> int:
        """Its bytes."""
        size = 4
        for one in self.shape:
            size *= one
        return size


def write_gguf(path: Path, fields: Mapping[str, Value], tensors: Sequence[Planned]) -> None:
    """Write a new file; only one tensor's content is held at a time.

    Raises:
        OSError: it cannot be written.
        ValueError: a content is not as large as its tensor's shape.
    """
    with path.open("xb") as file:
        file.write(_head(fields, tensors))
        for one in tensors:
            content = one.content()
            if len(content) != one.size:
                message = f"{one.name} has {len(content)} bytes, expected {one.size}"
                raise ValueError(message)
            file.write(content)
            file.write(b"\0" * (-len(content) % _ALIGNMENT))


def _head(fields: Mapping[str, Value], tensors: Sequence[Planned]) -> bytes:
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(fields))]
    for name, value in fields.items():
        parts += [_text(name), _value(value)]
    parts += _places(tensors)
    head = b"".join(parts)
    return head + b"\0" * (-len(head) % _ALIGNMENT)


def _places(tensors: Iterable[Planned]) -> list[bytes]:
    parts, offset = [], 0
    for one in tensors:
        parts += [_text(one.name), struct.pack(f"<I{len(one.shape)}Q", len(one.shape), *one.shape)]
        parts.append(struct.pack("<IQ", _F32, offset))
        offset += one.size + -one.size % _ALIGNMENT
    return parts


def _text(words: str) -> bytes:
    content = words.encode()
    return struct.pack("<Q", len(content)) + content


def _value(value: Value) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _text(value)
    if isinstance(value, tuple):
        return struct.pack(f"<IIQ{len(value)}I", _ARRAY, _UINT32, len(value), *value)
    if isinstance(value, float):
        return struct.pack("<If", _FLOAT32, value)
    return struct.pack("<II", _UINT32, value)
