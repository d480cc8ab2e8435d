"""What is known of models before and after their files are read: the catalog's entries and inspections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from ansambl.domain.architecture import Architecture
from ansambl.domain.names import folded
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

    @property
    def answers(self) -> bool:
        """Whether it was trained to answer."""
        return self in {ModelKind.INSTRUCT, ModelKind.REASONING}

    @property
    def writes(self) -> bool:
        """Whether one can ask it something: it answers, or at least continues text."""
        return self.answers or self is ModelKind.BASE


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


class Speciality(StrEnum):
    """What a model's card says that it is for, or good at."""

    CHAT = "chat"
    CODE = "code"
    REASONING = "reasoning"
    RUSSIAN = "russian"
    SEARCH = "search"
    SPEECH = "speech"
    VISION = "vision"


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
    """One quantization of a model, as a source reports its size, or as it follows from the count of parameters.

    The true size lies within `rounding` bytes of `size`: a source prints so many digits. An estimate gives `span`
    instead, the lowest and the highest size, where the expected one is not in the middle.
    """

    quantization: str
    format: str
    size: Bytes
    rounding: Bytes
    basis: Basis
    source: str
    span: tuple[Bytes, Bytes] | None = None

    @property
    def low(self) -> Bytes:
        """The smallest size that the figures allow."""
        return self.span[0] if self.span else Bytes(self.size - self.rounding)

    @property
    def high(self) -> Bytes:
        """The largest size that the figures allow."""
        return self.span[1] if self.span else Bytes(self.size + self.rounding)


@dataclass(frozen=True, slots=True)
class Download:
    """Where the files of a quantization lie: a repository that a source names.

    `file` is the name of the file or a pattern for several (``"*Q4_K_M*.gguf"``), None for the whole repository;
    `quantization` and `size` are None where the source names only the repository.
    """

    repo: str
    format: str
    source: str
    quantization: str | None = None
    file: str | None = None
    size: Bytes | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """A published result of a benchmark: percent of right answers, or the scale that the benchmark's name tells.

    `source` says who published it; `note` says under which settings, where that matters.
    """

    value: float
    source: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class CatalogModel:
    """A model of the shipped catalog. What no source says is None or absent, never a guess.

    `name` is the short name (the reference without its owner, in small letters); `languages` maps a language code to
    what a source says of the quality in it; `conflicts` are sentences about sources that disagree. `released` is the
    month in which the model came out (``"2025-08"``); `scores` maps the name of a benchmark to a published result.
    `native` is the type of the published weights (``"bf16"``, ``"mxfp4"``), `text_parameters` counts those that a GGUF
    file of the text model holds (None: all of them, or unknown), `tied` says that the output uses the embedding.
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
    released: str | None = None
    specialities: tuple[Speciality, ...] = ()
    downloads: tuple[Download, ...] = ()
    scores: Mapping[str, Score] = field(default_factory=lambda: MappingProxyType({}))
    native: str | None = None
    text_parameters: int | None = None
    tied: bool | None = None

    @property
    def for_code_alone(self) -> bool:
        """Whether its card names code and nothing beyond a chat about it."""
        return Speciality.CODE in self.specialities and set(self.specialities) <= {Speciality.CODE, Speciality.CHAT}

    def download_of(self, format: str, quantization: str) -> Download | None:  # noqa: A002 - the record's own word
        """Where the files of this very quantization lie: the first place that a source names, None without one."""
        wanted = folded(quantization)
        return next(
            (one for one in self.downloads
             if one.format == format and one.quantization is not None and folded(one.quantization) == wanted), None,
        )  # fmt: skip

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
    `other` what belongs to no layer: norms, a vision tower, tables for positions. `repack` is not in `total`: what
    llama.cpp on an x86 processor keeps beside the file, because it writes tensors of some types anew.
    """

    layers: tuple[LayerWeights, ...]
    embedding: Bytes
    output: Bytes
    other: Bytes
    repack: Bytes = Bytes(0)

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
