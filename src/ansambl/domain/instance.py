"""Running engines as records: states, snapshots for people, handles that survive a restart of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ansambl.domain.engine import EngineMetrics
from ansambl.domain.plan import Placement
from ansambl.domain.text import Text
from ansambl.domain.units import Bytes


class InstanceState(StrEnum):
    """Where an instance stands. For showing only: nobody decides on a snapshot of it."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    ASLEEP = "asleep"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    FAILED = "failed"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process that cannot be mistaken for a later one with the same id: `started` is the kernel's start time."""

    pid: int
    started: float


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a ready instance answers.

    `base_url` ends with ``/v1`` or the like, without a final slash. `name` replaces the request's ``model`` there;
    None leaves it as the client wrote it. `slots` is how many requests it works on at once, None when unknown.
    `state_folder` is where its engine saves the state of a slot, None when it saves none; `state_bytes_per_token` is
    what a state takes there as far as the load of the engine told.
    """

    base_url: str
    key: str | None = field(default=None, repr=False)
    name: str | None = None
    slots: int | None = None
    state_folder: str | None = None
    state_bytes_per_token: float | None = None


@dataclass(frozen=True, slots=True)
class InstanceHandle:
    """What a restarted Ansambl needs to adopt an engine that is still running. Stored; `version` guards its shape.

    `secret` is the engine's API key of that run: a process that answers to it is really ours. `since` is when it was
    started, in seconds since the epoch, for people.
    """

    VERSION = 1

    model: str
    engine: str
    process: ProcessIdentity
    port: int
    secret: str = field(repr=False)
    digest: str
    log_path: str
    since: float | None = None
    version: int = VERSION
    state_folder: str | None = None


@dataclass(frozen=True, slots=True)
class InstanceEvent:
    """Something that happened to an instance. `time` is seconds since the epoch."""

    time: float
    model: str
    kind: str
    message: Text


@dataclass(frozen=True, slots=True)
class InstanceStatus:
    """A snapshot of an instance for people.

    `rests_at` is when it will be unloaded or sleep if nobody uses it until then, in seconds since the epoch; None while
    it is used and where it stays. `loras` are the LoRA adapters that requests to it may name. `metrics` is what its
    engine said of itself when it was last asked, None where it says nothing.
    """

    model: str
    engine: str
    state: InstanceState
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
    memory: Bytes | None = None
    message: Text | None = None
    server: str | None = None
    rests_at: float | None = None
    loras: tuple[str, ...] = ()
    metrics: EngineMetrics | None = None


@dataclass(frozen=True, slots=True)
class LoadMeasurement:
    """What one start of an engine really took, told when it became ready, or after its first answer (`answered`).

    `placement` is what it was started from. `memory` is memory at load by part, as its log told it (see
    `ansambl.domain.engine.LogFacts`), empty where the log tells none; `devices` is the same by device. `context` is
    what one request may hold, `kv_tokens` what its whole KV cache holds, None where the log tells neither. `resident`
    is the RAM of its processes, `gpu_memory` what they hold on all GPUs together; None where nobody can tell.
    `load_seconds` is from the start of the process until it was ready.
    """

    placement: Placement
    memory: Mapping[str, Bytes]
    context: int | None
    kv_tokens: int | None
    resident: Bytes | None
    gpu_memory: Bytes | None
    load_seconds: float
    devices: Mapping[str, Mapping[str, Bytes]] = field(default_factory=dict)
    answered: bool = False
