"""Models of random weights whose layers keep a state for each sequence, all of them or some."""

from __future__ import annotations

from typing import Any

from random_model_parts import VOCABULARY, Model, Sizes, attention, base, blocks, dense, experts


def mamba2(sizes: Sizes) -> Model:
    """No attention at all: a state for each sequence."""
    inner, state, groups, heads, kernel = 2 * sizes.hidden, 64, 1, 16, 4
    model = Model("mamba2")
    model.say(
        block_count=sizes.layers, context_length=32768, embedding_length=sizes.hidden, feed_forward_length=0,
        attention__head_count=0, attention__layer_norm_rms_epsilon=1e-5, ssm__conv_kernel=kernel,
        ssm__inner_size=inner, ssm__state_size=state, ssm__time_step_rank=heads, ssm__group_count=groups,
        vocab_size=VOCABULARY,
    )  # fmt: skip
    model.add("token_embd", sizes.hidden, VOCABULARY)
    model.add("output_norm", sizes.hidden)
    model.add("output", sizes.hidden, VOCABULARY)
    for _, layer in blocks(sizes):
        model.add(f"{layer}.attn_norm", sizes.hidden)
        _mamba2(model, layer, sizes.hidden, inner, state, groups, heads, kernel)
    return model


def _mamba2(
    model: Model, layer: str, hidden: int, inner: int, state: int, groups: int, heads: int, kernel: int
) -> None:
    wide = inner + 2 * groups * state
    model.add(f"{layer}.ssm_in", hidden, inner + wide + heads)
    model.add(f"{layer}.ssm_conv1d", kernel, wide, kind="F32")
    model.bias(f"{layer}.ssm_conv1d", wide)
    model.bias(f"{layer}.ssm_dt", heads)
    model.tensors[f"{layer}.ssm_a"] = ("F32", (1, heads))
    model.tensors[f"{layer}.ssm_d"] = ("F32", (1, heads))
    model.add(f"{layer}.ssm_norm", inner // groups, groups, kind="F32")
    model.add(f"{layer}.ssm_out", inner, hidden)


def falcon_h1(sizes: Sizes) -> Model:
    """Attention and a state side by side in every layer."""
    inner, state, groups, heads, kernel = 2 * sizes.hidden, 64, 1, 16, 4
    model = base(
        "falcon-h1", sizes, attention__key_length=sizes.head, attention__value_length=sizes.head,
        ssm__conv_kernel=kernel, ssm__inner_size=inner, ssm__state_size=state, ssm__time_step_rank=heads,
        ssm__group_count=groups,
    )  # fmt: skip
    for _, layer in blocks(sizes):
        attention(model, layer, sizes)
        _mamba2(model, layer, sizes.hidden, inner, state, groups, heads, kernel)
        # Its norm has no suffix.
        model.tensors[f"{layer}.ffn_norm"] = ("F32", (sizes.hidden,))
        dense(model, layer, sizes.hidden, sizes.feed_forward)
    return model


def _qwen35(family: str, sizes: Sizes, **more: Any) -> Model:
    """Three delta nets and one gated attention in turn."""
    state, groups, values, kernel = 64, 4, 8, 4
    keys, inner = state * groups, state * values
    model = base(
        family, sizes, attention__key_length=sizes.head, attention__value_length=sizes.head,
        rope__dimension_count=16, rope__dimension_sections=[4, 4, 0, 0], ssm__conv_kernel=kernel,
        ssm__inner_size=inner, ssm__state_size=state, ssm__time_step_rank=values, ssm__group_count=groups,
        full_attention_interval=4, **more,
    )  # fmt: skip
    for index, layer in blocks(sizes):
        if index % 4 == 3:
            attention(model, layer, sizes, norms=True)
            # The query's projection makes its gate too.
            model.add(f"{layer}.attn_q", sizes.hidden, 2 * sizes.heads * sizes.head)
        else:
            model.add(f"{layer}.attn_norm", sizes.hidden)
            model.add(f"{layer}.attn_qkv", sizes.hidden, 2 * keys + inner)
            model.add(f"{layer}.attn_gate", sizes.hidden, inner)
            model.add(f"{layer}.ssm_conv1d", kernel, 2 * keys + inner, kind="F32")
            model.bias(f"{layer}.ssm_dt", values)
            model.tensors[f"{layer}.ssm_a"] = ("F32", (values,))
            model.add(f"{layer}.ssm_beta", sizes.hidden, values)
            model.add(f"{layer}.ssm_alpha", sizes.hidden, values)
            model.add(f"{layer}.ssm_norm", state)
            model.add(f"{layer}.ssm_out", inner, sizes.hidden)
        model.add(f"{layer}.post_attention_norm", sizes.hidden)
    return model


def qwen35(sizes: Sizes) -> Model:
    """A dense hybrid of delta nets."""
    model = _qwen35("qwen35", sizes)
    for _, layer in blocks(sizes):
        dense(model, layer, sizes.hidden, sizes.feed_forward)
    return model


def qwen35moe(sizes: Sizes) -> Model:
    """A hybrid of delta nets with experts and a shared one."""
    model = _qwen35(
        "qwen35moe", sizes, expert_count=sizes.experts, expert_used_count=sizes.used,
        expert_feed_forward_length=sizes.expert_width, expert_shared_feed_forward_length=sizes.expert_width,
    )  # fmt: skip
    for _, layer in blocks(sizes):
        experts(model, layer, sizes)
        model.add(f"{layer}.ffn_gate_inp_shexp", sizes.hidden)
        dense(model, layer, sizes.hidden, sizes.expert_width, suffix="_shexp")
    return model


def lfm2(sizes: Sizes) -> Model:
    """Short convolutions in most layers, attention in every third."""
    kernel = 3
    kept = [sizes.kv_heads if index % 3 == 2 else 0 for index in range(sizes.layers)]
    model = base("lfm2", sizes, tied=True, attention__head_count_kv=kept, shortconv__l_cache=kernel)
    del model.tensors["output_norm.weight"]
    model.add("token_embd_norm", sizes.hidden)
    for index, layer in blocks(sizes):
        if kept[index]:
            attention(model, layer, sizes, norms=True)
        else:
            model.add(f"{layer}.attn_norm", sizes.hidden)
            model.add(f"{layer}.shortconv.conv", kernel, sizes.hidden, kind="F32")
            model.add(f"{layer}.shortconv.in_proj", sizes.hidden, 3 * sizes.hidden)
            model.add(f"{layer}.shortconv.out_proj", sizes.hidden, sizes.hidden)
        model.add(f"{layer}.ffn_norm", sizes.hidden)
        dense(model, layer, sizes.hidden, sizes.feed_forward)
    return model
