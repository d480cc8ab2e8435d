"""What every policy does: it is told what happened, and returns what is to be done.

Whoever drives it performs the effects in their order and tells their outcome; `now` never goes back. After each call it
looks at `next_time` and calls `tick` when that time has come.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ansambl.runtime.scheduling.records import Ask, DeviceView, Effect, InstanceFacts, InstanceView, Memory


class Policy(Protocol):
    """Decides who is served when, and which instances are resident."""

    def add(self, facts: InstanceFacts, now: float, *, holds: Memory | None = None) -> Sequence[Effect]:
        """There is an instance; `holds` is the memory of one that runs already (adopted), None for one that does not.

        For a known instance: what is known of it changed; its requests stay.
        """
        ...

    def remove(self, model: str, now: float) -> Sequence[Effect]:
        """The instance takes no new requests: those that wait are refused (GONE), those in flight end, then it rests.

        It is forgotten when `rested` tells that it stopped, at once when it holds nothing.
        """
        ...

    def ask(self, ask: Ask, now: float) -> tuple[int, Sequence[Effect]]:
        """A request came; returns its ticket, by which it is granted or refused, perhaps among these effects."""
        ...

    def withdraw(self, ticket: int, now: float) -> Sequence[Effect]:
        """The request waits no longer; nothing happens when it was granted or refused already."""
        ...

    def release(self, model: str, slot: int | None, now: float, *, seconds: float | None = None) -> Sequence[Effect]:
        """A granted place is free again (`slot` None: one that had no slot, or asked for 0 places).

        `seconds` is how long it was used, where that tells how long answers take.
        """
        ...

    def loaded(
        self, model: str, now: float, *, holds: Memory | None = None, seconds: float | None = None
    ) -> Sequence[Effect]:
        """What `Load` asked for is ready. `holds` is what it was measured to hold, `seconds` what the load took."""
        ...

    def load_failed(self, model: str, now: float, *, out_of_memory: bool, retry_after: float = 5.0) -> Sequence[Effect]:
        """It is not ready, and nothing of it runs. After an out-of-memory it is tried once more with more room."""
        ...

    def rested(
        self, model: str, now: float, *, level: int | None = None, holds: Memory | None = None
    ) -> Sequence[Effect]:
        """It sleeps at `level` and holds that much, or it stopped (None): because of `Rest`, or by itself."""
        ...

    def measured(self, model: str, holds: Memory, now: float) -> Sequence[Effect]:
        """What a running instance holds by now."""
        ...

    def foreign(self, held: Memory, now: float) -> Sequence[Effect]:
        """What other programs hold on the devices."""
        ...

    def rest(self, model: str, level: int | None, now: float) -> Sequence[Effect]:
        """Its owner wants it to sleep or to stop: it is drained and then rests, whoever waits for it."""
        ...

    def tick(self, now: float) -> Sequence[Effect]:
        """Time went by."""
        ...

    def next_time(self) -> float | None:
        """When `tick` must be called at the latest; None while nothing depends on time."""
        ...

    def view(self, model: str) -> InstanceView:
        """A snapshot of an instance.

        Raises:
            KeyError: there is no such instance.
        """
        ...

    def devices(self) -> Sequence[DeviceView]:
        """Snapshots of the devices."""
        ...
