"""LoRA adapters of random weights as GGUF files, written so that a real llama.cpp loads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from model_files import gguf_head

from ansambl.domain.lora import LoraAdapter
from ansambl.domain.units import Bytes
from ansambl.model_catalog.gguf import read_header

TARGETS = ("attn_q", "attn_v", "attn_output", "ffn_down")


def write_lora(
    path: Path, base: Path, *, seed: int, name: str = "", model: str = "tiny", rank: int = 8, strength: float = 0.12,
    targets: Sequence[str] = TARGETS, invocation: Sequence[int] = (),
) -> LoraAdapter:  # fmt: skip
    """Write an adapter for the GGUF file `base`, strong enough to change what it says; the same seed, the same file.

    With tokens of `invocation` it is an activated one.
    """
    header = read_header(base)
    fields: dict[str, Any] = {
        "general.architecture": header.architecture, "general.type": "adapter", "adapter.type": "lora",
        "adapter.lora.alpha": float(rank),
    }  # fmt: skip
    if invocation:
        fields["adapter.alora.invocation_tokens"] = list(invocation)
    wanted = {f".{one}.weight" for one in targets}
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {}
    for tensor in header.table:
        if any(tensor.name.endswith(one) for one in wanted):
            width, height = tensor.shape
            tensors[f"{tensor.name}.lora_a"] = ("F32", (width, rank))
            tensors[f"{tensor.name}.lora_b"] = ("F32", (rank, height))
    random = np.random.default_rng(seed)
    head, offsets = gguf_head(fields, tensors)
    with path.open("wb") as file:
        file.write(head)
        for (_, shape), offset in zip(tensors.values(), offsets[:-1], strict=True):
            file.seek(len(head) + offset)
            file.write((random.standard_normal(int(np.prod(shape)), np.float32) * np.float32(strength)).tobytes())
        file.truncate(len(head) + offsets[-1])
    return LoraAdapter(
        name=name or path.stem, model=model, files={"gguf": str(path)}, rank=rank, size=Bytes(path.stat().st_size),
        identity=f"{path.stem} {seed}", alpha=float(rank), targets=tuple(targets), invocation=tuple(invocation),
    )  # fmt: skip
