"""Who is compared, what is asked of them, what they answered: plain records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from ansambl.domain.errors import AnsamblError
from ansambl.domain.role import Layout
from ansambl.domain.text import Text
from ansambl.evaluation.grading import State
from ansambl.evaluation.tasks import Message, Task


class ContestantKind(StrEnum):
    """What a name of the running Ansambl means."""

    ROLE = "role"
    ENSEMBLE = "ensemble"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class Contestant:
    """One way to answer. `layout` None leaves the layout as configured; a plain model has none."""

    name: str
    kind: ContestantKind
    layout: Layout | None = None
    shown: str = ""

    @property
    def label(self) -> str:
        """How it is called in tables and answer files."""
        name = self.shown or self.name
        return name if self.layout is None else f"{name}@{self.layout}"


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for every contestant alike.

    `tokens` bounds what one answer may generate: for an ensemble, all its calls together. `temperature` None leaves it
    as the role says. `seed` orders the tasks; it is not sent to the model, or all repeats would be one.
    """

    tokens: int = 512
    repeat: int = 1
    seed: int = 1
    temperature: float | None = None
    parallel: int = 1


@dataclass(frozen=True, slots=True)
class Cost:
    """What answers cost: tokens, and seconds from the request to the whole answer. `cached` None: not reported."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int | None = None
    seconds: float = 0.0

    @property
    def prefilled_tokens(self) -> int:
        """Prompt tokens that the engine had to read."""
        return max(0, self.prompt_tokens - (self.cached_tokens or 0))

    @property
    def computed_tokens(self) -> int:
        """Tokens that the engine worked on: read and generated, without those from its cache."""
        return self.prefilled_tokens + self.completion_tokens

    def __add__(self, other: Cost) -> Cost:
        cached = [one.cached_tokens for one in (self, other) if one.cached_tokens is not None]
        return Cost(
            self.prompt_tokens + other.prompt_tokens, self.completion_tokens + other.completion_tokens,
            sum(cached) if cached else None, self.seconds + other.seconds,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reply:
    """A contestant's answer to one request. `branches` are an ensemble's calls, as it reported them."""

    content: str
    cost: Cost
    finish_reason: str | None = None
    branches: tuple[Mapping[str, Any], ...] = ()


class AskError(AnsamblError):
    """One request failed. It counts as an error, never as a wrong answer."""


class Asker(Protocol):
    """Asks a contestant. The command implements it over HTTP."""

    async def ask(self, contestant: Contestant, messages: Sequence[Message], settings: Settings, /) -> Reply:
        """Ask for one answer to a conversation.

        Raises:
            AskError: there is none.
        """
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one task with one contestant, in one repeat (from 0).

    `model` of an ensemble's branch stands in `branches`. `refusal` is the phrase by which it refused, None when it did
    not. `over` says that more tokens were generated than allowed.
    """

    task: str
    contestant: str
    repeat: int
    kind: str
    language: str
    state: State
    answer: str = ""
    final: str = ""
    reason: Text | str = ""
    refusal: str | None = None
    finish_reason: str | None = None
    cost: Cost = Cost()
    over: bool = False
    branches: tuple[Mapping[str, Any], ...] = ()

    @property
    def place(self) -> tuple[str, str, int]:
        """What tells it from all others of a run."""
        return self.task, self.contestant, self.repeat


@dataclass(frozen=True, slots=True)
class Job:
    """One task for one contestant, in one repeat."""

    task: Task
    contestant: Contestant
    repeat: int

    @property
    def place(self) -> tuple[str, str, int]:
        """The place of its outcome."""
        return self.task.id, self.contestant.label, self.repeat
