"""How many parameters a model has by its configuration, where its files cannot be counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

_TIED = {"gemma", "gemma2", "gemma3_text", "gemma3", "gemma4_text", "cohere", "cohere2"}
_BIASED = {"qwen2", "qwen2_moe", "qwen2_vl", "qwen2_5_vl", "qwen2_5_vl_text", "qwen2_vl_text"}
_HEAD_NORMS = {"qwen3", "qwen3_moe", "qwen3_next", "qwen3_vl_text", "gemma3_text", "gemma4_text"}
_FOUR_NORMS = {"gemma2", "gemma3_text", "gemma4_text"}


class _Number(Protocol):
    def __call__(self, *names: str, default: int | None = None) -> int: ...


def count_parameters(
    number: _Number, *, hidden: int, heads: int, experts: int, used: int, kinds: Sequence[str],
    outer: Mapping[str, Any], table: Mapping[str, Any], model_type: str,
) -> tuple[int, int]:  # fmt: skip
    """All parameters of the text model, and those that one token passes through.

    Exact for the plain families (Llama, Mistral, Mixtral, Qwen2, Qwen3 and its experts, Qwen3-Next,
    gpt-oss); for others the usual
    shape of a layer is taken, and small parts (norms, gates) may be missing.
    """
    vocabulary = number("vocab_size", default=0)
    tied = table.get("tie_word_embeddings", outer.get("tie_word_embeddings", model_type in _TIED))
    ffn = number("intermediate_size", "n_inner", "ffn_hidden_size", default=0)
    width = number("moe_intermediate_size", "expert_ffn_hidden_size", default=0) or ffn
    dense_layers = number("first_k_dense_replace", default=0)
    shared = number("shared_expert_intermediate_size", default=number("n_shared_experts", default=0) * width)
    total = active = vocabulary * hidden * (1 if tied else 2) + hidden
    norms = (4 if model_type in _FOUR_NORMS else 2) * hidden
    for index, kind in enumerate(kinds):
        mixer = _linear(number, hidden) if kind in {"linear_attention", "mamba"} else _attention(
            number, hidden, heads, model_type, full=kind == "full_attention", table=table)  # fmt: skip
        if not experts or index < dense_layers:
            total += mixer + norms + 3 * hidden * ffn
            active += mixer + norms + 3 * hidden * ffn
            continue
        extra = 3 * hidden * shared + hidden * experts
        biases = width * 2 + hidden if model_type == "gpt_oss" else 0
        if model_type == "gpt_oss":
            extra += experts
        if shared and table.get("shared_expert_intermediate_size") is not None:
            extra += hidden
        total += mixer + norms + extra + experts * (3 * hidden * width + biases)
        active += mixer + norms + extra + min(used, experts) * (3 * hidden * width + biases)
    return total, active


def _attention(
    number: _Number, hidden: int, heads: int, model_type: str, *, full: bool, table: Mapping[str, Any]
) -> int:  # fmt: skip
    rank = number("kv_lora_rank", default=0)
    if rank:
        nope, rope = number("qk_nope_head_dim", default=0), number("qk_rope_head_dim", default=0)
        value, low = number("v_head_dim", default=0), number("q_lora_rank", default=0)
        query = hidden * low + low * heads * (nope + rope) + low if low else hidden * heads * (nope + rope)
        return query + hidden * (rank + rope) + rank + rank * heads * (nope + value) + heads * value * hidden
    kv_heads = number("num_key_value_heads", "num_kv_heads", default=heads)
    head = number("head_dim", default=hidden // heads if heads else 0)
    if full:
        kv_heads, head = number("num_global_key_value_heads", default=kv_heads), number("global_head_dim", default=head)
    queries, keys = heads * head, kv_heads * head
    total = hidden * (2 * queries + 2 * keys)
    if table.get("attn_output_gate") is True or model_type == "qwen3_next":
        total += hidden * queries
    if model_type in _BIASED or table.get("attention_bias") is True:
        total += queries + 2 * keys
    if model_type == "gpt_oss":
        total += heads + (hidden if table.get("attention_bias", True) else 0)
    return total + (2 * head if model_type in _HEAD_NORMS else 0)


def _linear(number: _Number, hidden: int) -> int:
    keys = number("linear_num_key_heads", default=0) * number("linear_key_head_dim", default=0)
    value_heads, size = number("linear_num_value_heads", default=0), number("linear_value_head_dim", default=0)
    values = value_heads * size
    kernel = number("linear_conv_kernel_dim", default=0)
    projections = hidden * (2 * keys + 3 * values + 2 * value_heads)
    return projections + kernel * (2 * keys + values) + 2 * value_heads + size
