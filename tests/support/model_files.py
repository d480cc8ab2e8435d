"""Small real model files for tests: a GGUF and a safetensors writer."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_BLOCKS = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_0": (2, 32, 18), "Q8_0": (8, 32, 34), "Q4_K": (12, 256, 144),
           "MXFP4": (39, 32, 17)}  # fmt: skip


class Signed(int):
    """A number that is written with a sign (32 bits), as some lists must be."""


def _string(value: str) -> bytes:
    content = value.encode()
    return struct.pack("<Q", len(content)) + content


def _value(value: Any) -> tuple[int, bytes]:
    if isinstance(value, bool):
        return 7, struct.pack("<?", value)
    if isinstance(value, Signed):
        return 5, struct.pack("<i", value)
    if isinstance(value, int):
        return (4, struct.pack("<I", value)) if 0 <= value < 2**32 else (11, struct.pack("<q", value))
    if isinstance(value, float):
        return 6, struct.pack("<f", value)
    if isinstance(value, str):
        return 8, _string(value)
    kinds = [_value(one) for one in value]
    return 9, struct.pack("<IQ", kinds[0][0] if kinds else 4, len(kinds)) + b"".join(content for _, content in kinds)


def gguf_head(fields: Mapping[str, Any], tensors: Mapping[str, tuple[str, tuple[int, ...]]]) -> tuple[bytes, list[int]]:
    """All of a GGUF file before its weights, and where each tensor's weights begin after it; ends with the end."""
    infos, offsets = b"", [0]
    for name, (kind, shape) in tensors.items():
        number, per_block, block = _BLOCKS[kind]
        infos += _string(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", one) for one in shape)
        infos += struct.pack("<IQ", number, offsets[-1])
        size = math.prod(shape) // per_block * block
        offsets.append(offsets[-1] + size + -size % 32)
    content = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(fields))
    for name, value in fields.items():
        kind_number, packed = _value(value)
        content += _string(name) + struct.pack("<I", kind_number) + packed
    content += infos
    return content + b"\0" * (-len(content) % 32), offsets


def write_gguf(
    path: Path, fields: Mapping[str, Any], tensors: Mapping[str, tuple[str, tuple[int, ...]]] | None = None
) -> int:
    """Write a whole file; `tensors` maps a name to its type and its shape. Returns the bytes of the tensors."""
    head, offsets = gguf_head(fields, tensors or {})
    path.write_bytes(head + b"\0" * offsets[-1])
    return sum(
        math.prod(shape) // _BLOCKS[kind][1] * _BLOCKS[kind][2] for kind, shape in (tensors or {}).values()
    )  # fmt: skip


def write_safetensors(path: Path, tensors: Mapping[str, tuple[str, tuple[int, ...], int]]) -> int:
    """Write a whole file; `tensors` maps a name to its type, its shape and its bytes. Returns the sum of the bytes."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, (kind, shape, size) in tensors.items():
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    content = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(content)) + content + b"\0" * offset)
    return offset


def tiny_gemma(path: Path) -> int:
    """Write a model of the Gemma 3 kind with next to nothing in it; return the bytes of its tensors."""
    fields = {
        "general.architecture": "gemma3", "general.name": "Tiny", "gemma3.block_count": 6,
        "gemma3.embedding_length": 64, "gemma3.attention.head_count": 4, "gemma3.attention.head_count_kv": 1,
        "gemma3.attention.sliding_window": 512, "gemma3.context_length": 2048,
    }  # fmt: skip
    return write_gguf(path, fields, {"token_embd.weight": ("F16", (64, 100))})
