"""The documents of models that are found, fetched and removed. Scripts depend on their keys: add, never rename."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

Reference = Annotated[
    str,
    Field(
        min_length=1, max_length=300,
        description="owner/name, owner/name:Q4_K_M, owner/name/file.gguf, a name of the catalog, or `embedded`.",
    ),
]  # fmt: skip
EngineName = Annotated[str, Field(min_length=1, max_length=60)]


class AnnounceRequest(BaseModel, extra="forbid", strict=True):
    """What would be fetched."""

    reference: Reference
    engine: EngineName | None = Field(None, description="Take the files that this engine runs.")


class PullRequest(AnnounceRequest, extra="forbid", strict=True):
    """What shall be fetched."""

    accept_licence: Annotated[str, Field(max_length=200)] = Field(
        "", description="The name in `licence_to_accept`: whoever gives it accepts that licence."
    )


class FindRequest(BaseModel, extra="forbid", strict=True):
    """What to search the hub for; nothing else is sent to it."""

    words: Annotated[str, Field(min_length=1, max_length=200)]
    limit: Annotated[int, Field(ge=1, le=20)] = Field(8, description="Repositories that are looked at.")
    fits: bool = Field(False, description="Read headers of what is found, and tell what this machine can run.")


class OfferDocument(BaseModel):
    """What a pull would be; sizes are bytes.

    `reference` is what a configuration writes for exactly that; `here` is what an earlier try has left of `size`,
    `lacking` what the disk is short of. `licence_to_accept` is the name by which the licence wants to be accepted
    first, null where none is asked for. `gated`: its makers give it to those who accepted the licence on `page`.
    """

    wanted: str
    reference: str
    title: str
    source: Literal["hub", "package index"]
    repo: str | None
    page: str | None
    format: str
    quantization: str | None
    size: int
    here: int
    free: int
    lacking: int
    installed: bool
    licence: str | None
    licence_title: str | None
    licence_to_accept: str | None
    gated: bool
    path: str
    files: int


class PullDocument(BaseModel):
    """One pull. `state` is waiting, running, done, stopped or failed; times are seconds since the epoch.

    `done` of `size` bytes are here, `rate` comes a second, `left` is the seconds that the rest takes. `path` is what an
    engine is given once it is there.
    """

    id: str
    reference: str
    source: str
    state: str
    created: float
    started: float | None
    ended: float | None
    size: int
    done: int
    rate: float | None
    left: float | None
    path: str | None
    error: str | None


class PullsDocument(BaseModel):
    """Pulls since the start, the newest first."""

    pulls: list[PullDocument]


class FoundModelDocument(BaseModel):
    """A repository of the hub. `sizes` are the bytes of each checkpoint by its quantization.

    With `fits` asked for, the rest says how this machine would run it; `reason` says why it was not judged.
    """

    repo: str
    reference: str | None
    format: str | None
    downloads: int | None
    licence: str | None
    gated: bool
    sizes: dict[str, int]
    fits: bool | None
    quantization: str | None
    size: int | None
    engine: str | None
    context: int | None
    speed: dict[str, Any] | None
    reason: str | None


class FoundModelsDocument(BaseModel):
    """What a search found."""

    found: list[FoundModelDocument]


class RemovedModelDocument(BaseModel):
    """A checkpoint that was deleted."""

    reference: str
    path: str
    size: int


class LoraDocument(BaseModel):
    """A LoRA adapter. `problem` says why its model cannot use it now."""

    name: str
    model: str
    rank: int
    size: int
    formats: list[str]
    activated: bool
    base: str | None
    problem: str | None


class LoraListDocument(BaseModel):
    """Every LoRA adapter, by name."""

    loras: list[LoraDocument]
