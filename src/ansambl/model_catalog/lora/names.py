"""What PEFT and llama.cpp call the same weight, and in which order each keeps its rows. Pure.

Sources: llama.cpp b11434, the name table of its gguf package (tensor_mapping) and the converters of the single
architectures; of each architecture here only those weights are listed that its converter carries over unchanged, or
with the one change that `turned` describes. Anything else is left to llama.cpp's own converter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_ATTENTION = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
}  # fmt: skip
_DENSE = {"mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
_SHARED = {
    "mlp.shared_expert.gate_proj": "ffn_gate_shexp", "mlp.shared_expert.up_proj": "ffn_up_shexp",
    "mlp.shared_expert.down_proj": "ffn_down_shexp",
}  # fmt: skip
_FUSED = {
    "self_attn.qkv_proj": "attn_qkv", "self_attn.o_proj": "attn_output", "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ArchitectureNames:
    """The weights of one block by PEFT's names. `turned` means that llama.cpp keeps queries and keys turned."""

    block: Mapping[str, str]
    turned: bool = False


ARCHITECTURES: Mapping[str, ArchitectureNames] = {
    "llama": ArchitectureNames({**_ATTENTION, **_DENSE}, turned=True),
    "mistral3": ArchitectureNames({**_ATTENTION, **_DENSE}, turned=True),
    "granite": ArchitectureNames({**_ATTENTION, **_DENSE}, turned=True),
    "smollm3": ArchitectureNames({**_ATTENTION, **_DENSE}, turned=True),
    "qwen2": ArchitectureNames({**_ATTENTION, **_DENSE}),
    "qwen3": ArchitectureNames({**_ATTENTION, **_DENSE}),
    "qwen2moe": ArchitectureNames({**_ATTENTION, **_SHARED}),
    "qwen3moe": ArchitectureNames(_ATTENTION),
    "gemma": ArchitectureNames({**_ATTENTION, **_DENSE}),
    "gemma2": ArchitectureNames({**_ATTENTION, **_DENSE}),
    "gemma3": ArchitectureNames({**_ATTENTION, **_DENSE}),
    "olmo2": ArchitectureNames({**_ATTENTION, **_DENSE}),
    "phi3": ArchitectureNames(_FUSED),
    "gpt-oss": ArchitectureNames(_ATTENTION),
}
"""The architectures, by llama.cpp's name of them, whose adapters can be converted."""

_TOP = {"lm_head": "output"}
_WRAPPERS = re.compile(r"^(?:(?:model|language_model|text_model|transformer)\.)+")
_BLOCK = re.compile(r"layers\.(\d{1,4})\.(.+)")


def plain_module(module: str) -> str:
    """A module's name without the wrappers around a text model: ``layers.0.self_attn.q_proj``.

    What belongs to an image or sound tower keeps its name, so that it is never taken for a layer of the text model.
    """
    return _WRAPPERS.sub("", module)


def block_of(module: str) -> tuple[int, str] | None:
    """The number of the layer that a module stands in, and its name there; None for what stands in no layer."""
    match = _BLOCK.fullmatch(plain_module(module))
    return (int(match[1]), match[2]) if match else None


def gguf_name(architecture: str, module: str) -> str | None:
    """What llama.cpp calls a module, without ``.weight``; None when this is not known for certain."""
    known = ARCHITECTURES.get(architecture)
    if known is None:
        return None
    found = block_of(module)
    if found is None:
        return _TOP.get(plain_module(module))
    number, name = found
    return f"blk.{number}.{known.block[name]}" if name in known.block else None


def turned_heads(architecture: str, tensor: str) -> str | None:
    """Which heads' rows llama.cpp keeps turned in a tensor: ``"query"``, ``"key"`` or None."""
    known = ARCHITECTURES.get(architecture)
    if known is None or not known.turned:
        return None
    return {"attn_q": "query", "attn_k": "key"}.get(tensor.rpartition(".")[2])


def turned_rows(rows: int, heads: int) -> list[int]:
    """For each row as llama.cpp keeps it, the row of the original that stands there.

    Transformers rotates the element i of a head together with i + half a head; llama.cpp's kernel for these
    architectures rotates neighbours. So the two halves of each head are laid into one another like two combs.

    Raises:
        ValueError: the rows are not `heads` heads of an even width.
    """
    if heads <= 0 or rows % (2 * heads):
        message = f"{rows} rows are not {heads} heads of an even width"
        raise ValueError(message)
    half = rows // heads // 2
    return [head * 2 * half + side * half + index for head in range(heads) for index in range(half) for side in (0, 1)]
