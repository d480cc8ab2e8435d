"""What the scheduler is told, and what it asks for. Times are those of a monotonic clock, in seconds.

A memory is bytes by device: ``"ram"``, ``"gpu0"``, ``"gpu1"``… A device that is left out counts as 0 bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from ansambl.domain.scheduling import RequestClass
from ansambl.domain.units import Bytes

Memory: TypeAlias = Mapping[str, Bytes]
"""Bytes by device."""

RAM = "ram"
"""The device that every machine has."""


def gpu_device(index: int) -> str:
    """The name of a GPU, counted as its vendor's own tools count."""
    return f"gpu{index}"


@dataclass(frozen=True, slots=True)
class SleepFacts:
    """One level at which an engine can sleep: what it holds then, and how long it takes to wake."""

    level: int
    holds: Memory
    wake_seconds: float


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """What is known of an instance before it runs.

    `needs` is the memory that it must be given to load: predicted, or measured at an earlier load. `places` is how many
    requests it works on at once, None where it takes any number. `load_seconds`, `stop_seconds` and `answer_seconds`
    (one request) are expectations, measured where that was done. A `pinned` instance is never unloaded for another one,
    one that is kept `warm` comes back by itself when there is room. `chats` tells whether it can answer tasks. `ttl` is
    idle seconds after which it rests; None never. `ours` is False for what somebody else runs: it takes no memory here
    and is never stopped.
    """

    model: str
    needs: Memory = field(default_factory=dict)
    places: int | None = 1
    load_seconds: float = 10.0
    stop_seconds: float = 1.0
    answer_seconds: float = 10.0
    pinned: bool = False
    warm: bool = False
    chats: bool = True
    sleeps: tuple[SleepFacts, ...] = ()
    ttl: float | None = None
    ours: bool = True


@dataclass(frozen=True, slots=True)
class Rules:
    """The owner's rules, with their defaults; ``[scheduling]`` and ``[tasks]`` of the configuration.

    `queue_limit` counts requests that wait for one instance, those that may swap and those that may not apart.
    `longest_wait`: a request that is expected to wait longer is refused. `longest_answer` is how long one request may
    keep a place, for the bound. `swap_share` is the part of the time that swaps may take while the resident models are
    busy. `batch_delay`: a batch request counts as if it had come that much later. `background_patience` and
    `task_patience`: when such requests expire. `task_delay`: a task waits that long for the chat that it belongs to.
    `together` are the sets of models that may be resident at the same time; a model in no set may be so with any.
    `task_model` is the one that answers tasks, None for any.
    """

    queue_limit: int = 256
    longest_wait: float = 900.0
    longest_answer: float = 600.0
    swap_share: float = 0.25
    batch_delay: float = 30.0
    background_patience: float = 3600.0
    task_patience: float = 20.0
    task_delay: float = 0.3
    together: tuple[frozenset[str], ...] = ()
    task_model: str | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """A request for `count` places at once on the instance of `model`; 0 places only keep it resident meanwhile.

    `prompt` is what its slot will hold, as bytes whose beginning is that of the prompt. `patience` is seconds until it
    expires, None for what its class has (see `Rules`); only background and task requests expire.
    """

    model: str
    request_class: RequestClass = RequestClass.INTERACTIVE
    prompt: bytes = b""
    count: int = 1
    patience: float | None = None


class Refusal(StrEnum):
    """Why a request gets no place."""

    QUEUE_FULL = "queue_full"
    TOO_LONG = "wait_too_long"
    DOES_NOT_FIT = "does_not_fit"
    LOAD_FAILED = "load_failed"
    EXPIRED = "expired"
    NO_MODEL_FOR_TASK = "no_model_for_task"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Grant:
    """The request of `ticket` has places on `model` now; which slots, none where the engine chooses or it asked for 0.

    `model` is another one than was asked for only for a task. `swaps` counts the instances that were unloaded for it.
    """

    ticket: int
    model: str
    slots: tuple[int, ...]
    swaps: int = 0


@dataclass(frozen=True, slots=True)
class Refuse:
    """The request of `ticket` gets no place; `retry_after` in seconds says when it may try again.

    `lacking` is for DOES_NOT_FIT: by device, what it needs beyond what it could ever be given.
    """

    ticket: int
    refusal: Refusal
    retry_after: float = 5.0
    lacking: Memory = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Load:
    """Start or wake the instance of `model`, for which memory is reserved; then tell `loaded` or `load_failed`."""

    model: str


@dataclass(frozen=True, slots=True)
class Rest:
    """Let the instance of `model`, on which nothing is in flight, rest: sleep at `level`, or stop where it is None.

    Then tell `rested`. It is for `wanted`, the model that needs the room; None when nobody used it for its `ttl`.
    """

    model: str
    level: int | None = None
    wanted: str | None = None


Effect: TypeAlias = Grant | Refuse | Load | Rest


class Residency(StrEnum):
    """Where an instance stands as far as memory and places are concerned."""

    OUT = "out"
    LOADING = "loading"
    IN = "in"
    DRAINING = "draining"
    LEAVING = "leaving"
    ASLEEP = "asleep"


@dataclass(frozen=True, slots=True)
class InstanceView:
    """A snapshot of one instance. `reserved` is what the ledger counts for it, `rests_at` a monotonic time.

    `pinned` tells whether it stays in memory whatever others want, `sleep_levels` at which levels its engine can sleep.
    """

    residency: Residency
    running: int
    waiting: int
    reserved: Memory = field(default_factory=dict)
    measured: bool = False
    wanted: str | None = None
    rests_at: float | None = None
    waiting_by_class: Mapping[RequestClass, int] = field(default_factory=dict)
    pinned: bool = False
    sleep_levels: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceView:
    """A snapshot of one device: what models may use of it, what is reserved, what other programs hold."""

    device: str
    capacity: Bytes
    reserved: Bytes
    foreign: Bytes
