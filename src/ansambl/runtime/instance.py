"""What the coordinator asks of an instance, whether we run its engine or only attach to it."""

from __future__ import annotations

from typing import Protocol

from ansambl.domain.instance import Endpoint, InstanceStatus
from ansambl.engines.adapter import ConversationCalls


class Instance(Protocol):
    """One checkpoint being served. One task owns its state; others ask for what they need and never branch on it."""

    model: str

    async def ensure_ready(self) -> Endpoint:
        """Return where it answers, starting or restarting the engine when that is needed; all callers share one start.

        Raises:
            UnavailableError: it cannot be made ready now; the message says why and what to do.
        """
        ...

    def suspect(self) -> None:
        """Tell that a request to it just failed at the connection, so that it looks after its engine at once."""
        ...

    def proven(self) -> None:
        """Tell that it began to answer a request, so that failures before that count no longer."""
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

    def status(self) -> InstanceStatus:
        """A snapshot for people."""
        ...

    def log_tail(self, lines: int = 200) -> list[str]:
        """The newest lines of the engine's log, oldest first; empty when there is no log of ours."""
        ...
