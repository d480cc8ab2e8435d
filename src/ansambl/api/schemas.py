"""The documents of the admin API. Scripts depend on their keys: add, never rename."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class InstanceDocument(BaseModel):
    """One instance. Times are seconds since the epoch, sizes bytes."""

    model: str
    engine: str
    state: str
    address: str | None = None
    pid: int | None = None
    attached: bool = False
    adopted: bool = False
    context: int | None = None
    parallel: int | None = None
    running: int = 0
    waiting: int = 0
    restarts: int = 0
    started: float | None = None
    load_seconds: float | None = None
    memory: int | None = None
    message: str | None = None
    server: str | None = None


class RoleDocument(BaseModel):
    """One role. `model` is the one it runs on now."""

    name: str
    description: str
    instruction: str
    model: str
    layout: str
    aliases: list[str]
    origin: str
    sampling: dict[str, Any]
    output_limit: int | None = None


class EnsembleDocument(BaseModel):
    """One ensemble."""

    name: str
    description: str
    pattern: str
    roles: list[str]
    conductor: str
    aliases: list[str]
    origin: str


class EventDocument(BaseModel):
    """Something that happened to an instance."""

    time: float
    model: str
    kind: str
    message: str


class RequestsDocument(BaseModel):
    """Requests since the start."""

    answered: int = 0
    failed: int = 0
    running: int = 0


class StateDocument(BaseModel):
    """What Ansambl is doing now."""

    version: str
    pid: int
    started: float
    address: str
    default_model: str
    instances: list[InstanceDocument]
    roles: list[RoleDocument]
    ensembles: list[EnsembleDocument]
    events: list[EventDocument] = Field(description="The newest last.")
    requests: RequestsDocument


class LogDocument(BaseModel):
    """The newest lines of an engine's log, oldest first."""

    lines: list[str]


class StoppingDocument(BaseModel):
    """The answer to a stop."""

    stopping: bool = True
