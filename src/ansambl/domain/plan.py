"""Placements: which checkpoint runs where, on which engine, with which settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansambl.domain.catalog import ModelKind
from ansambl.domain.engine import EngineOptions, Installed
from ansambl.domain.lora import LoraAdapter
from ansambl.domain.model import Checkpoint
from ansambl.domain.units import Bytes


@dataclass(frozen=True, slots=True)
class Placement:
    """One checkpoint with one engine and its settings. `context` is tokens per sequence.

    `settings` are the engine's own by the names that the planner and ``--set`` use, `kv_type` the type of its KV cache.
    `gpus` are the indexes of the GPUs to use as their `vendor` counts them, empty for none. `known_as` is what the
    catalog calls the model, None where nobody knows, `kind` what it is made for. `loras` can be used by requests.
    `mmproj` and `draft` are the paths of a projector for images and of a draft model. `installed` is the engine that
    was found for it.

    `state_folder` is where its engine may keep the state of a slot for a moment, so that it can be copied into another
    one; None when it must not. It belongs to one run of the engine and is no part of what makes two placements equal
    for adoption.
    """

    model: str
    engine: str
    checkpoint: Checkpoint | None
    context: int
    parallel: int
    options: EngineOptions = field(default_factory=EngineOptions)
    threads: int | None = None
    prompt_cache: Bytes = Bytes(0)
    state_folder: str | None = None
    kv_type: str = "auto"
    settings: Mapping[str, Any] = field(default_factory=dict)
    gpus: tuple[int, ...] = ()
    vendor: str = "none"
    kind: ModelKind | None = None
    known_as: str | None = None
    loras: tuple[LoraAdapter, ...] = ()
    mmproj: str | None = None
    draft: str | None = None
    installed: Installed | None = None


@dataclass(frozen=True, slots=True)
class Attachment:
    """A model that somebody else runs: an address that speaks OpenAI. Ansambl starts nothing and stops nothing.

    `address` ends with ``/v1`` or the like; `name` is the model's name there; `key` is sent as a bearer token.
    `engine` is the registered name of what runs there, as far as its owner said.
    """

    model: str
    address: str
    name: str
    key: str | None = field(default=None, repr=False)
    parallel: int | None = None
    server: str | None = None
    engine: str = "openai-compatible"
