"""The documents of what can be read beside the state. Scripts depend on their keys: add, never rename."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class UsageSumsDocument(BaseModel):
    """Sums of one model under one name: the role, ensemble or model that was asked for; "" for the model itself.

    Seconds are those of all requests together.
    """

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


class UsageRowDocument(UsageSumsDocument):
    """One day of one model under one name."""

    day: str
    saved: int
    restored: int


class KeySumsDocument(BaseModel):
    """What was asked of one model with one API key, by its id; `local` is the owner, "" no model that answered.

    Waits are counted since the version that began to; before it they are 0.
    """

    key: str
    model: str
    requests: int
    failed: int
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    queued_seconds: float
    first_token_seconds: float
    first_tokens: int
    swaps: int


class KeyUsageRowDocument(KeySumsDocument):
    """One day of one API key and one model."""

    day: str


class UsageDocument(BaseModel):
    """Usage, the newest day first."""

    usage: list[UsageRowDocument]
    by_key: list[KeyUsageRowDocument] = Field([], description="The same requests by the API key that they came with.")


class TrafficRowDocument(UsageSumsDocument):
    """One step of one model under one name. `time` is when the step begins.

    Requests that no instance answered have the model "", and the name that was asked for where there is such.
    """

    time: int


class KeyTrafficRowDocument(KeySumsDocument):
    """One step of one API key and one model. `time` is when the step begins."""

    time: int


class TrafficDocument(BaseModel):
    """What was asked lately, the oldest first; steps in which nothing ended have no rows.

    Kept for a day, also over restarts. A request counts in the minute of its end. Times are seconds since the epoch:
    `start` of the first step, `now`, and `counted_since`, before which nothing is known. `step` is seconds.
    """

    start: int
    step: int
    now: float
    counted_since: float
    traffic: list[TrafficRowDocument]
    by_key: list[KeyTrafficRowDocument]


class RequestDocument(BaseModel):
    """One request, without what was said in it. `key` is the id of its API key, `local` the owner.

    `status` is null while it is being answered; 499 stands for a client that left. `queued` is the seconds until it got
    its place, `first` those until the first byte of a stream that a model said, `seconds` until
    its end.
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
    """A checkpoint on this machine. `reference` is what a configuration writes for it.

    `used_by` are the configured models that run it; `removable` says that Ansambl fetched it and may delete it.
    """

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
    used_by: list[str] = []
    removable: bool = False


class ConfiguredModelDocument(BaseModel):
    """A model of the configuration. `engine` is null where Ansambl chooses it by the checkpoint's format.

    `path`, `size`, `format` and `quantization` are those of its checkpoint; `problem` says why it cannot be used.
    """

    name: str
    aliases: list[str]
    checkpoint: str | None
    engine: str | None
    context: int | None
    parallel: int | None
    pinned: bool
    attached: bool
    path: str | None
    size: int | None
    format: str | None
    quantization: str | None
    problem: str | None


class EmbeddedModelDocument(BaseModel):
    """The model that comes from the package index. `size` is the bytes of its file, `download` those of its package."""

    reference: str
    title: str
    installed: bool
    path: str
    size: int
    download: int
    licence: str
    used_by: list[str]


class ModelsDocument(BaseModel):
    """The checkpoints on this machine, and what the configuration makes of them; sizes are bytes."""

    installed: list[InstalledModelDocument]
    installed_size: int
    free: int = Field(description="Bytes that are free where Ansambl keeps models.")
    folder: str = Field("", description="Where Ansambl keeps models.")
    configured: list[ConfiguredModelDocument] = []
    embedded: EmbeddedModelDocument | None = None


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
