"""Facts about checkpoints: the concrete files of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansambl.domain.units import Bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One concrete set of files of a model, present on this machine.

    `identity` tells two checkpoints apart (a hash, or path with size and modification time); saved state is keyed
    by it. `context` is the longest sequence in tokens that the model was trained for, None when unknown. `path` is a
    GGUF file (the first of several) or a folder. `repo` is where it came from on a hub. `architecture` is what the
    files call it (``"llama"``, ``"LlamaForCausalLM"``), `layers` its layers; None when they do not say. `pooling` is
    how a model that makes one vector (or, with ``"rank"``, one score) of a whole text does it; None for all others.
    """

    reference: str
    path: str
    format: str
    size: Bytes
    identity: str
    quantization: str | None = None
    context: int | None = None
    languages: tuple[str, ...] = ()
    repo: str | None = None
    architecture: str | None = None
    layers: int | None = None
    pooling: str | None = None


@dataclass(frozen=True, slots=True)
class EmbeddedModel:
    """The small real model that comes from the package index, as ``data/embedded.toml`` describes it.

    `cpu_arguments` are arguments for llama.cpp where it computes on the processor. `parallel` are the slots that it
    gets where the RAM allows them; `kv_bytes_per_token` is what each token of a slot's context takes there.
    """

    name: str
    title: str
    package: str
    package_version: str
    member: str
    size: Bytes
    sha256: str
    download_size: Bytes
    licence: str
    source: str
    format: str
    quantization: str
    parameters: int
    context: int
    languages: tuple[str, ...]
    output_limit: int
    parallel: int
    kv_bytes_per_token: int
    sampling: Mapping[str, Any] = field(default_factory=dict)
    cpu_arguments: tuple[str, ...] = ()
