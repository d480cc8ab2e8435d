"""What the coordinator asks of an instance, whether we run its engine or only attach to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ansambl.domain.instance import Endpoint, InstanceStatus
from ansambl.domain.lora import LoraAdapter
from ansambl.domain.serving import Serving
from ansambl.engines.adapter import ConversationCalls, LoraCalls
from ansambl.runtime.flight import Flight
from ansambl.runtime.kept_states import SlotKeeper
from ansambl.runtime.scheduling.records import Memory


class InstanceListener(Protocol):
    """Told what the engine of an instance holds, on the instance's event loop; it must return at once."""

    def ready(self, model: str, holds: Memory | None, seconds: float | None) -> None:
        """It is ready (started, adopted, woken or started again after a failure), and holds that much.

        None where nobody can tell. `seconds` is what the start took, None for one that was adopted.
        """
        ...

    def grew(self, model: str, holds: Memory) -> None:
        """It runs, and holds something else than was told last."""
        ...

    def asleep(self, model: str, level: int, holds: Memory | None) -> None:
        """It sleeps."""
        ...

    def ended(self, model: str, *, out_of_memory: bool) -> None:
        """Nothing of it is left: it was stopped, or given up after failures."""
        ...


class Instance(Protocol):
    """One checkpoint being served. One task owns its state; others ask for what they need and never branch on it."""

    model: str

    @property
    def flight(self) -> Flight:
        """What its engine owes; whoever asks the engine tells it there."""
        ...

    async def ensure_ready(self) -> Endpoint:
        """Return where it answers, starting or restarting the engine when that is needed; all callers share one start.

        Raises:
            LoadFailedError: its engine cannot be made ready now; the message says why and what to do.
            UnavailableError: likewise, where no engine is ours to start.
        """
        ...

    def endpoint(self) -> Endpoint | None:
        """Where it answers while it is ready; None while it is not. Starts nothing."""
        ...

    def suspect(self) -> None:
        """Tell that a request to it just failed at the connection, so that it looks after its engine at once."""
        ...

    def garbled(self) -> None:
        """Tell that it answered a request with what is no answer; several in a row, and its engine is started again."""
        ...

    def proven(self) -> None:
        """Tell that it answered a request, so that failures before that count no longer."""
        ...

    def begin_use(self) -> None:
        """Tell that a request uses it from now on; call it at once after `ensure_ready`, with nothing awaited between.

        While it is used it neither sleeps nor is unloaded.
        """
        ...

    def end_use(self) -> None:
        """End what `begin_use` began."""
        ...

    async def sleep(self, level: int | None = None) -> None:
        """Put its engine to sleep when no request uses it, and return when its memory came back.

        `level` is one of the engine's, its first by default. The next `ensure_ready` wakes it.

        Raises:
            NotSupportedError: it cannot sleep; the message says why and what to do.
            UnavailableError, EngineError: it did not fall asleep, and why.
        """
        ...

    async def stop(self) -> None:
        """End the engine if it is ours; return when nothing of it is left."""
        ...

    def conversations(self) -> ConversationCalls | None:
        """How its engine's slots are used; None when it has none, or none that are ours to use."""
        ...

    def shares_prefixes(self) -> bool | None:
        """Whether its engine shares the beginning of prompts among requests by itself; None when that is unknown."""
        ...

    def serves(self) -> Serving:
        """What it can be asked for; may look at files and for engines, so that it is called in a thread.

        Raises:
            AnsamblError: it cannot be made; the message says why.
        """
        ...

    def salted(self, body: bytes, salt: str) -> bytes:
        """The body of a request that shares its reading only with others of this salt.

        As it is where the engine shares nothing among slots, or cannot be told.
        """
        ...

    def keep_slots(self, keeper: SlotKeeper) -> None:
        """Have `keeper` say which slots' states outlive a restart that is made for LoRA adapters."""
        ...

    def loras(self) -> LoraCalls | None:
        """How requests to its engine say which LoRA adapter they mean; None where there is nothing to say."""
        ...

    def check_lora(self, name: str) -> LoraAdapter:
        """The LoRA adapter of that name, when requests may use it.

        Raises:
            UnknownNameError: there is none for this model.
            NotSupportedError: the engine cannot use it; the message says why and what to do.
        """
        ...

    async def use_lora(self, name: str) -> None:
        """Have its engine hold that LoRA adapter until `end_lora`; call it between `begin_use` and `end_use`.

        Raises:
            UnknownNameError, NotSupportedError: as `check_lora`.
            UnavailableError: it can be there only after a restart, which comes by itself.
            EngineError: the engine refused to load it.
        """
        ...

    def end_lora(self, name: str) -> None:
        """End what `use_lora` began."""
        ...

    def set_loras(self, adapters: Sequence[LoraAdapter]) -> bool:
        """From now on requests may name these LoRA adapters and no others.

        A running engine follows by itself. Returns whether it is started again for them, as soon as nobody uses it.
        """
        ...

    def listen(self, listener: InstanceListener) -> None:
        """Have `listener` told from now on of what its engine comes to hold."""
        ...

    def state_identity(self) -> str | None:
        """What must be equal for the state of a slot to be restored: checkpoint, KV type, engine build and the like.

        None where its states cannot be kept.
        """
        ...

    def status(self) -> InstanceStatus:
        """A snapshot for people."""
        ...

    def log_tail(self, lines: int = 200) -> list[str]:
        """The newest lines of the engine's log, oldest first; empty when there is no log of ours."""
        ...
