"""What the scheduler was told of instances, and whether that is still what is known of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from ansambl.domain.errors import AnsamblError, UnavailableError
from ansambl.domain.text import text
from ansambl.runtime.scheduling.records import InstanceFacts, Memory

FactsOf: TypeAlias = Callable[[str], Awaitable[InstanceFacts]]
"""Says what is known of the instance of a model; raises AnsamblError where it cannot be made."""

Tell: TypeAlias = Callable[[InstanceFacts, bool], None]
"""Tells the scheduler, and whether the instance runs already."""


class KnownFacts:
    """Asks for the facts of instances when they are needed, once for all who need them at the same time.

    Args:
        facts_of: says them.
        tell: hands them to the scheduler.
    """

    def __init__(self, facts_of: FactsOf, tell: Tell) -> None:
        self._facts_of = facts_of
        self._tell = tell
        self._fresh: set[str] = set()
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._told: dict[str, InstanceFacts] = {}

    def are_fresh(self, model: str) -> bool:
        """Whether the scheduler was told what is known now."""
        return model in self._fresh

    def levels(self, model: str) -> tuple[int, ...]:
        """The levels at which its engine can sleep, as far as is known."""
        told = self._told.get(model)
        return () if told is None else tuple(one.level for one in told.sleeps)

    def told(self, model: str) -> InstanceFacts | None:
        """What the scheduler was told last; None where it was told nothing."""
        return self._told.get(model)

    async def have(self, model: str, *, runs: bool = False) -> None:
        """Tell the scheduler of the instance where that is due. No caller that goes away ends it for the others.

        Raises:
            AnsamblError: the instance cannot be made.
        """
        while model not in self._fresh:
            await asyncio.shield(self._asking.get(model) or self._ask(model, runs=runs))

    async def confirm(self, model: str, reserved: Memory) -> None:
        """Call it before a load: its memory was `reserved` by what was told last, and that may hold no longer.

        Raises:
            AnsamblError: the instance cannot be made, or needs more by now.
        """
        if model not in self._fresh:
            told = self._told.get(model)
            await self.have(model)
            needs = self._told[model].needs
            changed = told is not None and needs != told.needs
            if changed and any(size > reserved.get(device, 0) for device, size in needs.items()):
                reason = text("its memory is reckoned anew")
                raise UnavailableError(
                    text("'{model}' is not available: {reason}", model=model, reason=reason), retry_after=1
                )

    async def renew(self, model: str) -> None:
        """Ask for them again; until they are there the old ones hold, and they do where the instance cannot be made."""
        try:
            await asyncio.shield(self._ask(model))
        except AnsamblError:
            # The next request is told why.
            self._fresh.discard(model)

    def forget(self, model: str) -> None:
        """Ask for them again before the next request; whoever waits for earlier ones waits for these, too."""
        self._fresh.discard(model)
        self._asking.pop(model, None)

    def tasks(self) -> list[asyncio.Task[None]]:
        """Those that ask now."""
        return list(self._asking.values())

    def _ask(self, model: str, *, runs: bool = False) -> asyncio.Task[None]:
        asking = self._asking[model] = asyncio.create_task(self._learn(model, runs=runs), name=f"facts {model}")
        asking.add_done_callback(lambda one: one.cancelled() or one.exception())
        return asking

    async def _learn(self, model: str, *, runs: bool) -> None:
        task = asyncio.current_task()
        try:
            found = await self._facts_of(model)
            if self._asking.get(model) is not task:
                # What it is made of changed meanwhile.
                return
        finally:
            if self._asking.get(model) is task:
                del self._asking[model]
        self._fresh.add(model)
        self._told[model] = found
        self._tell(found, runs)
