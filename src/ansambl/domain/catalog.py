"""What is known of models before and after their files are read: the catalog's entries and inspections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ansambl.domain.architecture import Architecture
from ansambl.domain.text import Text
from ansambl.domain.units import Bytes


class ModelKind(StrEnum):
    """What a model was made for."""

    BASE = "base"
    INSTRUCT = "instruct"
    REASONING = "reasoning"
    EMBEDDING = "embedding"
    RERANKER = "reranker"
    SPEECH = "speech"


class Basis(StrEnum):
    """Where a figure comes from: somebody reported it, or it follows from other figures."""

    REPORTED = "reported"
    DERIVED = "derived"


class Standing(StrEnum):
    """What a source says of a model's quality in one language."""

    TUNED = "tuned"
    LISTED = "listed"
    WEAK = "weak"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class LanguageQuality:
    """A model's quality in one language: trained for it, among those that it is said to know, said to be weak, unknown.

    `score` is a measured share of right answers in percent, and `note` names the test or quotes the source's words.
    """

    standing: Standing
    note: str = ""
    score: float | None = None


@dataclass(frozen=True, slots=True)
class CatalogCheckpoint:
    """One quantization of a model, as a source reports its size.

    The true size lies within `rounding` bytes of `size`, as the source printed it with so many digits.
    """

    quantization: str
    format: str
    size: Bytes
    rounding: Bytes
    basis: Basis
    source: str


@dataclass(frozen=True, slots=True)
class CatalogModel:
    """A model of the shipped catalog. What no source says is None or absent, never a guess.

    `name` is the short name (the reference without its owner, in small letters); `languages` maps a language code to
    what a source says of the quality in it; `conflicts` are sentences about sources that disagree.
    """

    name: str
    repo: str
    title: str
    family: str
    kind: ModelKind
    licence: str | None
    parameters: int | None
    architecture: Architecture | None
    context: int | None
    tools: bool | None
    vision: bool | None
    languages: Mapping[str, LanguageQuality]
    checkpoints: tuple[CatalogCheckpoint, ...]
    sources: tuple[str, ...]
    notes: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()

    def quality(self, language: str) -> LanguageQuality:
        """What is said of the quality in a language (``"ru"``); unknown when no source says anything."""
        return self.languages.get(language, LanguageQuality(Standing.UNKNOWN))


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """The bytes of one layer's weights: the routed experts, and all the rest."""

    dense: Bytes
    experts: Bytes = Bytes(0)


@dataclass(frozen=True, slots=True)
class Weights:
    """Where the bytes of a checkpoint's weights lie. All are exact sums over the tensors of its files.

    `embedding` is the token embedding, `output` the head that turns states into words (0 when it is the same tensor),
    `other` what belongs to no layer: norms, a vision tower, tables for positions.
    """

    layers: tuple[LayerWeights, ...]
    embedding: Bytes
    output: Bytes
    other: Bytes

    @property
    def experts(self) -> Bytes:
        """The bytes of all routed experts."""
        return Bytes(sum(layer.experts for layer in self.layers))

    @property
    def total(self) -> Bytes:
        """All bytes."""
        return Bytes(sum(layer.dense + layer.experts for layer in self.layers) + self.embedding + self.output
                     + self.other)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the files of a checkpoint say.

    `size` is the bytes on the disk, `tensor_bytes` the exact sum over all tensors (None when a file uses a tensor type
    that is not known, or when weights are missing); `by_type` maps a tensor type to its bytes.
    """

    path: str
    format: str
    files: int
    size: Bytes
    tensors: int
    tensor_bytes: Bytes | None
    by_type: Mapping[str, int]
    weights: Weights | None
    architecture: Architecture | None
    quantization: str | None = None
    context: int | None = None
    title: str | None = None
    licence: str | None = None
    vision: bool | None = None
    notes: tuple[Text, ...] = field(default=())
