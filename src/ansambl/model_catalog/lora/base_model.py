"""The checkpoint that an adapter is for: which weights it has, and how large each is. Only headers are read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ansambl.model_catalog import gguf_model, safetensors
from ansambl.model_catalog.config_json import read_config
from ansambl.model_catalog.failures import named
from ansambl.model_catalog.gguf import GgufHeader
from ansambl.model_catalog.lora.names import block_of, plain_module
from ansambl.model_catalog.numbers import MissingError
from ansambl.model_catalog.printable import printable

_PLAIN = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"}
_GGUF_LAYER = re.compile(r"blk\.(\d{1,4})\.")
_PACKED = (".qweight", ".weight_packed", ".weight")


@dataclass(frozen=True, slots=True)
class Shape:
    """Columns and rows of a weight; None where a quantization hides them. `experts` are stacked in one weight."""

    inputs: int | None
    outputs: int | None
    experts: int = 1


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A base model as an adapter sees it.

    `format` is ``"gguf"`` or ``"safetensors"``. `weights` maps a weight's name (llama.cpp's without ``.weight``, or
    the module without the wrappers around a text model) to its shape; it is empty where only a description is there.
    `heads` are the query and the key heads of each layer, of a GGUF file.
    """

    format: str
    architecture: str | None
    layers: int
    hidden: int | None
    weights: Mapping[str, Shape] = field(repr=False)
    heads: tuple[tuple[int, int], ...] = field(repr=False, default=())

    @property
    def tied(self) -> bool:
        """Whether the table of tokens is the output too."""
        return bool(self.weights) and not {"output", "lm_head"} & set(self.weights)


def read_base(path: Path, form: str) -> BaseModel:
    """Read the headers of the checkpoint at `path`, which is of the format `form`.

    Raises:
        CheckpointError: it cannot be read, or makes no sense.
    """
    with named(path):
        if form == "gguf":
            return from_headers([header for _, header in gguf_model.read_parts(path)])
        return _folder(path)


def from_headers(headers: list[GgufHeader]) -> BaseModel:
    """The same from the headers of a GGUF checkpoint's files.

    Raises:
        MissingError: the first header does not say what a model's must.
        NonsenseError: a number makes no sense.
    """
    found = gguf_model.architecture(headers)
    first = headers[0]
    weights = {
        one.name.removesuffix(".weight"): Shape(
            one.shape[0], one.shape[1], one.shape[2] if len(one.shape) > 2 else 1
        )
        for header in headers for one in header.table
        if one.name.endswith(".weight") and len(one.shape) in {2, 3}
    }  # fmt: skip
    layers = found.layer_count
    queries = _per_layer(first, "attention.head_count", layers)
    keys = _per_layer(first, "attention.head_count_kv", layers) or queries
    return BaseModel(
        "gguf", found.family, layers, found.hidden, weights, tuple(zip(queries, keys, strict=True)) if queries else ()
    )


def _per_layer(header: GgufHeader, key: str, layers: int) -> list[int]:
    name = f"{header.architecture}.{key}"
    value = header.fields.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return [value] * layers
    items = [int(one) for one in header.lists.get(name, ())]
    return items if len(items) == layers else []


def _folder(folder: Path) -> BaseModel:
    config_path = folder / "config.json"
    if not config_path.is_file():
        message = "there is no config.json in it"
        raise MissingError(message)
    config = read_config(config_path)
    index = folder / safetensors.INDEX_NAME
    names = safetensors.read_index(index).files if index.is_file() else tuple(
        sorted(one.name for one in folder.glob("*.safetensors"))
    )  # fmt: skip
    weights: dict[str, Shape] = {}
    for name in names:
        if not (folder / name).is_file():
            continue
        for one in safetensors.read_tensors(folder / name):
            module = _module(one.name)
            if module is None:
                continue
            plain = one.kind in _PLAIN and len(one.shape) == 2 and one.name.endswith(".weight")
            weights[module] = Shape(one.shape[1], one.shape[0]) if plain else weights.get(module, Shape(None, None))
    shape = config.architecture
    return BaseModel("safetensors", printable(shape.family), shape.layer_count, shape.hidden, weights)


def _module(tensor: str) -> str | None:
    for suffix in _PACKED:
        if tensor.endswith(suffix):
            return plain_module(tensor.removesuffix(suffix))
    return None


def layer_of(name: str) -> int | None:
    """The number of the layer that a weight stands in, by either format's name; None for what stands in none."""
    match = _GGUF_LAYER.match(name)
    if match:
        return int(match[1])
    block = block_of(name)
    return block[0] if block else None
