"""From ``config.json`` of a model folder to its architecture.

The field names and the defaults of single families are those of the transformers library's configuration classes. The
file comes from strangers: it is bounded, and a number outside a sensible range is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ansambl.domain.architecture import Architecture, Attention, LayerGroup
from ansambl.domain.units import Bytes
from ansambl.model_catalog.model_folder import NESTED, format_of
from ansambl.model_catalog.numbers import (
    MAX_CONTEXT,
    MAX_LAYERS,
    MAX_WIDTH,
    MissingError,
    NonsenseError,
    grouped,
    periodic,
    sensible,
)
from ansambl.model_catalog.parameter_count import count_parameters
from ansambl.model_catalog.printable import printable

MAX_FILE = 2 << 20
SAMPLING_NAME = "generation_config.json"
_MAX_SAMPLING = 64 << 10
_SAMPLING = {"temperature": 100.0, "top_p": 1.0, "top_k": 1e6, "min_p": 1.0, "repetition_penalty": 100.0}
"""What is read of a recommendation, and the largest value that makes sense."""
_STATE_ELEMENT = 4
"""Recurrent states are kept in 32-bit floats (mamba_ssm_dtype, and llama.cpp)."""

_SLIDING_TYPES = {"sliding_attention", "chunked_attention", "local", "local_attention"}
_RECURRENT_TYPES = {"linear_attention", "mamba", "mamba2", "conv", "recurrent", "linear", "moe", "mlp"}
_PERIODS = {"gemma2": 2, "gemma3_text": 6, "gemma3": 6, "gemma3n_text": 5, "gemma4_text": 6, "gpt_oss": 2, "cohere2": 4}
_ALL_SLIDE = {"mistral", "mixtral", "phi3", "starcoder2"}
_INTERVALS = {"qwen3_next": 4, "qwen3_5_text": 4, "qwen3_5_moe_text": 4}
# gemma-3-4b-it's file leaves these out: the class's defaults hold.
_DEFAULTS: dict[str, dict[str, int]] = {
    "gemma3_text": {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 262208},
}
_ENCODERS = {"bert", "xlm-roberta", "roberta", "new", "nomic_bert", "modernbert", "deberta-v2", "mpnet"}


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What a ``config.json`` says. `quantization` is the method with its bits (``"awq-4bit"``), None for none.

    `format` is the one of the weights beside it (``"safetensors"``, ``"exl3"``, ``"mlx"``).
    """

    architecture: Architecture
    dtype: str | None
    quantization: str | None
    vision: bool
    format: str = "safetensors"


class _Fields:
    """The fields of one model's configuration, the text model's when several are nested."""

    def __init__(self, table: Mapping[str, Any], model_type: str) -> None:
        self.table = table
        self.model_type = model_type

    def number(self, *names: str, default: int | None = None, least: int = 0, most: int = MAX_WIDTH) -> int:
        for name in names:
            if self.table.get(name) is not None:
                return sensible(name, self.table[name], least=least, most=most)
        for name in names:
            if name in _DEFAULTS.get(self.model_type, {}):
                return _DEFAULTS[self.model_type][name]
        if default is None:
            message = f"config.json does not say '{names[0]}'"
            raise MissingError(message)
        return default

    def strings(self, name: str, length: int) -> list[str] | None:
        value = self.table.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) != length or not all(isinstance(one, str) for one in value):
            message = f"'{name}' is not a list of {length} words"
            raise NonsenseError(message)
        return value


def read_config(path: Path) -> ModelConfig:
    """Read the file at `path`.

    Raises:
        NonsenseError: it is no JSON object, too large, or a field makes no sense; the message names the field.
        MissingError: it does not say something that is needed.
        OSError: it cannot be read.
    """
    return parse_config(read_table(path))


def read_table(path: Path) -> object:
    """The file at `path`, decoded and no more.

    Raises:
        NonsenseError: it is no JSON, or too large.
        OSError: it cannot be read.
    """
    if path.stat().st_size > MAX_FILE:
        message = f"{path.name} is larger than any model needs ({MAX_FILE} bytes)"
        raise NonsenseError(message)
    return _decoded(path.read_bytes(), path.name)


def decode_config(content: bytes) -> ModelConfig:
    """The same from the file's content.

    Raises:
        NonsenseError: it is no JSON object, or a field makes no sense; the message names the field.
        MissingError: it does not say something that is needed.
    """
    return parse_config(_decoded(content, "config.json"))


def _decoded(content: bytes, name: str) -> object:
    try:
        found: object = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as failure:
        message = f"{name} is no JSON ({printable(failure, 120)})"
        raise NonsenseError(message) from failure
    return found


def read_sampling(path: Path) -> dict[str, float]:
    """What the ``generation_config.json`` at `path` recommends for sampling; empty when it cannot be read.

    Raises:
        OSError: it cannot be opened.
    """
    with path.open("rb") as file:
        return decode_sampling(file.read(_MAX_SAMPLING))


def decode_sampling(content: bytes) -> dict[str, float]:
    """The same from the file's content. It is advice: what makes no sense in it is left out and fails nothing."""
    try:
        table = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return {}
    found: dict[str, float] = {}
    for name, most in _SAMPLING.items() if isinstance(table, dict) else ():
        value = table.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= most:
            found[name] = float(value)
    return found


def parse_config(table: object) -> ModelConfig:
    """The same from a decoded file.

    Raises:
        NonsenseError: it is no object, or a field makes no sense.
        MissingError: it does not say something that is needed.
    """
    if not isinstance(table, dict):
        message = "config.json is no JSON object"
        raise NonsenseError(message)
    text = table
    for _ in range(3):
        inner = next((text[name] for name in NESTED if isinstance(text.get(name), dict)), None)
        if inner is None:
            break
        text = inner
    model_type = text.get("model_type") or table.get("model_type")
    if not isinstance(model_type, str) or not model_type:
        message = "config.json does not say 'model_type'"
        raise MissingError(message)
    model_type = printable(model_type)
    fields = _Fields(text, model_type)
    dtype = text.get("dtype") or text.get("torch_dtype") or table.get("dtype") or table.get("torch_dtype")
    vision = any(isinstance(table.get(name), dict) and table[name] for name in ("vision_config", "visual"))
    return ModelConfig(
        _architecture(fields, table), dtype if isinstance(dtype, str) else None, _quantization(table, text), vision,
        format_of(table)[0],
    )  # fmt: skip


def _quantization(*tables: Mapping[str, Any]) -> str | None:
    for table in tables:
        found = table.get("quantization_config")
        if isinstance(found, dict) and isinstance(found.get("quant_method"), str):
            bits = found.get("bits") or found.get("w_bit")
            method = printable(found["quant_method"], 40)
            return f"{method}-{bits}bit" if isinstance(bits, int) and 0 < bits < 65 else method
    return None


def _architecture(fields: _Fields, outer: Mapping[str, Any]) -> Architecture:
    layers = fields.number("num_hidden_layers", "n_layer", "n_layers", "num_layers", least=1, most=MAX_LAYERS)
    hidden = fields.number("hidden_size", "n_embd", "d_model", "dim", least=1)
    heads = fields.number("num_attention_heads", "n_head", "n_heads", default=0)
    experts = fields.number("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts", default=0)
    used = fields.number(
        "num_experts_per_tok", "num_experts_per_token", "experts_per_token", "top_k_experts", "moe_topk", default=0
    )
    kinds = _kinds(fields, layers)
    groups = grouped(_layer(fields, kind, hidden, heads) for kind in _without_shared(fields, kinds))
    context = fields.number(
        "max_position_embeddings", "n_positions", "max_sequence_length", "seq_length", default=0, most=MAX_CONTEXT
    )
    width = fields.number("moe_intermediate_size", "expert_ffn_hidden_size", default=0)
    ffn = fields.number("intermediate_size", "n_inner", "ffn_hidden_size", default=0)
    total, active = count_parameters(
        fields.number, hidden=hidden, heads=heads, experts=experts, used=used, kinds=kinds, outer=outer,
        table=fields.table, model_type=fields.model_type,
    )  # fmt: skip
    return Architecture(
        family=fields.model_type.removesuffix("_text"), parameters=total, active=active, layers=groups, hidden=hidden,
        vocabulary=fields.number("vocab_size", default=0), heads=heads, context=context or None,
        feed_forward=None if experts and not width else ffn or None, experts=experts, experts_active=used,
        expert_feed_forward=(width or ffn or None) if experts else None,
        query_width=_query_width(fields, heads),
        recurrent_inner=_linear_width(fields, "value"), recurrent_keys=_linear_width(fields, "key"),
        latent_rope=fields.number("qk_rope_head_dim", default=0), query_rank=fields.number("q_lora_rank", default=0),
        latent_head=fields.number("qk_rope_head_dim", default=0) + fields.number("qk_nope_head_dim", default=0),
    )  # fmt: skip


def _linear_width(fields: _Fields, part: str) -> int:
    """Width of the keys or the values of a delta net; 0 where there is none."""
    return fields.number(f"linear_num_{part}_heads", default=0) * fields.number(f"linear_{part}_head_dim", default=0)


def _query_width(fields: _Fields, heads: int) -> int | None:
    # With latent attention `head_dim` means something else in each family.
    if fields.number("kv_lora_rank", default=0):
        return None
    return heads * fields.number("head_dim", default=0) or None


def _kinds(fields: _Fields, layers: int) -> Sequence[str]:
    """The kind of every layer, in the words of ``layer_types``."""
    for name in ("layer_types", "layers_block_type"):
        named = fields.strings(name, layers)
        if named is not None:
            return ["full_attention" if one in {"attention", "full"} else one for one in named]
    pattern = fields.table.get("hybrid_override_pattern")
    if isinstance(pattern, str):
        if len(pattern) != layers:
            message = f"'hybrid_override_pattern' has {len(pattern)} letters, expected {layers}"
            raise NonsenseError(message)
        letters = {"M": "mamba", "*": "full_attention", "E": "moe", "-": "mlp"}
        return [letters.get(one, "full_attention") for one in pattern]
    interval = fields.number(
        "full_attention_interval", default=_INTERVALS.get(fields.model_type, 0), most=MAX_LAYERS
    )  # fmt: skip
    if interval:
        return ["linear_attention" if (index + 1) % interval else "full_attention" for index in range(layers)]
    if not _window(fields):
        return ["full_attention"] * layers
    period = fields.number(
        "sliding_window_pattern", "_sliding_window_pattern", default=_PERIODS.get(fields.model_type, 1), most=MAX_LAYERS
    )
    if fields.table.get("use_sliding_window") is True and fields.model_type not in _PERIODS:
        first = fields.number("max_window_layers", default=layers, most=MAX_LAYERS)
        return ["full_attention" if index < first else "sliding_attention" for index in range(layers)]
    if fields.model_type in _ALL_SLIDE and period == 1:
        period = 0
    return ["sliding_attention" if one else "full_attention" for one in periodic(layers, period)]


def _window(fields: _Fields) -> int:
    if fields.table.get("use_sliding_window") is False:
        return 0
    return fields.number("sliding_window", "attention_chunk_size", default=0, most=MAX_CONTEXT)


def _without_shared(fields: _Fields, kinds: Sequence[str]) -> list[str]:
    """Layers at the end that reuse the keys and values of earlier ones keep none of their own."""
    kept = len(kinds) - fields.number("num_kv_shared_layers", default=0)
    return [kind if index < kept else "mlp" for index, kind in enumerate(kinds)]


def _layer(fields: _Fields, kind: str, hidden: int, heads: int) -> LayerGroup:
    if fields.model_type in _ENCODERS:
        return LayerGroup(1, Attention.FULL)
    if kind in _RECURRENT_TYPES:
        return LayerGroup(1, Attention.RECURRENT, state_bytes=Bytes(_state_elements(fields, kind) * _STATE_ELEMENT))
    rank = fields.number("kv_lora_rank", default=0)
    if rank:
        return LayerGroup(1, Attention.LATENT, rank + fields.number("qk_rope_head_dim", default=0))
    kv_heads = fields.number("num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num", default=heads)
    head = fields.number("head_dim", "kv_channels", "attention_head_dim", default=hidden // heads if heads else 0)
    value = fields.number("v_head_dim", default=head)
    if kind in _SLIDING_TYPES:
        return LayerGroup(1, Attention.SLIDING, kv_heads * head, kv_heads * value, _window(fields) or None)
    kv_heads = fields.number("num_global_key_value_heads", default=kv_heads)
    wide = fields.number("global_head_dim", default=head)
    return LayerGroup(1, Attention.FULL, kv_heads * wide, kv_heads * (wide if wide != head else value))


def _state_elements(fields: _Fields, kind: str) -> int:
    """What one recurrent layer keeps for a sequence: the convolution's last inputs and the state itself."""
    if kind in {"mlp", "moe"}:
        return 0
    if kind == "conv":
        kernel = fields.number("conv_L_cache", default=0)
        return max(kernel - 1, 0) * fields.number("conv_dim", "hidden_size")
    if fields.table.get("linear_num_value_heads") is not None:
        keys = fields.number("linear_num_key_heads") * fields.number("linear_key_head_dim")
        values = fields.number("linear_num_value_heads") * fields.number("linear_value_head_dim")
        kernel = fields.number("linear_conv_kernel_dim", default=4)
        return max(kernel - 1, 0) * (2 * keys + values) + values * fields.number("linear_key_head_dim")
    state = fields.number("ssm_state_size", "mamba_d_state", "state_size", default=0)
    heads = fields.number("mamba_num_heads", "mamba_n_heads", default=0)
    inner = heads * fields.number("mamba_head_dim", "mamba_d_head", default=0)
    inner = inner or fields.number("mamba_expand", default=0) * fields.number("hidden_size")
    groups = fields.number("n_groups", "mamba_n_groups", default=0)
    kernel = fields.number("conv_kernel", "mamba_d_conv", default=0)
    return max(kernel - 1, 0) * (inner + 2 * groups * state) + inner * state
