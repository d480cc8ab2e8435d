"""What an ensemble reports while it works, and how it asks models: shared by all patterns."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
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


class Sharing(StrEnum):
    """How requests to one model that were asked together came to share the beginning of their prompts.

    ``CLONED``: it was prefilled once and its state copied into the other slots. ``CACHED``: the engine's own prefix
    cache holds it. ``IN_TURN``: they went through one slot one after another, each on what the one before left.
    ``NONE``: there was nothing to share.
    """

    CLONED = "cloned"
    CACHED = "cached"
    IN_TURN = "in-turn"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Together:
    """Requests that were asked together.

    `streams` are the answers in the requests' order, each as from `AskModel`; they may be read at the same time, and
    those that wait for their turn simply yield nothing yet. `usage` is what prefilling the shared beginning cost, None
    when nothing was prefilled apart from the requests. `reason` says in words why it is shared in that way.
    """

    streams: tuple[AsyncGenerator[Delta, None], ...]
    sharing: Sharing
    reason: Text
    usage: Usage | None = None


class Engines(Protocol):
    """How ensembles reach models."""

    def ask(self, model: str, request: ChatRequest, /) -> AsyncGenerator[Delta, None]:
        """As `AskModel`."""
        ...

    def ask_together(self, model: str, requests: Sequence[ChatRequest], /) -> AbstractAsyncContextManager[Together]:
        """Ask one model several things at once, sharing the beginning that their prompts have in common.

        Entering it waits for a place, and prefills and copies the shared beginning where that is the way. Leaving it
        ends what still runs. A failure of one stream is raised by that stream alone.

        Raises:
            AnsamblError: on entering: no request can be answered.
        """
        ...


class BranchState(StrEnum):
    """How a role's part in an ensemble ended."""

    ANSWERED = "answered"
    CUT = "cut"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Branch:
    """One call of an ensemble. `usage` is None where the engine did not report it.

    `first` are the seconds from its beginning to the first word of what it said, its thinking left out; None where it
    said nothing.
    """

    role: str
    model: str | None
    state: BranchState
    usage: Usage | None = None
    seconds: Seconds = Seconds(0.0)
    message: Text | None = None
    first: Seconds | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Work that is shown as reasoning: what `role` says, as it says it, after a heading with its name."""

    text: str
    role: str
    is_heading: bool = False


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
class Remark:
    """A sentence of the ensemble itself about its work, such as how a vote ended; shown as reasoning."""

    message: Text


@dataclass(frozen=True, slots=True)
class Shared:
    """How `requests` that were asked of `model` at once came to share their beginning; `usage` is what that cost."""

    model: str
    requests: int
    sharing: Sharing
    reason: Text
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The end. `usage` is the sum over all calls, with what sharing their beginning cost.

    `branches` holds all calls in the order in which they were shown, the last one is that of the final answer (a vote
    has none). A call inside a nested ensemble is named ``nested/role``.
    """

    finish_reason: str
    usage: Usage
    branches: tuple[Branch, ...]
    sharing: tuple[Shared, ...] = ()


EnsembleEvent = Progress | Content | BranchFailed | Remark | Finished
"""What an ensemble reports."""
