"""What other programs hold on the devices: looked at as long as anybody asks for models, and told to the scheduler."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from ansambl.domain.errors import AnsamblError
from ansambl.foundation.clock import Clock
from ansambl.foundation.logging import get_logger
from ansambl.runtime.dispatching import Dispatcher
from ansambl.runtime.scheduling.records import Memory

_LOOK_EVERY = 5.0
"""Seconds between two looks."""

ForeignOf: TypeAlias = Callable[[], Awaitable[Memory]]
"""Says what other programs hold on the devices."""

_log = get_logger(__name__)


class OtherPrograms:
    """Tells the scheduler what others hold. `foreign` says it; None where nobody can.

    Nothing is looked at before the first request: `watch` begins it.
    """

    def __init__(self, foreign: ForeignOf | None, dispatcher: Dispatcher, clock: Clock) -> None:
        self._foreign = foreign
        self._dispatcher = dispatcher
        self._clock = clock
        self._looking: asyncio.Task[None] | None = None

    def watch(self) -> None:
        """Look from now on, again and again; a second time does nothing."""
        if self._foreign is not None and self._looking is None:
            self._looking = asyncio.create_task(self._look(self._foreign), name="other programs")

    def end(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()

    async def _look(self, foreign: ForeignOf) -> None:
        while True:
            try:
                held = await foreign()
            except (AnsamblError, OSError) as error:
                _log.warning("others_unknown", reason=str(error))
            else:
                self._tell(held)
            await self._clock.sleep(_LOOK_EVERY)

    def _tell(self, held: Memory) -> None:
        self._dispatcher.tell(lambda policy, now: policy.foreign(held, now))
