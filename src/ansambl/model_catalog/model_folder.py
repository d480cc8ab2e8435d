"""What kind of checkpoint a folder holds, by its ``config.json``: format, quantization, the model's class. Pure.

Other than `config_json` it asks nothing of the file beyond a JSON object, so that also a model whose inside nobody here
knows can be named and run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansambl.model_catalog.numbers import MAX_CONTEXT, MAX_LAYERS
from ansambl.model_catalog.printable import printable

NESTED = ("text_config", "language_config", "llm_config", "thinker_config")
"""Where the text model's fields lie in the file of a model that is more."""
# The element types of safetensors, as the catalog spells them.
_PLAIN = {"BF16": "BF16", "F16": "F16", "F32": "F32", "F8_E4M3": "FP8", "F8_E5M2": "FP8"}
_METHODS = {
    "awq": "AWQ", "gptq": "GPTQ", "gptq_marlin": "GPTQ", "fp8": "FP8", "fbgemm_fp8": "FP8", "mxfp4": "MXFP4",
    "modelopt_fp4": "NVFP4", "bitsandbytes": "BNB", "compressed-tensors": "COMPRESSED-TENSORS",
}  # fmt: skip
# llm-compressor's names of what it wrote (compressed-tensors, CompressionFormat).
_COMPRESSED = {
    "nvfp4-pack-quantized": "NVFP4", "mxfp4-pack-quantized": "MXFP4", "float-quantized": "FP8", "int-quantized": "W8A8",
    "naive-quantized": "W8A8", "marlin-24": "W4A16",
}  # fmt: skip
_ALGORITHM = re.compile(r"(NVFP4|MXFP4|FP8|W4A16|INT4|INT8)")


@dataclass(frozen=True, slots=True)
class FolderKind:
    """What a folder is. `format` is ``"safetensors"``, ``"exl3"``, ``"exl2"`` or ``"mlx"``.

    `quantization` is spelled like the catalog's (``"AWQ"``, ``"NVFP4"``, ``"4.0bpw"``), `architecture` is the model's
    class (``"LlamaForCausalLM"``), `context` tokens. None where the file does not say.
    """

    format: str
    quantization: str | None
    architecture: str | None
    layers: int | None
    context: int | None


def folder_kind(
    table: Mapping[str, Any], by_type: Mapping[str, int], *, written_for: str | None = None, quantized: object = None
) -> FolderKind:
    """Tell it from a decoded ``config.json``.

    Args:
        table: the file; fields that make no sense are taken for missing.
        by_type: bytes by element type of the weights, which name the quantization where nothing else does.
        written_for: the library that the weights' own header names (``"pt"``, ``"mlx"``).
        quantized: ``hf_quant_config.json`` decoded, which ModelOpt writes instead of a field.
    """
    tables = list(_tables(table))
    form, quantization = format_of(table, quantized)
    if written_for == "mlx":
        form = "mlx"
    most = max(by_type, key=lambda name: by_type[name], default=None)
    return FolderKind(
        form, quantization or (_PLAIN.get(most, most) if most else None), _class_of(tables),
        _number(tables, ("num_hidden_layers", "n_layer", "n_layers", "num_layers"), MAX_LAYERS),
        _number(tables, ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length"), MAX_CONTEXT),
    )  # fmt: skip


def format_of(table: Mapping[str, Any], quantized: object = None) -> tuple[str, str | None]:
    """The format and the quantization that a decoded ``config.json`` names; no quantization where it names none."""
    for one in _tables(table):
        found = one.get("quantization_config")
        method = found.get("quant_method") if isinstance(found, dict) else None
        if isinstance(found, dict) and isinstance(method, str):
            return _of_method(method.lower(), found)
    # mlx-lm writes its settings without naming a method, under both names.
    own = table.get("quantization") or table.get("quantization_config")
    if isinstance(own, dict) and _bits(own) is not None and "group_size" in own:
        mode = own.get("mode")
        named = mode.upper() if isinstance(mode, str) and mode.lower() in {"mxfp4", "nvfp4", "mxfp8"} else None
        return "mlx", named or f"{_bits(own):g}bit"
    inner = quantized.get("quantization") if isinstance(quantized, dict) else None
    return "safetensors", _of_algorithm(inner) if isinstance(inner, dict) else None


def _of_method(method: str, found: Mapping[str, Any]) -> tuple[str, str | None]:
    if method in {"exl3", "exl2"}:
        bits = _bits(found)
        return method, f"{bits:.1f}bpw" if bits is not None else None
    if method.startswith("modelopt"):
        return "safetensors", _of_algorithm(found) or _METHODS.get(method, "FP8")
    if method == "compressed-tensors":
        return "safetensors", _compressed(found)
    return "safetensors", _METHODS.get(method, printable(method, 40).upper())


def _of_algorithm(found: Mapping[str, Any]) -> str | None:
    name = found.get("quant_algo")
    match = _ALGORITHM.search(name.upper()) if isinstance(name, str) else None
    return match[1] if match else None


def _compressed(found: Mapping[str, Any]) -> str:
    form = found.get("format")
    known = _COMPRESSED.get(form) if isinstance(form, str) else None
    groups = found.get("config_groups")
    weights = [
        one["weights"] for one in (groups.values() if isinstance(groups, dict) else ())
        if isinstance(one, dict) and isinstance(one.get("weights"), dict)
    ]  # fmt: skip
    if known is None and form == "pack-quantized" and weights:
        bits = weights[0].get("num_bits")
        known = f"W{bits}A16" if bits in (2, 3, 4, 8) else None
    return known or "COMPRESSED-TENSORS"


def _bits(found: Mapping[str, Any]) -> float | None:
    value = found.get("bits")
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 65 else None


def _tables(table: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The whole model's fields, then those of the text model inside it."""
    for _ in range(3):
        yield table
        inner = next((table[name] for name in NESTED if isinstance(table.get(name), dict)), None)
        if inner is None:
            return
        table = inner


def _class_of(tables: list[Mapping[str, Any]]) -> str | None:
    for table in tables:
        names = table.get("architectures")
        if isinstance(names, list) and names and isinstance(names[0], str) and names[0]:
            return printable(names[0], 100)
    return None


def _number(tables: list[Mapping[str, Any]], names: tuple[str, ...], most: int) -> int | None:
    # The text model's own comes before that of the whole.
    for table in reversed(tables):
        for name in names:
            value = table.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= most:
                return value
    return None
