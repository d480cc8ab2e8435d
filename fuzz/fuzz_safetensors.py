"""Fuzz the readers of safetensors headers and of their index. The first byte of an input says which.

``t`` is a whole file, ``h`` a header to which its length and 64 bytes of data are added, ``s`` what such a header
is built from, ``i`` an index.
"""

from __future__ import annotations

import json

import atheris
from harness import check_refusal, run

with atheris.instrument_imports(include=["ansambl.model_catalog", "ansambl.domain"]):
    from ansambl.model_catalog import safetensors
    from ansambl.model_catalog.safetensors import SafetensorsError

KINDS = "thsi"
WORDS = (
    "dtype", "shape", "data_offsets", "__metadata__", "weight_map", "metadata", "total_size", "BF16", "F8_E4M3", "U8",
    "model.layers.0.mlp.experts.1.up_proj.weight", "model.embed_tokens.weight", "lm_head.weight", "visual.",
    "9223372036854775807", "18446744073709551615", "1e400", "-1", "[[[[", '{"":{"":',
)  # fmt: skip


def header() -> bytes:
    """A valid header of four tensors and the bytes that belong to it."""
    table: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    names = ("model.embed_tokens.weight", "model.layers.0.mlp.experts.1.up_proj.weight", "lm_head.weight", "visual.x")
    for name in names:
        table[name] = {"dtype": "BF16", "shape": [2, 4], "data_offsets": [offset, offset + 16]}
        offset += 16
    content = json.dumps(table).encode()
    return len(content).to_bytes(8, "little") + content + b"\0" * offset


def index() -> bytes:
    """A valid index of two files."""
    names = {"a.weight": "model-00001-of-00002.safetensors", "b.weight": "model-00002-of-00002.safetensors"}
    return json.dumps({"metadata": {"total_size": 64}, "weight_map": names}).encode()


def built(data: bytes) -> bytes:
    """A header of valid shape whose names, types, shapes and places the fuzzer chooses."""
    source = atheris.FuzzedDataProvider(data)
    table: dict[str, object] = {}
    for _ in range(source.ConsumeIntInRange(0, 8)):
        name = source.PickValueInList([*WORDS, source.ConsumeUnicodeNoSurrogates(12)])
        begin = source.ConsumeIntInRange(-1, 80)
        table[name] = {
            "dtype": source.PickValueInList(["BF16", "F32", "F4", "F6_E2M3", "U8", "NEW", "\x1b[2J"]),
            "shape": source.ConsumeIntListInRange(source.ConsumeIntInRange(0, 5), -1, 9),
            "data_offsets": [begin, begin + source.ConsumeIntInRange(-1, 80)],
        }
    return json.dumps(table).encode()


def one_input(data: bytes) -> None:
    """Read the rest of `data` as a file, or as an index."""
    kind, content = KINDS[data[0] % 4] if data else "t", data[1:]
    try:
        if kind == "s":
            content, kind = built(content), "h"
        if kind == "i":
            safetensors.parse_index(content)
            return
        if kind == "h":
            content = len(content).to_bytes(8, "little") + content + b"\0" * 64
        length = safetensors.header_length(content[:8], len(content))
        tensors = safetensors.parse_tensors(content[8 : 8 + length], len(content))
    except SafetensorsError as refusal:
        check_refusal(str(refusal))
        return
    stored = sum(one.size for one in tensors)
    if stored > len(content) or safetensors.weights(tensors, 4).total != stored:
        message = "the tensors have more bytes than the file, or the weights are not their sum"
        raise AssertionError(message)
    safetensors.parameters(tensors)
    safetensors.expert_parameters(tensors)


if __name__ == "__main__":
    run(
        "safetensors",
        one_input,
        (b"\0" + header(), b"\1" + header()[8:-64], b"\2" + bytes(range(96)), b"\3" + index(), b"\0", b"\3{}"),
        WORDS,
    )
