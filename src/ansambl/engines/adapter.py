"""The contract that every engine's one file fulfils; ``ansambl.testing.engine_suite`` checks it for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from ansambl.domain.engine import (
    EngineMetrics,
    EngineTraits,
    ExitExplanation,
    Installed,
    LaunchSpec,
    LogFacts,
    NotUsable,
    ProbeSpec,
)
from ansambl.domain.hardware import Machine
from ansambl.domain.plan import Placement


@runtime_checkable
class EngineAdapter(Protocol):
    """An engine as Ansambl sees it. Nothing here starts a process or opens a connection to one."""

    traits: EngineTraits
    probe: ProbeSpec

    def detect(self, machine: Machine | None = None) -> Installed | NotUsable:
        """Say whether the engine can be used on this machine, and if not, what would change that."""
        ...

    def launch_spec(self, placement: Placement, *, port: int, secret: str) -> LaunchSpec:
        """Everything needed to start an instance that listens on 127.0.0.1:`port` and asks for `secret` as its key.

        Pure: the same placement gives the same spec.

        Raises:
            AnsamblError: the placement contradicts itself or asks for what the engine cannot do.
        """
        ...

    def read_metrics(self, text: str) -> EngineMetrics:
        """Read the engine's own metrics page."""
        ...

    def read_log(self, line: str) -> LogFacts | None:
        """Read one line of the engine's log; None when it tells nothing that we use."""
        ...

    def explain_exit(self, code: int | None, tail: Sequence[str]) -> ExitExplanation:
        """Say why the engine ended.

        `code` is negative for a signal, None when it was not our child; `tail` is oldest first.
        """
        ...


@runtime_checkable
class AttachOnly(Protocol):
    """Ability: the engine is only ever attached to; `launch_spec` always raises NotSupportedError."""

    attach_only: bool


@dataclass(frozen=True, slots=True)
class EngineCall:
    """A POST of `body` as JSON to `path`, counted from the engine's root and not from the base of its API."""

    path: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PrefilledPrompt:
    """What a prefill read: tokens of the prompt, and how many of them the slot held already."""

    tokens: int
    cached: int


@dataclass(frozen=True, slots=True)
class SlotState:
    """What was saved of a slot or restored into one: its tokens, and the bytes of its file."""

    tokens: int
    size: int


class ConversationCalls(Protocol):
    """How an engine's slots are used over HTTP: pure, it makes calls and reads answers, and sends nothing.

    A slot holds the state (the KV cache) of the last prompt that was worked on in it. The readers return None for
    what is not the answer that was expected.
    """

    can_copy: bool
    """Whether it can save the state of a slot as a file and restore it, in the placement's ``state_folder``."""

    def pinned(self, body: bytes, slot: int) -> bytes:
        """The body of a chat request, a JSON object with at least one field, for that slot and no other."""
        ...

    def render(self, fields: Mapping[str, Any]) -> EngineCall:
        """Ask for the prompt that the chat request with these `fields` becomes there."""
        ...

    def read_prompt(self, body: bytes) -> str | None:
        """The prompt that `render` asked for."""
        ...

    def tokenize(self, prompt: str) -> EngineCall:
        """Ask for the tokens of a prompt, exactly as a chat request's would be."""
        ...

    def read_tokens(self, body: bytes) -> list[int] | None:
        """The tokens that `tokenize` asked for."""
        ...

    def prefill(self, tokens: Sequence[int], slot: int) -> EngineCall:
        """Read `tokens` into a slot and answer nothing: afterwards the slot holds exactly them."""
        ...

    def read_prefilled(self, body: bytes) -> PrefilledPrompt | None:
        """What `prefill` did."""
        ...

    def save(self, slot: int, file: str) -> EngineCall:
        """Save the state of a slot as `file` (a name without a folder)."""
        ...

    def restore(self, slot: int, file: str) -> EngineCall:
        """Make a slot hold what was saved as `file`."""
        ...

    def read_state(self, body: bytes) -> SlotState | None:
        """What `save` or `restore` did."""
        ...


@runtime_checkable
class KeepsConversations(Protocol):
    """Ability: requests can be sent to one slot of the engine, and the state of a slot saved and restored."""

    def conversation_calls(self, placement: Placement) -> ConversationCalls | None:
        """How the slots of this placement are used; None when what it starts has none that we know."""
        ...


@runtime_checkable
class SharesPrefixes(Protocol):
    """Ability: it says whether requests that are worked on at once share the beginning of their prompts by itself."""

    def shares_prefixes(self, placement: Placement) -> bool | None:
        """Whether the engine of this placement has a prefix cache of its own; None when it is unknown."""
        ...
