"""What PEFT and llama.cpp call the same weight, and the turn of the rotary rows."""

from __future__ import annotations

import lora_models
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansambl.model_catalog.lora.names import (
    ARCHITECTURES,
    block_of,
    gguf_name,
    plain_module,
    turned_heads,
    turned_rows,
)

HEADS = st.tuples(st.integers(1, 12), st.integers(1, 16))


@pytest.mark.parametrize(
    ("architecture", "module", "name"),
    [
        ("llama", "model.layers.3.self_attn.q_proj", "blk.3.attn_q"),
        ("llama", "model.layers.3.mlp.down_proj", "blk.3.ffn_down"),
        ("llama", "lm_head", "output"),
        ("gemma3", "model.language_model.layers.0.self_attn.o_proj", "blk.0.attn_output"),
        ("gemma3", "language_model.model.layers.0.mlp.up_proj", "blk.0.ffn_up"),
        ("phi3", "model.layers.1.self_attn.qkv_proj", "blk.1.attn_qkv"),
        ("qwen2moe", "model.layers.1.mlp.shared_expert.gate_proj", "blk.1.ffn_gate_shexp"),
        ("qwen3moe", "model.layers.1.mlp.experts.0.gate_proj", None),
        ("llama", "model.layers.0.self_attn.qkv_proj", None),
        ("llama", "model.vision_tower.layers.0.self_attn.q_proj", None),
        ("llama", "model.embed_tokens", None),
        ("mamba", "model.layers.0.mixer.in_proj", None),
    ],
)
def test_a_module_has_the_name_that_llama_cpp_gives_it(architecture, module, name):
    assert gguf_name(architecture, module) == name


def test_no_two_weights_of_a_block_share_a_name():
    for known in ARCHITECTURES.values():
        assert len(set(known.block.values())) == len(known.block)


@given(number=st.integers(0, 9999), architecture=st.sampled_from(sorted(ARCHITECTURES)))
def test_each_layer_keeps_its_number(number, architecture):
    for inside, name in ARCHITECTURES[architecture].block.items():
        module = f"model.layers.{number}.{inside}"
        assert block_of(module) == (number, inside)
        assert gguf_name(architecture, module) == f"blk.{number}.{name}"


@given(st.text())
def test_unwrapping_twice_is_unwrapping_once(module):
    assert plain_module(plain_module(module)) == plain_module(module)


@given(HEADS)
def test_the_turn_moves_rows_inside_their_heads_and_loses_none(shape):
    heads, half = shape
    order = turned_rows(heads * half * 2, heads)
    assert sorted(order) == list(range(heads * half * 2))
    assert all(row // (2 * half) == place // (2 * half) for place, row in enumerate(order))


@given(HEADS)
def test_what_was_rotated_together_becomes_neighbours(shape):
    heads, half = shape
    order = turned_rows(heads * half * 2, heads)
    for place in range(0, len(order), 2):
        assert order[place + 1] - order[place] == half


@given(HEADS)
def test_the_turn_is_that_of_the_models_own_weights(shape):
    heads, half = shape
    weight = np.arange(heads * half * 2 * 3, dtype=np.float32).reshape(-1, 3)
    assert np.array_equal(weight[turned_rows(len(weight), heads)], lora_models.neighbours(weight, heads))


@pytest.mark.parametrize(("rows", "heads"), [(10, 4), (6, 2), (8, 0), (8, -1)])
def test_rows_that_are_no_heads_are_refused(rows, heads):
    with pytest.raises(ValueError, match=r"not .* heads of an even width"):
        turned_rows(rows, heads)


def test_only_queries_and_keys_are_turned():
    assert turned_heads("llama", "blk.0.attn_q") == "query"
    assert turned_heads("llama", "blk.0.attn_k") == "key"
    assert turned_heads("llama", "blk.0.attn_v") is None
    assert turned_heads("qwen2", "blk.0.attn_q") is None
    assert turned_heads("unknown", "blk.0.attn_q") is None
