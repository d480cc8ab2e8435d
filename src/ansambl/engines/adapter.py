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
    Surroundings,
)
from ansambl.domain.lora import LoraAdapter
from ansambl.domain.plan import Placement
from ansambl.domain.serving import Operation
from ansambl.engines.command_lines.settings import EngineLines

NOWHERE = Surroundings()
"""Nothing is known of the machine: an adapter then says what it can say without."""


@runtime_checkable
class EngineAdapter(Protocol):
    """An engine as Ansambl sees it. Nothing here starts a process or opens a connection to one."""

    traits: EngineTraits
    probe: ProbeSpec

    lines: EngineLines | None
    """How its command line is written; None for an engine that has none of its own."""

    def detect(self, around: Surroundings = NOWHERE) -> Installed | NotUsable:
        """Say whether the engine can be used on this machine, and if not, what would change that.

        May read files and ask programs for their version; it starts no engine and uses no network.
        """
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
    """A request with `body` as JSON to `path`, counted from the engine's root and not from the base of its API.

    `method` is POST unless it only asks (GET, without a body).
    """

    path: str
    body: Mapping[str, Any]
    method: str = "POST"


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

    mixes_slots: bool
    """Whether what one slot held may come back in another: the engine keeps a cache of finished prompts beside them."""

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

    def erase(self, slot: int) -> EngineCall | None:
        """Make a slot hold nothing; None where the engine was started so that it cannot."""
        ...

    def unshared(self, body: bytes) -> bytes:
        """The body of a chat request that uses nothing of what was read before it."""
        ...


@runtime_checkable
class KeepsConversations(Protocol):
    """Ability: requests can be sent to one slot of the engine, and the state of a slot saved and restored."""

    def conversation_calls(self, placement: Placement) -> ConversationCalls | None:
        """How the slots of this placement are used; None when what it starts has none that we know."""
        ...


@runtime_checkable
class SaltsCache(Protocol):
    """Ability: a request can say whose it is to a prefix cache that is shared by all slots."""

    def salted(self, body: bytes, salt: str) -> bytes:
        """The body of a request, a JSON object with at least one field, that shares only with others of its `salt`."""
        ...


@runtime_checkable
class SharesPrefixes(Protocol):
    """Ability: it says whether requests that are worked on at once share the beginning of their prompts by itself."""

    def shares_prefixes(self, placement: Placement) -> bool | None:
        """Whether the engine of this placement has a prefix cache of its own; None when it is unknown."""
        ...


@runtime_checkable
class TellsOperations(Protocol):
    """Ability: it knows from a placement what its engine will do beside the chat, and what not."""

    def operations(self, placement: Placement) -> frozenset[Operation]:
        """What it certainly does as it is started."""
        ...


class SleepCalls(Protocol):
    """How a running engine is put to sleep and woken over HTTP: pure, it makes calls and reads answers."""

    levels: tuple[int, ...]
    """The levels that it has: 1 keeps the weights in RAM, 2 drops them and reads them from the disk again."""

    def sleep(self, level: int) -> EngineCall:
        """Give the device's memory back."""
        ...

    def wake(self, level: int) -> Sequence[EngineCall]:
        """What must be called, in this order, after a sleep of `level`, until it answers again."""
        ...

    def ask(self) -> EngineCall:
        """Ask whether it sleeps."""
        ...

    def read_asleep(self, body: bytes) -> bool | None:
        """What `ask` answered; None for what is not the answer that was expected."""
        ...


@runtime_checkable
class CanSleep(Protocol):
    """Ability: a running engine gives its memory back without ending, and comes back faster than it starts."""

    def sleep_calls(self, placement: Placement) -> SleepCalls | NotUsable:
        """How this placement's engine sleeps; why not, where its build or its settings do not allow it."""
        ...


class LoraCalls(Protocol):
    """How LoRA adapters of a running engine are used over HTTP: pure, it makes calls and reads answers."""

    at_start: bool
    """Whether adapters are there from the start (those of the placement); else each is loaded by `load`."""

    can_load: bool
    """Whether adapters can be loaded into a running engine and unloaded from it."""

    max_rank: int | None
    """The largest rank of an adapter that it has room for as it was started; None where it takes any."""

    def load(self, lora: LoraAdapter) -> EngineCall:
        """Load it. Only where `can_load`."""
        ...

    def unload(self, lora: LoraAdapter) -> EngineCall:
        """Unload it. Only where `can_load`."""
        ...

    def listed(self) -> EngineCall:
        """Ask which adapters are loaded."""
        ...

    def read_listed(self, body: bytes) -> frozenset[str] | None:
        """The names of the loaded adapters; None for what is not the answer that was expected."""
        ...

    def applied(self, body: bytes, path: str, lora: str | None) -> bytes:
        """The body of a request to `path`, a JSON object with at least one field, with that adapter, or with none.

        It always says which adapter is meant, also none: some engines otherwise go on with the last request's one.
        """
        ...


@runtime_checkable
class SwapsLora(Protocol):
    """Ability: requests to one running engine choose a LoRA adapter each."""

    def lora_calls(self, placement: Placement) -> LoraCalls | NotUsable:
        """How the adapters of this placement are used; why not, where its build or its settings do not allow it."""
        ...
