"""Small GGUF files of many architectures with random weights, written so that a real llama.cpp loads them.

Each function of `SHAPES` says the header's fields and the tensors of one architecture, by the names and shapes that
llama.cpp's loaders ask for (source: src/models of llama.cpp b11549). The weights are random numbers near zero; what
such a model says is noise, but its memory is laid out as that of a trained one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from model_files import Signed, gguf_head
from random_hybrids import falcon_h1, lfm2, mamba2, qwen35, qwen35moe
from random_model_parts import VOCABULARY, Model, Sizes, attention, base, blocks, dense, experts


def llama(sizes: Sizes) -> Model:
    """Grouped heads, untied output."""
    model = base("llama", sizes, rope__dimension_count=sizes.head)
    for _, layer in blocks(sizes):
        attention(model, layer, sizes)
        model.add(f"{layer}.ffn_norm", sizes.hidden)
        dense(model, layer, sizes.hidden, sizes.feed_forward)
    return model


def qwen2(sizes: Sizes) -> Model:
    """Biases, and the output tied to the embedding."""
    model = base("qwen2", sizes, tied=True)
    for _, layer in blocks(sizes):
        attention(model, layer, sizes, biases=True)
        model.add(f"{layer}.ffn_norm", sizes.hidden)
        dense(model, layer, sizes.hidden, sizes.feed_forward)
    return model


def qwen3(sizes: Sizes) -> Model:
    """Heads that together are wider than the hidden state."""
    sizes = Sizes(**{**vars(sizes), "heads": 12, "kv_heads": 4, "head": 128})
    model = base("qwen3", sizes, attention__key_length=128, attention__value_length=128)
    for _, layer in blocks(sizes):
        attention(model, layer, sizes, norms=True)
        model.add(f"{layer}.ffn_norm", sizes.hidden)
        dense(model, layer, sizes.hidden, sizes.feed_forward)
    return model


def qwen3moe(sizes: Sizes) -> Model:
    """Experts in every layer."""
    model = base(
        "qwen3moe", sizes, attention__key_length=sizes.head, attention__value_length=sizes.head,
        expert_count=sizes.experts, expert_used_count=sizes.used, expert_feed_forward_length=sizes.expert_width,
    )  # fmt: skip
    for _, layer in blocks(sizes):
        attention(model, layer, sizes, norms=True)
        model.add(f"{layer}.ffn_norm", sizes.hidden)
        experts(model, layer, sizes)
    return model


def gpt_oss(sizes: Sizes) -> Model:
    """Every other layer slides; experts in MXFP4 with biases."""
    model = base(
        "gpt-oss", sizes, attention__key_length=sizes.head, attention__value_length=sizes.head,
        attention__sliding_window=128, expert_count=sizes.experts, expert_used_count=sizes.used,
        expert_feed_forward_length=sizes.expert_width,
    )  # fmt: skip
    for _, layer in blocks(sizes):
        attention(model, layer, sizes, biases=True)
        model.bias(f"{layer}.attn_output", sizes.hidden)
        model.add(f"{layer}.attn_sinks", sizes.heads)
        model.add(f"{layer}.post_attention_norm", sizes.hidden)
        experts(model, layer, sizes, kind="MXFP4")
        model.bias(f"{layer}.ffn_gate_inp", sizes.experts)
        model.bias(f"{layer}.ffn_gate_exps", sizes.expert_width, sizes.experts)
        model.bias(f"{layer}.ffn_up_exps", sizes.expert_width, sizes.experts)
        model.bias(f"{layer}.ffn_down_exps", sizes.hidden, sizes.experts)
    return model


def gemma3(sizes: Sizes) -> Model:
    """Five of six layers slide; tied output."""
    model = base(
        "gemma3", sizes, tied=True, attention__key_length=sizes.head, attention__value_length=sizes.head,
        attention__sliding_window=sizes.window,
    )  # fmt: skip
    for _, layer in blocks(sizes):
        attention(model, layer, sizes, norms=True)
        for norm in ("post_attention_norm", "ffn_norm", "post_ffw_norm"):
            model.add(f"{layer}.{norm}", sizes.hidden)
        dense(model, layer, sizes.hidden, sizes.feed_forward)
    return model


def gemma2(sizes: Sizes) -> Model:
    """Every other layer slides; capped logits."""
    model = base(
        "gemma2", sizes, tied=True, attention__key_length=sizes.head, attention__value_length=sizes.head,
        attention__sliding_window=sizes.window, attn_logit_softcapping=50.0, final_logit_softcapping=30.0,
    )  # fmt: skip
    for _, layer in blocks(sizes):
        attention(model, layer, sizes)
        for norm in ("post_attention_norm", "ffn_norm", "post_ffw_norm"):
            model.add(f"{layer}.{norm}", sizes.hidden)
        dense(model, layer, sizes.hidden, sizes.feed_forward)
    return model


def phi3(sizes: Sizes) -> Model:
    """Fused projections."""
    model = base("phi3", sizes, rope__dimension_count=sizes.head, rope__scaling__original_context_length=4096)
    query, keys = sizes.heads * sizes.head, sizes.kv_heads * sizes.head
    for _, layer in blocks(sizes):
        model.add(f"{layer}.attn_norm", sizes.hidden)
        model.add(f"{layer}.attn_qkv", sizes.hidden, query + 2 * keys)
        model.add(f"{layer}.attn_output", query, sizes.hidden)
        model.add(f"{layer}.ffn_norm", sizes.hidden)
        model.add(f"{layer}.ffn_up", sizes.hidden, 2 * sizes.feed_forward)
        model.add(f"{layer}.ffn_down", sizes.feed_forward, sizes.hidden)
    return model


def deepseek2(sizes: Sizes) -> Model:
    """Latent attention, one dense layer before the experts, and a shared expert."""
    query_rank, rank, rope, plain, value = 384, 256, 32, 64, 64
    model = base(
        "deepseek2", Sizes(**{**vars(sizes), "kv_heads": 1}), attention__q_lora_rank=query_rank,
        attention__kv_lora_rank=rank, attention__key_length=rank + rope, attention__value_length=rank,
        attention__key_length_mla=plain + rope, attention__value_length_mla=value, rope__dimension_count=rope,
        leading_dense_block_count=1, expert_count=sizes.experts, expert_used_count=sizes.used,
        expert_feed_forward_length=sizes.expert_width, expert_shared_count=1, expert_weights_scale=1.0,
        expert_gating_func=2, expert_weights_norm=True,
    )  # fmt: skip
    for index, layer in blocks(sizes):
        model.add(f"{layer}.attn_norm", sizes.hidden)
        model.add(f"{layer}.attn_q_a", sizes.hidden, query_rank)
        model.add(f"{layer}.attn_q_a_norm", query_rank)
        model.add(f"{layer}.attn_q_b", query_rank, sizes.heads * (plain + rope))
        model.add(f"{layer}.attn_kv_a_mqa", sizes.hidden, rank + rope)
        model.add(f"{layer}.attn_kv_a_norm", rank)
        model.add(f"{layer}.attn_k_b", plain, rank, sizes.heads)
        model.add(f"{layer}.attn_v_b", rank, value, sizes.heads)
        model.add(f"{layer}.attn_output", sizes.heads * value, sizes.hidden)
        model.add(f"{layer}.ffn_norm", sizes.hidden)
        if not index:
            dense(model, layer, sizes.hidden, sizes.feed_forward)
            continue
        experts(model, layer, sizes)
        dense(model, layer, sizes.hidden, sizes.expert_width, suffix="_shexp")
    return model


SHAPES: dict[str, Callable[[Sizes], Model]] = {
    "llama": llama, "qwen2": qwen2, "qwen3": qwen3, "qwen3moe": qwen3moe, "gpt-oss": gpt_oss, "gemma2": gemma2,
    "gemma3": gemma3, "phi3": phi3, "deepseek2": deepseek2, "mamba2": mamba2, "falcon-h1": falcon_h1, "lfm2": lfm2,
    "qwen35": qwen35, "qwen35moe": qwen35moe,
}  # fmt: skip
"""The architectures by their name in a header."""


def _tokenizer() -> dict[str, Any]:
    """A vocabulary of bytes and made-up words, the least that llama.cpp's tokenizer starts with."""
    special, letters = ["<unk>", "<s>", "</s>"], [f"<0x{byte:02X}>" for byte in range(256)]
    words = [f"▁w{index}" for index in range(VOCABULARY - len(special) - len(letters))]
    tokens = special + letters + words
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [0.0 if index < len(special) else -float(index) for index in range(len(tokens))],
        "tokenizer.ggml.token_type": [Signed(kind) for kind in [2, 3, 3] + [6] * len(letters) + [1] * len(words)],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.add_bos_token": True,
    }


def _content(kind: str, count: int, random: np.random.Generator) -> bytes:
    """`count` random weights near zero as the file holds them."""
    if kind == "MXFP4":
        blocks = np.empty((count // 32, 17), np.uint8)
        # The first byte is the block's exponent: 2^(121 - 127).
        blocks[:, 0] = 121
        blocks[:, 1:] = random.integers(0, 256, (count // 32, 16), np.uint8)
        return blocks.tobytes()
    values = random.standard_normal(count, np.float32) * np.float32(0.02)
    return values.astype({"F16": np.float16, "F32": np.float32}[kind]).tobytes()


def write(path: Path, family: str, sizes: Sizes | None = None, seed: int = 1) -> None:
    """Write a model of `family`; the same seed gives the same file."""
    model = SHAPES[family](sizes or Sizes())
    fields = {"general.architecture": model.family, "general.file_type": 1, **model.fields, **_tokenizer()}
    random = np.random.default_rng(seed)
    head, offsets = gguf_head(fields, model.tensors)
    with path.open("wb") as file:
        file.write(head)
        for (name, (kind, shape)), offset in zip(model.tensors.items(), offsets[:-1], strict=True):
            file.seek(len(head) + offset)
            # Weights of norms and steps stay positive, as in a trained model.
            values = _content(kind, int(np.prod(shape)), random)
            if name.endswith("norm.weight"):
                values = np.ones(int(np.prod(shape)), np.float32).tobytes()
            file.write(values)
        file.truncate(len(head) + offsets[-1])
