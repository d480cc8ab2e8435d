"""What an ensemble reports while it works, and how it asks models: shared by all patterns."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from ansambl.dialects.openai_chat import ChatRequest, Delta, Usage
from ansambl.domain.text import Text
from ansambl.domain.units import Seconds


class AskModel(Protocol):
    """Sends a request to a model and yields what it says.

    Closing the generator (``aclose``) ends the engine's work. It raises an `AnsamblError` when the engine cannot
    answer or fails in the middle.
    """

    def __call__(self, model: str, request: ChatRequest, /) -> AsyncGenerator[Delta, None]:
        """Ask `model`; `request` asks for a stream with usage."""
        ...


class BranchState(StrEnum):
    """How a role's part in an ensemble ended."""

    ANSWERED = "answered"
    CUT = "cut"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Branch:
    """One call of an ensemble. `usage` is None where the engine did not report it."""

    role: str
    model: str | None
    state: BranchState
    usage: Usage | None = None
    seconds: Seconds = Seconds(0.0)
    message: Text | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Work that is shown as reasoning: what `role` says, as it says it, after a heading with its name."""

    text: str
    role: str


@dataclass(frozen=True, slots=True)
class Content:
    """A piece of the ensemble's answer."""

    text: str


@dataclass(frozen=True, slots=True)
class BranchFailed:
    """A role's part failed, was skipped or was cut at the time limit; the others go on."""

    role: str
    message: Text


@dataclass(frozen=True, slots=True)
class Finished:
    """The end. `usage` is the sum over all calls, `branches` holds the roles' calls and last the conductor's."""

    finish_reason: str
    usage: Usage
    branches: tuple[Branch, ...]


EnsembleEvent = Progress | Content | BranchFailed | Finished
"""What an ensemble reports."""
