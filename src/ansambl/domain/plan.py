"""Placements: which checkpoint runs where, on which engine, with which settings."""

from __future__ import annotations

from dataclasses import dataclass, field

from ansambl.domain.engine import EngineOptions
from ansambl.domain.model import Checkpoint
from ansambl.domain.units import Bytes


@dataclass(frozen=True, slots=True)
class Placement:
    """One checkpoint with one engine and its settings. `context` is tokens per sequence.

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


@dataclass(frozen=True, slots=True)
class Attachment:
    """A model that somebody else runs: an address that speaks OpenAI. Ansambl starts nothing and stops nothing.

    `address` ends with ``/v1`` or the like; `name` is the model's name there; `key` is sent as a bearer token.
    """

    model: str
    address: str
    name: str
    key: str | None = field(default=None, repr=False)
    parallel: int | None = None
    server: str | None = None
