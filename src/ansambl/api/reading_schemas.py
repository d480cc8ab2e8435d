"""The documents of what can be read beside the state. Scripts depend on their keys: add, never rename."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class UsageRowDocument(BaseModel):
    """One day of one model under one name: the role, ensemble or model that was asked for; "" for the model itself.

    Seconds are those of all requests together.
    """

    day: str
    model: str
    name: str
    requests: int
    failed: int
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    queued_seconds: float
    first_token_seconds: float
    first_tokens: int
    answer_seconds: float
    swaps: int
    saved: int
    restored: int


class UsageDocument(BaseModel):
    """Usage, the newest day first."""

    usage: list[UsageRowDocument]


class RequestDocument(BaseModel):
    """One request, without what was said in it. `key` is the id of its API key, `local` the owner.

    `status` is null while it is being answered; 499 stands for a client that left. `queued` is the seconds until it got
    its place, `first` those until the first byte of a stream, `seconds` until its end.
    """

    number: int = Field(description="Counts up from 1 since the start.")
    id: str
    time: float
    method: str
    path: str
    key: str
    name: str
    model: str
    request_class: str
    status: int | None
    code: str | None
    seconds: float | None
    queued: float
    first: float | None
    swaps: int
    prompt_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    streamed: bool


class RequestsListDocument(BaseModel):
    """The newest requests, the newest first."""

    requests: list[RequestDocument]


class CheckDocument(BaseModel):
    """One thing that was checked. `level` is ok, warning or problem; `fix` says what to do."""

    name: str
    level: str
    message: str
    fix: str | None


class DoctorDocument(BaseModel):
    """All checks; healthy where there is no problem among them."""

    healthy: bool
    checks: list[CheckDocument]


class ConfigurationDocument(BaseModel):
    """The settings in effect. `origins` says of each key where it was set."""

    file: str | None
    settings: dict[str, Any]
    origins: dict[str, str]


class InstalledModelDocument(BaseModel):
    """A checkpoint on this machine. `reference` is what a configuration writes for it."""

    reference: str
    path: str
    repo: str | None
    format: str
    quantization: str | None
    size: int
    files: int
    origin: str
    revision: str | None
    licence: str | None


class ModelsDocument(BaseModel):
    """The checkpoints on this machine; sizes are bytes."""

    installed: list[InstalledModelDocument]
    installed_size: int
    free: int = Field(description="Bytes that are free where Ansambl keeps models.")


class EngineDocument(BaseModel):
    """One engine. More keys tell what is installed and what could be."""

    name: str
    title: str
    usable: bool
    version: str | None
    reason: str | None
    how_to_fix: str | None
    formats: list[str]
    models: list[str]


class EnginesDocument(BaseModel):
    """Every engine that Ansambl knows."""

    engines: list[EngineDocument]
