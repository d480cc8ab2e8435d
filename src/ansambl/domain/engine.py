"""Engines as records: what one can do, how it is started, when it is ready, and what its words mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ansambl.domain.hardware import Machine
from ansambl.domain.serving import Operation
from ansambl.domain.text import Text
from ansambl.domain.units import Bytes, Seconds, TokensPerSecond

KEY_VARIABLE = "ANSAMBL_ENGINE_KEY"
"""Environment variable that carries an instance's API key; an argument would show in every process list."""

RUN_FOLDER = "{run_folder}"
"""Stands in a launch spec for the folder into which its files are written."""


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
    `dialects` the wire formats that it speaks itself (``"openai_chat"``…), `lora_formats` the formats of LoRA adapters
    that it loads (``"peft"``, ``"gguf"``); it refuses one above `largest_lora_rank` (None: there is no such limit), and
    knows activated ones (aLoRA) where `activated_loras` says so: else it would apply them to the whole prompt.
    `operations` is all that any of its models does beside the chat. `native` are those of `dialects` in which a request
    loses less when it goes out untouched than when it is translated to a chat completion; `salted` those of them in
    which it hears whose a request is. `names_tools` is whether a chat completion request may name the tool to call (an
    object as its ``tool_choice``).
    `verified` is the version that was tried on the real engine, empty where only `documented`, a version with its
    source, was followed.
    """

    name: str
    title: str
    formats: frozenset[str]
    devices: frozenset[str]
    dialects: frozenset[str]
    lora_formats: frozenset[str] = frozenset()
    largest_lora_rank: int | None = None
    activated_loras: bool = False
    operations: frozenset[Operation] = frozenset()
    native: frozenset[str] = frozenset()
    salted: frozenset[str] = frozenset()
    names_tools: bool = True
    verified: str = ""
    documented: str = ""


@dataclass(frozen=True, slots=True)
class Installed:
    """The engine can be used here.

    `path` is the program to start: an executable, or the Python of an environment that holds the engine. `build` says
    what it was built for (``"cpu"``, ``"cuda"``, ``"rocm"``, ``"vulkan"``, ``"metal"``), None when nobody knows.
    `managed` means that Ansambl installed it and may remove it. `warning` is what its owner should know and what does
    not keep it from being used (a version that was never tried, say).
    """

    version: str
    path: str | None = None
    build: str | None = None
    managed: bool = False
    warning: Text | None = None


@dataclass(frozen=True, slots=True)
class NotUsable:
    """The engine cannot be used here, and what would change that."""

    reason: Text
    how_to_fix: Text


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where an adapter looks for its engine.

    `machine` is the hardware, None when nobody looked. `engines_folder` is where Ansambl installs engines, each in a
    folder of its name. `program` is the owner's own choice for this engine. `search_path` is the system's ``PATH``.
    """

    machine: Machine | None = None
    engines_folder: str | None = None
    program: str | None = None
    search_path: str | None = None


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """Everything that is needed to start an instance; starting it needs no knowledge of the engine.

    `environment` is added to a clean copy of ours. `secret_environment` holds the names in it whose values must not
    be shown. `files` maps names to contents that are written, private to us, into a folder of the run before the
    start; `RUN_FOLDER` in an argument, in the environment or as the `working_folder` stands for that folder.
    `working_folder` is where the process starts, None for where we are. `digest` tells whether a running process was
    started from an equal spec (secrets, port and the folder of the run left out).
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
    files: Mapping[str, str] = field(default_factory=dict, repr=False)
    working_folder: str | None = None


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """When an instance is ready: GET `path` answers `status`, within `patience` of its start."""

    path: str = "/health"
    status: int = 200
    patience: Seconds = Seconds(120.0)


@dataclass(frozen=True, slots=True)
class EngineMetrics:
    """What an engine says about itself; None where it does not say.

    `cached_prompt_tokens` are those prompt tokens, of all since its start, that it found in its prefix cache.
    `kv_cache_share` is the part of its KV cache that is in use, 0 to 1. `prefilled_tokens` were really computed (and
    not found in a cache) in `prefill_seconds`, `decoded_tokens` written in `decode_seconds`: all since its start, the
    seconds added up over the requests.
    """

    prompt_tokens: int | None = None
    output_tokens: int | None = None
    requests_running: int | None = None
    requests_waiting: int | None = None
    prefill_rate: TokensPerSecond | None = None
    decode_rate: TokensPerSecond | None = None
    cached_prompt_tokens: int | None = None
    kv_cache_share: float | None = None
    prefilled_tokens: float | None = None
    prefill_seconds: float | None = None
    decoded_tokens: float | None = None
    decode_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class LogFacts:
    """What one line of an engine's log told.

    `memory` is memory at load by part (``"weights"``, ``"kv_cache"``, ``"compute"``, ``"overhead"``), which several
    lines may tell piece by piece; `device` is what the engine calls the device of that memory (``"CPU_Mapped"``,
    ``"CUDA0"``), None where the line does not say. `context` are the tokens that one request may really hold,
    `kv_tokens` the tokens that its whole KV cache holds, `largest_context` what it says would have fitted.
    """

    memory: Mapping[str, Bytes] = field(default_factory=dict)
    context: int | None = None
    kv_tokens: int | None = None
    largest_context: int | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True)
class ExitExplanation:
    """Why an engine ended, in words, and what to do about it.

    Where memory was missing and the engine said so: `missing` is by how much, `largest_context` what would fit.
    """

    reason: ExitReason
    message: Text
    restart_helps: bool = True
    missing: Bytes | None = None
    largest_context: int | None = None


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What the user set for one model beyond the common keys: passed to the engine as it is.

    `name` is the model's name there, None when it is the model's own.
    """

    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    command: str | None = None
    name: str | None = None
