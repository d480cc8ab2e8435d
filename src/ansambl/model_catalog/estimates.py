"""Sizes of checkpoints that nobody reported, from the counts of a model's parameters and the bits of a quantization.

GGUF: llama.cpp gives the two big tables (input embedding, output) types of their own and all the rest a mix whose
bits are those that it has in Llama 3.1 8B. Rows that are no multiple of 256 cannot take a K or IQ type and get a
larger one. Safetensors: what is quantized takes its bits and those of its scales, the big tables stay in 16 bits;
in models with linear layers, experts or a vision part quantizers differ in what they touch, from all linear weights
down to the feed-forward ones only, and both ends are told. EXL3: the target bits, six for the output, 16 for the
embedding (exllamav3 doc/convert.md and exllamav3/conversion).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from ansambl.domain.architecture import Architecture, Attention
from ansambl.domain.catalog import Basis, CatalogCheckpoint, CatalogModel, ModelKind
from ansambl.domain.units import Bytes

_DESCRIPTION = Path(__file__).resolve().parent / "data" / "quantizations.toml"
_USUAL_GGUF = (
    "IQ2_M", "Q2_K", "IQ3_XXS", "Q3_K_M", "IQ4_XS", "Q4_0", "Q4_K_S", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "BF16",
)  # fmt: skip
_SMALL_GGUF = ("Q8_0", "F16")
_UNUSUAL_NATIVE = {"mxfp4", "int4", "nvfp4", "fp4"}
_TIED_FAMILIES = {"gemma", "gemma2", "gemma3", "gemma4", "cohere", "cohere2"}
# Llama 3.1 8B: the model whose whole files the table of llama.cpp gives (128256 words of 4096 elements).
_REFERENCE, _REFERENCE_TABLE = 8_030_261_248, 128_256 * 4096
_BLOCK = 256
_TWO_MATRICES = {"nemotron_h"}
# What 144 reported sizes leave: files of plain models follow the mix of llama.cpp; quantizers change it for models with
# experts or several kinds of layers, most where rows fit no K type. The last is for types without a mix.
_PLAIN_SPREAD, _MIXED_SPREAD, _ODD_SPREAD = (0.97, 1.04), (0.90, 1.13), (0.90, 1.20)
# A plain model whose feed-forward rows alone fit no K type: Qwen2.5 72B Q4_K_M was estimated to 0.1 % (47,415,707,136
# bytes at bartowski/Qwen2.5-72B-Instruct-GGUF, public code index file 60882990625).
_ODD_ROWS_SPREAD = (0.95, 1.06)
_EXACT = {"F16", "BF16", "Q8_0"}
_EXACT_SPREAD = (0.985, 1.03)
_WHOLE_BITS = 16.0
# From here on quantizers of plain models have nothing to choose: a byte for each linear weight, its scales beside it.
_BYTE = 8.0


@dataclass(frozen=True, slots=True)
class GgufBits:
    """Bits for each weight of a GGUF quantization; what each is says ``data/quantizations.toml``."""

    bits: float
    embedding: float
    output: float
    down: float
    fallback: float

    @property
    def body(self) -> float:
        """Bits for each weight outside the two big tables."""
        tables = _REFERENCE_TABLE * (self.embedding + self.output)
        return (_REFERENCE * self.bits - tables) / (_REFERENCE - 2 * _REFERENCE_TABLE)


@dataclass(frozen=True, slots=True)
class TensorBits:
    """Bits for each weight that a safetensors quantization touches, its scales included, and where that comes from.

    `partial` says that some quantizers leave attention and linear layers in 16 bits, where a model has several kinds.
    """

    bits: float
    source: str
    partial: bool


@dataclass(frozen=True, slots=True)
class _Parts:
    embedding: int
    output: int
    body: int
    feed_forward: int


@cache
def _tables() -> tuple[Mapping[str, GgufBits], Mapping[str, TensorBits]]:
    table = tomllib.loads(_DESCRIPTION.read_text(encoding="utf-8"))
    return (
        MappingProxyType({name: GgufBits(**row) for name, row in table["gguf"].items()}),
        MappingProxyType({name: TensorBits(**row) for name, row in table["safetensors"].items()}),
    )


def gguf_bits() -> Mapping[str, GgufBits]:
    """What GGUF quantizations weigh, by their names (``"Q4_K_M"``)."""
    return _tables()[0]


def _parts(model: CatalogModel, architecture: Architecture, parameters: int) -> _Parts:
    table = architecture.vocabulary * architecture.hidden
    tied = model.tied if model.tied is not None else model.family in _TIED_FAMILIES
    output = 0 if tied or model.kind is ModelKind.EMBEDDING else table
    width = architecture.expert_feed_forward if architecture.experts else architecture.feed_forward
    matrices = 2 if model.family in _TWO_MATRICES else 3
    whole = architecture.layer_count * max(architecture.experts, 1) * matrices * architecture.hidden * (width or 0)
    body = max(parameters - table - output, 0)
    return _Parts(table, output, body, min(whole, body))


def _mixed(model: CatalogModel, architecture: Architecture) -> bool:
    """Whether quantizers treat parts of the model differently, so that sizes vary."""
    other = any(group.attention is not Attention.FULL for group in architecture.layers)
    return bool(architecture.experts or other or (model.vision and model.text_parameters is None))


def estimated_checkpoint(model: CatalogModel, quantization: str) -> CatalogCheckpoint | None:
    """A GGUF size that nobody reported; None when the quantization or the model's inside is not known.

    Its basis is derived and its span holds every size that the catalog reports for files of that kind.
    """
    bits, architecture = gguf_bits().get(quantization), model.architecture
    parameters = model.text_parameters or model.parameters
    if bits is None or architecture is None or parameters is None:
        return None
    parts = _parts(model, architecture, parameters)
    embedding = bits.embedding if parts.output else max(bits.embedding, bits.output)
    total = parts.body * bits.body + parts.embedding * embedding + parts.output * bits.output
    width = architecture.expert_feed_forward if architecture.experts else architecture.feed_forward
    low, high = _MIXED_SPREAD if _mixed(model, architecture) else _PLAIN_SPREAD
    if architecture.hidden % _BLOCK:
        total += parts.body * (bits.fallback - bits.down)
        low, high = _ODD_SPREAD
    elif width and width % _BLOCK:
        total += parts.feed_forward / (2 if model.family in _TWO_MATRICES else 3) * (bits.fallback - bits.down)
        low, high = _ODD_SPREAD if _mixed(model, architecture) else _ODD_ROWS_SPREAD
    if quantization in _EXACT and (model.text_parameters or not model.vision):
        low, high = _EXACT_SPREAD
    return _derived(
        quantization, "gguf", total / 8, (total / 8 * low, total / 8 * high),
        f"{parameters} parameters of {total / parameters:.2f} bits (llama.cpp tools/quantize/README.md, Llama 3.1 8B; "
        "tables and rows by llama.cpp src/llama-quant.cpp)",
    )  # fmt: skip


def _derived(
    quantization: str, form: str, size: float, span: tuple[float, float], source: str
) -> CatalogCheckpoint:  # fmt: skip
    low, high = Bytes(round(span[0])), Bytes(round(span[1]))
    expected = Bytes(round(size))
    return CatalogCheckpoint(
        quantization, form, expected, Bytes(max(expected - low, high - expected)), Basis.DERIVED, source, (low, high)
    )


def _tensors(model: CatalogModel, architecture: Architecture, name: str, bits: TensorBits) -> CatalogCheckpoint:
    parameters = model.parameters or 0
    parts = _parts(model, architecture, model.text_parameters or parameters)
    # A vision part and heads for prediction stay in 16 bits; the low end assumes that the count has none.
    kept = (parts.embedding + parts.output + (parameters - parts.embedding - parts.output - parts.body)) * _WHOLE_BITS
    least = (kept + parts.body * bits.bits) / 8
    most = least
    partial = bits.partial and _mixed(model, architecture)
    if partial:
        most = (kept + parts.feed_forward * bits.bits + (parts.body - parts.feed_forward) * _WHOLE_BITS) / 8
    hybrid = any(group.attention is Attention.RECURRENT for group in architecture.layers)
    expected = (least + most) / 2 if hybrid else least
    low, high = _PLAIN_SPREAD if bits.bits < _BYTE or _mixed(model, architecture) else _EXACT_SPREAD
    return _derived(
        name, "safetensors", expected, (least * low, max(most, expected) * high),
        f"{parts.body} parameters of {bits.bits} bits ({bits.source}), the rest in 16"
        + ("; the high end leaves all but the feed-forward weights in 16" if partial else ""),
    )  # fmt: skip


def _exl3(model: CatalogModel, architecture: Architecture, bits: float) -> CatalogCheckpoint:
    parameters = model.text_parameters or model.parameters or 0
    parts = _parts(model, architecture, parameters)
    head = parts.output or parts.embedding
    beside = (model.parameters or parameters) - parameters
    total = (parts.body * bits + head * 6 + (parts.embedding + beside) * _WHOLE_BITS) / 8
    return _derived(
        f"{bits:.1f}bpw", "exl3", total, (total * 0.97, total * 1.06),
        f"{parts.body} parameters of {bits} bits, six for the output, 16 for the embedding "
        "(turboderp-org/exllamav3 doc/convert.md)",
    )  # fmt: skip


def estimated_checkpoints(model: CatalogModel) -> tuple[CatalogCheckpoint, ...]:
    """The usual checkpoints that can be made of a model and that no source reports, with their least and most bytes.

    None for a model whose inside is unknown, that is no text model, or whose published weights are four bits wide
    already (MXFP4): others of those are not usual.
    """
    architecture = model.architecture
    if architecture is None or model.parameters is None or model.kind is ModelKind.SPEECH:
        return ()
    if (model.native or "").lower() in _UNUSUAL_NATIVE:
        return ()
    small = model.kind in {ModelKind.EMBEDDING, ModelKind.RERANKER}
    names = _SMALL_GGUF if small else _USUAL_GGUF
    found = [one for name in names if (one := estimated_checkpoint(model, name)) is not None]
    if not small:
        found += [_tensors(model, architecture, name, bits) for name, bits in _tables()[1].items()]
        found += [_exl3(model, architecture, bits) for bits in (3.0, 4.0, 5.0, 6.0)]
    reported = {(one.quantization, one.format) for one in model.checkpoints}
    return tuple(one for one in found if (one.quantization, one.format) not in reported)
