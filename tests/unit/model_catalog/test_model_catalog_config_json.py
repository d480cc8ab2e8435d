"""Architectures out of config.json, with the numbers of real models."""

import json

import pytest

from ansambl.domain.architecture import Attention, LayerGroup
from ansambl.model_catalog.config_json import parse_config, read_config
from ansambl.model_catalog.numbers import MissingError, NonsenseError


def config(model_type, layers, hidden, heads, kv_heads, ffn, vocabulary, **extra):
    return {
        "model_type": model_type, "num_hidden_layers": layers, "hidden_size": hidden, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "intermediate_size": ffn, "vocab_size": vocabulary,
    } | extra  # fmt: skip


LLAMA = config("llama", 32, 4096, 32, 8, 14336, 128256, max_position_embeddings=131072, torch_dtype="bfloat16")
MOE = {"num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768, "head_dim": 128}
OSS = {"head_dim": 64, "sliding_window": 128, "num_experts_per_tok": 4, "attention_bias": True}
DELTA = {
    "linear_num_key_heads": 16, "linear_key_head_dim": 128, "linear_num_value_heads": 32, "linear_value_head_dim": 128,
    "linear_conv_kernel_dim": 4,
}  # fmt: skip
NEXT = DELTA | {
    "head_dim": 256, "num_experts": 512, "num_experts_per_tok": 10, "moe_intermediate_size": 512,
    "shared_expert_intermediate_size": 512,
}  # fmt: skip


# The counts are those of the published checkpoints.
@pytest.mark.parametrize(
    ("table", "parameters", "elements"),
    [
        (LLAMA, 8030261248, 65536),
        (config("llama", 80, 8192, 64, 8, 28672, 128256), 70553706496, 163840),
        (config("llama", 60, 7168, 56, 8, 20480, 64000), 34388917248, 122880),
        (
            config("qwen2", 80, 8192, 64, 8, 29568, 152064, use_sliding_window=False, sliding_window=131072),
            72706203648,
            163840,
        ),
        (config("qwen2", 28, 3584, 28, 4, 18944, 152064), 7615616512, 28672),
        (config("qwen3", 64, 5120, 64, 8, 25600, 151936, head_dim=128), 32762123264, 131072),
        (config("qwen3_moe", 48, 2048, 32, 4, 6144, 151936, **MOE), 30532122624, 49152),
        (
            config("mixtral", 32, 4096, 32, 8, 14336, 32000, num_local_experts=8, num_experts_per_tok=2),
            46702792704,
            65536,
        ),
        (config("mistral", 32, 4096, 32, 8, 14336, 32768, sliding_window=None), 7248023552, 65536),
        (config("mistral", 40, 5120, 32, 8, 14336, 131072, head_dim=128), 12247782400, 81920),
        (config("gpt_oss", 36, 2880, 64, 8, 2880, 201088, num_local_experts=128, **OSS), 116829156672, 36864),
        (config("gpt_oss", 24, 2880, 64, 8, 2880, 201088, num_local_experts=32, **OSS), 20914757184, 24576),
        (config("qwen3_next", 48, 2048, 16, 2, 5632, 151936, **NEXT), 79674391296, 12288),
    ],
)
def test_published_models(table, parameters, elements):
    found = parse_config(table).architecture
    assert found.parameters == parameters
    assert sum(one.count * (one.key_width + one.value_width) for one in found.layers) == elements


def test_the_query_is_as_wide_as_heads_and_head_size_say():
    qwen = parse_config(config("qwen3", 64, 5120, 64, 8, 25600, 151936, head_dim=128)).architecture
    assert (qwen.hidden, qwen.query_width) == (5120, 8192)
    assert parse_config(LLAMA).architecture.query_width is None
    latent = config("deepseek_v3", 4, 7168, 128, 128, 18432, 129280, kv_lora_rank=512, qk_rope_head_dim=64, head_dim=64)
    assert parse_config(latent).architecture.query_width is None


def test_active_parameters_of_mixtral():
    table = config("mixtral", 32, 4096, 32, 8, 14336, 32000, num_local_experts=8, num_experts_per_tok=2)
    assert round(parse_config(table).architecture.active / 1e9, 1) == 12.9


def test_windows():
    oss = parse_config(config("gpt_oss", 36, 2880, 64, 8, 2880, 201088, num_local_experts=128, **OSS)).architecture
    assert oss.layers == (LayerGroup(18, Attention.SLIDING, 512, 512, 128), LayerGroup(18, Attention.FULL, 512, 512))
    nested = {"model_type": "gemma3", "vision_config": {"hidden_size": 1152}, "text_config": config(
        "gemma3_text", 62, 5376, 32, 16, 21504, 262208, head_dim=128, sliding_window=1024)}  # fmt: skip
    gemma = parse_config(nested)
    assert gemma.vision
    assert gemma.architecture.family == "gemma3"
    assert [(one.count, one.window) for one in gemma.architecture.layers] == [(52, 1024), (10, None)]
    old = parse_config(config("mistral", 32, 4096, 32, 8, 14336, 32000, sliding_window=4096)).architecture
    assert old.layers == (LayerGroup(32, Attention.SLIDING, 1024, 1024, 4096),)
    late = parse_config(config("qwen2", 4, 64, 4, 2, 128, 10, use_sliding_window=True, sliding_window=32,
                               max_window_layers=3)).architecture  # fmt: skip
    assert [(one.count, one.attention) for one in late.layers] == [(3, Attention.FULL), (1, Attention.SLIDING)]


def test_gemma_4_has_other_heads_in_global_layers():
    kinds = ["sliding_attention"] * 5 + ["full_attention"]
    table = config("gemma4_text", 30, 2816, 16, 8, 2112, 262144, head_dim=256, global_head_dim=512,
                   layer_types=kinds * 5, num_global_key_value_heads=2, sliding_window=1024)  # fmt: skip
    assert parse_config({"model_type": "gemma4", "text_config": table}).architecture.layers == (
        LayerGroup(25, Attention.SLIDING, 2048, 2048, 1024), LayerGroup(5, Attention.FULL, 1024, 1024),
    )  # fmt: skip
    shared = parse_config(table | {"num_kv_shared_layers": 6}).architecture.layers
    assert sum(one.count for one in shared) == 30
    assert (shared[-1].count, shared[-1].key_width, shared[-1].state_bytes) == (6, 0, 0)


def test_latent_and_recurrent_layers():
    glm = config("glm4_moe_lite", 47, 2048, 20, 20, 10240, 154880, kv_lora_rank=512, qk_rope_head_dim=64,
                 n_routed_experts=64, num_experts_per_tok=4, moe_intermediate_size=1536)  # fmt: skip
    assert parse_config(glm).architecture.layers == (LayerGroup(47, Attention.LATENT, 576),)
    state = (3 * (2 * 2048 + 4096) + 4096 * 128) * 4
    for table in (
        config("qwen3_next", 8, 2048, 16, 2, 5632, 151936, **NEXT),
        config(
            "newcomer", 8, 2048, 16, 2, 5632, 9, layer_types=(["linear_attention"] * 3 + ["full_attention"]) * 2, **NEXT
        ),
    ):
        assert parse_config(table).architecture.layers == (
            LayerGroup(6, Attention.RECURRENT, state_bytes=state), LayerGroup(2, Attention.FULL, 512, 512),
        )  # fmt: skip
    mamba = config("nemotron_h", 4, 64, 4, 2, 128, 10, head_dim=16, hybrid_override_pattern="M-*M", mamba_num_heads=8,
                   mamba_head_dim=16, ssm_state_size=32, n_groups=2, conv_kernel=4)  # fmt: skip
    assert parse_config(mamba).architecture.layers == (
        LayerGroup(2, Attention.RECURRENT, state_bytes=(3 * (128 + 2 * 2 * 32) + 128 * 32) * 4),
        LayerGroup(1, Attention.RECURRENT), LayerGroup(1, Attention.FULL, 32, 32),
    )  # fmt: skip


def test_quantization_and_encoders():
    table = LLAMA | {"quantization_config": {"quant_method": "awq", "bits": 4}}
    assert parse_config(table).quantization == "awq-4bit"
    assert parse_config(LLAMA | {"quantization_config": {"quant_method": "mxfp4"}}).quantization == "mxfp4"
    assert (parse_config(LLAMA).quantization, parse_config(LLAMA).dtype) == (None, "bfloat16")
    encoder = parse_config(config("xlm-roberta", 24, 1024, 16, 16, 4096, 250002)).architecture
    assert encoder.layers == (LayerGroup(24, Attention.FULL),)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"num_hidden_layers": 10**9}, NonsenseError, "'num_hidden_layers' is 1000000000"),
        ({"num_hidden_layers": 0}, NonsenseError, "'num_hidden_layers' is 0"),
        ({"hidden_size": -5}, NonsenseError, "'hidden_size' is -5"),
        ({"hidden_size": "big"}, NonsenseError, "'hidden_size' is 'big'"),
        ({"num_key_value_heads": True}, NonsenseError, "'num_key_value_heads' is True"),
        ({"vocab_size": 1.5}, NonsenseError, "'vocab_size' is 1.5"),
        ({"layer_types": ["full_attention"]}, NonsenseError, "'layer_types' is not a list of 32 words"),
        ({"hybrid_override_pattern": "M*"}, NonsenseError, "has 2 letters, expected 32"),
        ({"num_hidden_layers": None}, MissingError, "does not say 'num_hidden_layers'"),
        ({"model_type": None}, MissingError, "does not say 'model_type'"),
    ],
)
def test_nonsense_is_named(change, error, words):
    with pytest.raises(error, match=words):
        parse_config(LLAMA | change)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{", b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe"])
def test_what_is_no_configuration_is_refused(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(NonsenseError, match=r"config.json is no JSON"):
        read_config(path)


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.truncate(3 << 20)
    with pytest.raises(NonsenseError, match="larger than any model needs"):
        read_config(path)
    path.write_text(json.dumps(LLAMA))
    assert read_config(path).architecture.context == 131072
