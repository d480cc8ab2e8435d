"""Fuzz the readers of LoRA adapters and the conversion of PEFT ones. The first byte of an input says what it is.

``c`` is a description beside sound weights, ``w`` weights beside a sound description, ``g`` a GGUF file. What is read
is converted and must be read again as the same adapter.
"""

from __future__ import annotations

import json
import struct
import tempfile
from pathlib import Path

import atheris
from harness import check_refusal, run

with atheris.instrument_imports(include=["ansambl.model_catalog.lora", "ansambl.domain"]):
    from ansambl.domain.errors import AnsamblError
    from ansambl.model_catalog.lora.base_model import BaseModel, Shape
    from ansambl.model_catalog.lora.convert import convert_to_gguf
    from ansambl.model_catalog.lora.gguf_adapter import read_gguf
    from ansambl.model_catalog.lora.peft import read_peft
    from ansambl.model_catalog.lora.records import LoraFile
    from ansambl.model_catalog.lora.writer import Planned, write_gguf

KINDS = "cwg"
FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-lora-"))
PREFIX = "base_model.model.model.layers.0.self_attn"
BASE = BaseModel(
    "gguf", "llama", 1, 8, {"blk.0.attn_q": Shape(8, 8), "blk.0.attn_v": Shape(8, 4), "output": Shape(8, 9)}, ((2, 1),)
)
CONFIG = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "use_rslora": False}
WORDS = (
    "rank_pattern", "alpha_pattern", "use_rslora", "alora_invocation_tokens", "q_proj", "v_proj", "init_lora_weights",
    "pissa", "lora_alpha", ".lora_A.weight", ".lora_B.weight", ".lora_embedding_A", "lm_head", "BF16", "1e400", "null",
    "adapter.lora.alpha", "adapter.alora.invocation_tokens", "blk.0.attn_q.weight.lora_a", "token_embd.weight.lora_b",
)  # fmt: skip


def weights() -> bytes:
    """Sound weights of two pairs."""
    table: dict[str, object] = {}
    offset = 0
    for name, outputs in (("q_proj", 8), ("v_proj", 4)):
        for part, shape in (("A", [2, 8]), ("B", [outputs, 2])):
            size = shape[0] * shape[1] * 2
            table[f"{PREFIX}.{name}.lora_{part}.weight"] = {
                "dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size],
            }  # fmt: skip
            offset += size
    content = json.dumps(table).encode()
    return struct.pack("<Q", len(content)) + content + b"\x10" * offset


def gguf() -> bytes:
    """A sound adapter in GGUF."""
    path = FOLDER / "seed.gguf"
    write_gguf(
        path,
        {"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora", "adapter.lora.alpha": 4.0,
         "adapter.alora.invocation_tokens": (1, 2)},
        [Planned("blk.0.attn_q.weight.lora_a", (8, 2), lambda: bytes(64)),
         Planned("blk.0.attn_q.weight.lora_b", (2, 8), lambda: bytes(64))],
    )  # fmt: skip
    content = path.read_bytes()
    path.unlink()
    return content


def read(kind: str, content: bytes) -> LoraFile:
    """The adapter that the fuzzer's bytes are a part of."""
    if kind == "g":
        path = FOLDER / "one.gguf"
        path.write_bytes(content)
        return read_gguf(path)
    described = json.dumps(CONFIG).encode() if kind == "w" else content
    (FOLDER / "adapter_config.json").write_bytes(described)
    (FOLDER / "adapter_model.safetensors").write_bytes(content if kind == "w" else weights())
    return read_peft(FOLDER)


def one_input(data: bytes) -> None:
    """Read the rest of `data` as what the first byte says, and convert it where that can be."""
    kind = KINDS[data[0] % 3] if data else "c"
    out = FOLDER / "out.gguf"
    out.unlink(missing_ok=True)
    try:
        found = read(kind, data[1:])
        if kind == "g":
            return
        convert_to_gguf(found, BASE, out)
    except AnsamblError as refusal:
        check_refusal(str(refusal))
        return
    again = read_gguf(out)
    if (again.rank, len(again.pairs), again.invocation) != (found.rank, len(found.pairs), found.invocation):
        message = "the converted adapter is another one"
        raise AssertionError(message)


if __name__ == "__main__":
    run(
        "lora",
        one_input,
        (
            b"\0" + json.dumps({**CONFIG, "rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 3.5},
                                "alora_invocation_tokens": [3]}).encode(),
            b"\0" + json.dumps({**CONFIG, "use_rslora": True}).encode(), b"\1" + weights(), b"\2" + gguf(),
        ),
        WORDS,
    )  # fmt: skip
