"""A tiny model and LoRA adapters in both worlds: as Transformers and PEFT keep them, and as llama.cpp does.

The change between the two is written here a second time, element by element from what rotary embeddings mean, so that
a test which compares the two does not compare the product with itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from model_files import Signed, gguf_head

from ansambl.testing import tiny_checkpoint as tiny

Numbers = npt.NDArray[np.float32]
NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip
_TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def read_tensors(path: Path) -> dict[str, Numbers]:
    """All tensors of a safetensors file of 32-bit floats."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    found = {}
    for name, entry in json.loads(content[8 : 8 + length]).items():
        if name != "__metadata__":
            begin, end = (8 + length + one for one in entry["data_offsets"])
            found[name] = np.frombuffer(content[begin:end], "<f4").reshape(entry["shape"])
    return found


def neighbours(weight: Numbers, heads: int) -> Numbers:
    """Rows as llama.cpp keeps them for "llama": Transformers rotates i with i + half, llama.cpp 2i with 2i + 1."""
    size = weight.shape[0] // heads
    turned = np.empty_like(weight)
    for head in range(heads):
        for index in range(size // 2):
            turned[head * size + 2 * index] = weight[head * size + index]
            turned[head * size + 2 * index + 1] = weight[head * size + size // 2 + index]
    return turned


def write_as_gguf(path: Path, tensors: Mapping[str, Numbers], family: str = "llama") -> Path:
    """Write a Llama-shaped model of Transformers' tensors for llama.cpp, in 32 bits."""
    size = tensors["lm_head.weight"].shape[0]
    fields: dict[str, Any] = {
        "general.architecture": family, "general.file_type": 0, f"{family}.block_count": tiny.LAYERS,
        f"{family}.context_length": tiny.CONTEXT, f"{family}.embedding_length": tiny.HIDDEN,
        f"{family}.feed_forward_length": tiny.INNER, f"{family}.attention.head_count": tiny.HEADS,
        f"{family}.attention.head_count_kv": tiny.KV_HEADS, f"{family}.attention.layer_norm_rms_epsilon": 1e-5,
        f"{family}.rope.freq_base": 10000.0, f"{family}.rope.dimension_count": tiny.HEAD_SIZE,
        f"{family}.vocab_size": size,
        "tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", *_words(size)],
        "tokenizer.ggml.scores": [-float(index) for index in range(size)],
        "tokenizer.ggml.token_type": [Signed(kind) for kind in [2, 3, 3] + [6] * 256 + [1] * (size - 259)],
        "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2, "tokenizer.ggml.unknown_token_id": 0,
    }  # fmt: skip
    written = dict(_renamed(tensors, family))
    if family == "qwen2":
        for layer in range(tiny.LAYERS):
            for name in ("attn_q", "attn_k", "attn_v"):
                rows = written[f"blk.{layer}.{name}.weight"].shape[0]
                written[f"blk.{layer}.{name}.bias"] = np.zeros(rows, np.float32)
    head, offsets = gguf_head(fields, {name: ("F32", one.shape[::-1]) for name, one in written.items()})
    with path.open("wb") as file:
        file.write(head)
        for one, offset in zip(written.values(), offsets, strict=False):
            file.seek(len(head) + offset)
            file.write(np.ascontiguousarray(one, "<f4").tobytes())
        file.truncate(len(head) + offsets[-1])
    return path


def _words(size: int) -> list[str]:
    return [f"<0x{byte:02X}>" for byte in range(256)] + [f"▁w{index}" for index in range(size - 259)]


def _renamed(tensors: Mapping[str, Numbers], family: str) -> list[tuple[str, Numbers]]:
    found = []
    for name, one in tensors.items():
        module = name.removesuffix(".weight")
        if module in _TOP:
            found.append((f"{_TOP[module]}.weight", one))
            continue
        _, _, number, inside = module.split(".", 3)
        turned = one
        if family == "llama" and inside.endswith((".q_proj", ".k_proj")):
            turned = neighbours(one, tiny.HEADS if inside.endswith(".q_proj") else tiny.KV_HEADS)
        found.append((f"blk.{number}.{NAMES[inside]}.weight", turned))
    return found


def merged(tensors: Mapping[str, Numbers], adapter: Path) -> dict[str, Numbers]:
    """The model with the PEFT adapter added to its weights, by the formula of PEFT's documentation."""
    config = json.loads((adapter / "adapter_config.json").read_text())
    pairs = read_tensors(adapter / "adapter_model.safetensors")
    found = dict(tensors)
    for name in pairs:
        if not name.endswith(".lora_A.weight"):
            continue
        module = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        a, b = pairs[name], pairs[name.replace("lora_A", "lora_B")]
        last = module.rpartition(".")[2]
        rank = config.get("rank_pattern", {}).get(last, config["r"])
        assert a.shape[0] == rank
        alpha = config.get("alpha_pattern", {}).get(last, config["lora_alpha"])
        scale = alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank
        product = b.astype(np.float64) @ a.astype(np.float64)
        found[f"{module}.weight"] = (tensors[f"{module}.weight"] + scale * product).astype(np.float32)
    return found


def write_peft(
    folder: Path, *, seed: int = 1, rank: int = 8, alpha: float = 16.0, strength: float = 0.2,
    ranks: Mapping[str, int] | None = None, targets: tuple[str, ...] = tuple(tiny._linear_layers()), **config: Any,
) -> Path:  # fmt: skip
    """A PEFT adapter for the tiny checkpoint; `ranks` gives single modules another rank."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    tensors = {}
    for layer in range(tiny.LAYERS):
        for name in targets:
            block, outputs, inputs = tiny._linear_layers()[name]
            own = (ranks or {}).get(name, rank)
            prefix = f"base_model.model.model.layers.{layer}.{block}.{name}"
            for part, shape in (("A", (own, inputs)), ("B", (outputs, own))):
                tensors[f"{prefix}.lora_{part}.weight"] = (random.standard_normal(shape) * strength).astype(np.float32)
    tiny.write_safetensors(folder / "adapter_model.safetensors", tensors)
    (folder / "adapter_config.json").write_text(json.dumps({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "somebody/tiny", "r": rank,
        "lora_alpha": alpha, "target_modules": list(targets), "rank_pattern": dict(ranks or {}), **config,
    }))  # fmt: skip
    return folder
