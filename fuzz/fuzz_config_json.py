"""Fuzz the reader of ``config.json`` and of ``generation_config.json``."""

from __future__ import annotations

import json

import atheris
from harness import check_refusal, run

with atheris.instrument_imports(include=["ansambl.model_catalog", "ansambl.domain"]):
    from ansambl.model_catalog.config_json import decode_config, decode_sampling
    from ansambl.model_catalog.inspection import architecture_to_json
    from ansambl.model_catalog.numbers import MissingError, NonsenseError

BASE = {
    "hidden_size": 64, "num_hidden_layers": 6, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
    "intermediate_size": 128, "vocab_size": 100, "max_position_embeddings": 4096,
}  # fmt: skip
SEEDS: tuple[dict[str, object], ...] = (
    {"model_type": "llama", **BASE},
    {"model_type": "gemma3", "text_config": {"model_type": "gemma3_text", "sliding_window": 32, **BASE},
     "vision_config": {"hidden_size": 8}},
    {"model_type": "gpt_oss", "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 128,
     "layer_types": ["sliding_attention", "full_attention"] * 3, "quantization_config": {"quant_method": "mxfp4"},
     **BASE},
    {"model_type": "deepseek_v3", "kv_lora_rank": 512, "qk_rope_head_dim": 64, "n_routed_experts": 8,
     "first_k_dense_replace": 1, "n_shared_experts": 1, "moe_intermediate_size": 32, **BASE},
    {"model_type": "qwen3_next", "full_attention_interval": 4, "linear_num_value_heads": 4, "linear_num_key_heads": 2,
     "linear_key_head_dim": 8, "linear_value_head_dim": 8, "linear_conv_kernel_dim": 4, **BASE},
    {"model_type": "nemotron_h", "hybrid_override_pattern": "M*-EM*", "ssm_state_size": 16, "mamba_num_heads": 4,
     "mamba_head_dim": 8, "n_groups": 2, "conv_kernel": 4, **BASE},
    {"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 32, "max_window_layers": 3,
     "quantization_config": {"quant_method": "awq", "bits": 4}, **BASE},
    {"temperature": 0.6, "top_p": 0.95, "top_k": 20, "min_p": 0.0, "repetition_penalty": 1.05},
)  # fmt: skip
WORDS = (
    "num_kv_shared_layers", "global_head_dim", "num_global_key_value_heads", "sliding_window_pattern", "mamba_expand",
    "attention_chunk_size", "layers_block_type", "conv_L_cache", "llm_config", "thinker_config", "v_head_dim",
    "q_lora_rank", "tie_word_embeddings", "shared_expert_intermediate_size", "-1", "0", "1e999", "NaN", "null",
    "9223372036854775808", "16777216", "0.5", "[[[[[[[[", "true", "chunked_attention",
)  # fmt: skip


def one_input(data: bytes) -> None:
    """Read `data` as both files."""
    try:
        config = decode_config(data)
    except (NonsenseError, MissingError) as refusal:
        check_refusal(str(refusal))
    else:
        json.dumps(architecture_to_json(config.architecture))
        if not 0 < config.architecture.layer_count <= 4096 or config.architecture.parameters < 0:
            message = "counts that make no sense went through"
            raise AssertionError(message)
    for name, value in decode_sampling(data).items():
        json.dumps({name: value}, allow_nan=False)


if __name__ == "__main__":
    keys = {key for one in SEEDS for key in one}
    run("config_json", one_input, (json.dumps(one).encode() for one in SEEDS), (*WORDS, *sorted(keys)))
