"""Engines as records: what one can do, how it is started, when it is ready, and what its words mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ansambl.domain.text import Text
from ansambl.domain.units import Bytes, Seconds, TokensPerSecond

KEY_VARIABLE = "ANSAMBL_ENGINE_KEY"
"""Environment variable that carries an instance's API key; an argument would show in every process list."""


class ExitReason(StrEnum):
    """Why an engine ended, as far as its exit code and last words tell."""

    STOPPED = "stopped"
    OUT_OF_MEMORY = "out_of_memory"
    BAD_FLAG = "bad_flag"
    UNSUPPORTED_MODEL = "unsupported_model"
    CHECKPOINT_DAMAGED = "checkpoint_damaged"
    CHECKPOINT_MISSING = "checkpoint_missing"
    PORT_TAKEN = "port_taken"
    MISSING_DRIVER = "missing_driver"
    MISSING_PROGRAM = "missing_program"
    WRONG_CPU = "wrong_cpu"
    KILLED = "killed"
    CRASHED = "crashed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class EngineTraits:
    """All that a planner may know of an engine.

    `formats` are the checkpoints that it runs (``"gguf"``…), `devices` what it runs them on (``"cpu"``, ``"cuda"``…),
    `dialects` the wire formats that it speaks itself (``"openai_chat"``…).
    """

    name: str
    title: str
    formats: frozenset[str]
    devices: frozenset[str]
    dialects: frozenset[str]


@dataclass(frozen=True, slots=True)
class Installed:
    """The engine can be used here."""

    version: str
    path: str | None = None


@dataclass(frozen=True, slots=True)
class NotUsable:
    """The engine cannot be used here, and what would change that."""

    reason: Text
    how_to_fix: Text


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """Everything that is needed to start an instance; starting it needs no knowledge of the engine.

    `environment` is added to a clean copy of ours. `secret_environment` holds the names in it whose values must not
    be shown. `digest` tells whether a running process was started from an equal spec (secrets and port left out).
    """

    engine: str
    argv: tuple[str, ...]
    port: int
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret_environment: frozenset[str] = frozenset()
    host: str = "127.0.0.1"
    base_path: str = "/v1"
    upstream_name: str | None = None
    digest: str = ""


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """When an instance is ready: GET `path` answers `status`, within `patience` of its start."""

    path: str = "/health"
    status: int = 200
    patience: Seconds = Seconds(120.0)


@dataclass(frozen=True, slots=True)
class EngineMetrics:
    """What an engine says about itself; None where it does not say."""

    prompt_tokens: int | None = None
    output_tokens: int | None = None
    requests_running: int | None = None
    requests_waiting: int | None = None
    prefill_rate: TokensPerSecond | None = None
    decode_rate: TokensPerSecond | None = None


@dataclass(frozen=True, slots=True)
class LogFacts:
    """What one line of an engine's log told: memory at load by part, the context it really gives."""

    memory: Mapping[str, Bytes] = field(default_factory=dict)
    context: int | None = None


@dataclass(frozen=True, slots=True)
class ExitExplanation:
    """Why an engine ended, in words, and what to do about it."""

    reason: ExitReason
    message: Text
    restart_helps: bool = True


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What the user set for one model beyond the common keys: passed to the engine as it is.

    `name` is the model's name there, None when it is the model's own.
    """

    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    command: str | None = None
    name: str | None = None
