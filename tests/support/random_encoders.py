"""Small GGUF files of encoders with random weights: models that make vectors or scores of whole texts.

The tensors are those that llama.cpp's loader asks for (source: src/models/bert.cpp of llama.cpp b11434).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from model_files import Signed, gguf_head
from random_model_parts import Model

HIDDEN, HEADS, LAYERS, FEED_FORWARD, CONTEXT = 64, 4, 2, 128, 512
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_MEAN, _RANK = 1, 4


def _tokens() -> list[str]:
    letters = [chr(code) for code in range(33, 127)]
    # A word begins with a mark in such a file, and its other letters stand without one.
    return [*_SPECIAL, *(f"▁{one}" for one in letters), *letters]


def _bert(*, scores: bool) -> Model:
    model = Model("bert")
    model.say(
        block_count=LAYERS, context_length=CONTEXT, embedding_length=HIDDEN, feed_forward_length=FEED_FORWARD,
        attention__head_count=HEADS, attention__layer_norm_epsilon=1e-12, attention__causal=False,
        pooling_type=_RANK if scores else _MEAN,
    )  # fmt: skip
    model.add("token_embd", HIDDEN, len(_tokens()))
    model.add("token_types", HIDDEN, 2, kind="F32")
    model.add("position_embd", HIDDEN, CONTEXT, kind="F32")
    _norm(model, "token_embd_norm")
    for index in range(LAYERS):
        layer = f"blk.{index}"
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            model.add(f"{layer}.{name}", HIDDEN, HIDDEN)
            model.bias(f"{layer}.{name}", HIDDEN)
        _norm(model, f"{layer}.attn_output_norm")
        model.add(f"{layer}.ffn_up", HIDDEN, FEED_FORWARD)
        model.bias(f"{layer}.ffn_up", FEED_FORWARD)
        model.add(f"{layer}.ffn_down", FEED_FORWARD, HIDDEN)
        model.bias(f"{layer}.ffn_down", HIDDEN)
        _norm(model, f"{layer}.layer_output_norm")
    if scores:
        model.add("cls", HIDDEN, HIDDEN)
        model.bias("cls", HIDDEN)
        model.add("cls.output", HIDDEN, 1)
        model.bias("cls.output", 1)
    return model


def _norm(model: Model, name: str) -> None:
    model.add(name, HIDDEN)
    model.bias(name, HIDDEN)


def write_encoder(path: Path, *, scores: bool = False, seed: int = 1) -> None:
    """Write an encoder that makes vectors of `HIDDEN` numbers, or `scores` of two texts; a seed gives one file."""
    model, tokens = _bert(scores=scores), _tokens()
    fields: dict[str, Any] = {
        "general.architecture": "bert", "general.file_type": 1, **model.fields, "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type_count": 2,
        "tokenizer.ggml.token_type": [Signed(3 if one in _SPECIAL else 1) for one in tokens],
        "tokenizer.ggml.padding_token_id": 0, "tokenizer.ggml.unknown_token_id": 1, "tokenizer.ggml.cls_token_id": 2,
        "tokenizer.ggml.bos_token_id": 2, "tokenizer.ggml.seperator_token_id": 3, "tokenizer.ggml.eos_token_id": 3,
        "tokenizer.ggml.mask_token_id": 4,
    }  # fmt: skip
    random = np.random.default_rng(seed)
    head, offsets = gguf_head(fields, model.tensors)
    with path.open("wb") as file:
        file.write(head)
        for (name, (kind, shape)), offset in zip(model.tensors.items(), offsets[:-1], strict=True):
            count = int(np.prod(shape))
            values = random.standard_normal(count, np.float32) * np.float32(0.3)
            if name.endswith("norm.weight"):
                values = np.ones(count, np.float32)
            file.seek(len(head) + offset)
            file.write(values.astype({"F16": np.float16, "F32": np.float32}[kind]).tobytes())
        file.truncate(len(head) + offsets[-1])
