"""From a PEFT adapter to the GGUF file that llama.cpp loads.

llama.cpp multiplies each pair with alpha by the pair's rank, one alpha for the whole file. What PEFT scales otherwise
(rank-stabilized LoRA, an alpha of its own for some modules) is carried into the second matrix.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from ansambl.domain.errors import NotSupportedError
from ansambl.domain.text import text
from ansambl.model_catalog.lora.base_model import BaseModel, layer_of
from ansambl.model_catalog.lora.failures import named, unsupported, unusable
from ansambl.model_catalog.lora.fitting import check_fit
from ansambl.model_catalog.lora.gguf_adapter import ALPHA, INVOCATION
from ansambl.model_catalog.lora.names import turned_heads, turned_rows
from ansambl.model_catalog.lora.peft import split_name
from ansambl.model_catalog.lora.records import GGUF, PEFT, LoraFile, LoraPair
from ansambl.model_catalog.lora.writer import Planned, Value, write_gguf
from ansambl.model_catalog.printable import printable
from ansambl.model_catalog.safetensors import SafetensorsError, header_length, parse_tensors

_Numbers: TypeAlias = npt.NDArray[np.float32]
_EQUAL = 1e-6
_DTYPES = {"F32": "<f4", "F16": "<f2", "F64": "<f8", "BF16": "<u2"}


class _Place(msgspec.Struct):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Job:
    """One pair of matrices on its way: what the base calls its weight, where its numbers are, its further factor."""

    pair: LoraPair
    name: str
    a: str
    b: str
    factor: float
    order: list[int] | None


def convert_to_gguf(adapter: LoraFile, base: BaseModel, target: Path) -> None:
    """Write the PEFT `adapter` as a GGUF file at `target`, which must not exist yet, for the base model `base`.

    The numbers are written in 32 bits, so that nothing is lost.

    Raises:
        UsageError: the adapter was made for another model, or its file is damaged.
        NotSupportedError: it is not known how to convert one for this architecture.
        OSError: the file cannot be written.
    """
    if adapter.format != PEFT or base.format != GGUF:
        message = "only a PEFT adapter for a GGUF model can be converted"
        raise ValueError(message)
    names = check_fit(adapter, base)
    alpha, factors = _scales(adapter)
    with _tensors(adapter) as tensors:
        parts = _by_module(tensors)
        jobs = [
            _job(pair, base, names[pair.module], factors[pair.module], parts[pair.module]) for pair in adapter.pairs
        ]
        planned = []
        for job in jobs:
            pair = job.pair
            planned.append(
                Planned(f"{job.name}.weight.lora_a", (pair.inputs, pair.rank), partial(_content, tensors[job.a]))
            )
            planned.append(
                Planned(f"{job.name}.weight.lora_b", (pair.rank, pair.outputs), partial(_second, tensors[job.b], job))
            )
        write_gguf(target, _fields(adapter, base, alpha), planned)


def _fields(adapter: LoraFile, base: BaseModel, alpha: float) -> dict[str, Value]:
    fields: dict[str, Value] = {
        "general.architecture": base.architecture or "", "general.type": "adapter", "adapter.type": "lora",
        ALPHA: alpha, "general.file_type": 0,
    }  # fmt: skip
    if adapter.base:
        fields["general.base_model.count"] = 1
        fields["general.base_model.0.name"] = adapter.base
    if adapter.invocation:
        fields[INVOCATION] = adapter.invocation
    return fields


def _scales(adapter: LoraFile) -> tuple[float, dict[str, float]]:
    """The alpha of the file, and what the second matrix of each module is multiplied with."""
    wanted = {pair.module: pair.scale * pair.rank for pair in adapter.pairs}
    values = list(wanted.values())
    if not any(values):
        raise unsupported(adapter.path, text("its alpha is 0, so that it changes nothing"))
    # The commonest alpha needs no change of numbers; an alpha of 0 would mean "as it is" to llama.cpp.
    alpha = max(filter(None, values), key=values.count)
    return alpha, {
        module: 1.0 if abs(value - alpha) <= _EQUAL * abs(alpha) else value / alpha for module, value in wanted.items()
    }


def _by_module(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """What each module's two matrices ("a" and "b") are called in the file."""
    found: dict[str, dict[str, str]] = {}
    for one in names:
        module, part, _ = split_name(one)
        if part is not None:
            found.setdefault(module, {})[part] = one
    return found


def _job(pair: LoraPair, base: BaseModel, name: str, factor: float, parts: Mapping[str, str]) -> _Job:
    heads = turned_heads(base.architecture or "", name)
    order = _order(pair, base, name, heads) if heads else None
    return _Job(pair, name, parts["a"], parts["b"], factor, order)


def _order(pair: LoraPair, base: BaseModel, name: str, heads: str) -> list[int]:
    layer = layer_of(name)
    if layer is None or layer >= len(base.heads):
        raise NotSupportedError(
            text("the model's file does not say how many heads its layers have, so {name} cannot be converted; convert "
                 "the LoRA adapter with llama.cpp's convert_lora_to_gguf.py and add the GGUF file", name=name)
        )  # fmt: skip
    queries, keys = base.heads[layer]
    try:
        return turned_rows(pair.outputs, queries if heads == "query" else keys)
    except ValueError as failure:
        raise NotSupportedError(
            text("{name} cannot be converted: {reason}; convert the LoRA adapter with llama.cpp's "
                 "convert_lora_to_gguf.py and add the GGUF file", name=name, reason=str(failure))
        ) from failure  # fmt: skip


def _content(read: Callable[[], _Numbers]) -> bytes:
    return np.ascontiguousarray(read(), dtype="<f4").tobytes()


def _second(read: Callable[[], _Numbers], job: _Job) -> bytes:
    numbers = read()
    if job.order is not None:
        numbers = numbers[job.order]
    if job.factor != 1.0:
        numbers = numbers * np.float32(job.factor)
    return np.ascontiguousarray(numbers, dtype="<f4").tobytes()


@contextmanager
def _tensors(adapter: LoraFile) -> Iterator[dict[str, Callable[[], _Numbers]]]:
    """The numbers of each tensor of the adapter's file, read when they are asked for."""
    path = Path(adapter.weights)
    with named(adapter.path), path.open("rb") as file:
        size = path.stat().st_size
        header = file.read(header_length(file.read(8), size))
        known = {one.name: one for one in parse_tensors(header, size)}
        places = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
        begin = 8 + len(header)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:

            def read(name: str) -> _Numbers:
                place = msgspec.json.decode(places[name], type=_Place)
                start, end = place.data_offsets
                return _decoded(adapter, name, known[name].kind, data[begin + start : begin + end], known[name].shape)

            yield {name: partial(read, name) for name in known}


def _decoded(adapter: LoraFile, name: str, kind: str, content: bytes, shape: tuple[int, ...]) -> _Numbers:
    if kind not in _DTYPES:
        message = f"the tensor '{printable(name)}' is of the type {kind}"
        raise SafetensorsError(message)
    raw = np.frombuffer(content, _DTYPES[kind])
    # bfloat16 is the upper half of a 32-bit float.
    with np.errstate(over="ignore"):
        values = (raw.astype("<u4") << 16).view("<f4") if kind == "BF16" else raw.astype("<f4")
    if not np.isfinite(values).all():
        raise unusable(
            adapter.path, text("{name} holds numbers that are none (NaN or infinite)", name=printable(name, 120))
        )
    found: _Numbers = values.reshape(shape)
    return found
