"""What the owner wants of instances by hand: loaded now, out of memory, or kept there. Each goes on unwatched."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum

from ansambl.domain.errors import AnsamblError
from ansambl.domain.text import Text, text
from ansambl.foundation.logging import get_logger

_log = get_logger(__name__)


class Wish(StrEnum):
    """What is wanted of an instance."""

    LOAD = "load"
    PIN = "pin"
    UNLOAD = "unload"


class OwnerWishes:
    """Fulfils wishes, one of a kind at a time for each model; who asks for the same again waits for the same.

    Nobody who goes away ends what was begun. Pins last as long as Ansambl runs.

    Args:
        wake: has an instance resident.
        rest: drains it and has it stop.
        pin: tells the scheduler that it stays, that it does not, or (None) that its configuration decides.
        tell: records an event of an instance.
    """

    def __init__(
        self, *, wake: Callable[[str], Awaitable[None]], rest: Callable[[str], Awaitable[None]],
        pin: Callable[[str, bool | None], None], tell: Callable[[str, str, Text], None],
    ) -> None:  # fmt: skip
        self._wake = wake
        self._rest = rest
        self._pin = pin
        self._tell = tell
        self._tasks: dict[tuple[str, Wish], asyncio.Task[None]] = {}
        self._awaited: set[asyncio.Task[None]] = set()

    def begin(self, model: str, wish: Wish) -> asyncio.Task[None]:
        """Begin to fulfil a wish, or go on with it; returns at once.

        A pin holds from now on; where the model cannot be loaded it is taken back. To unload lifts a pin of this run.
        What goes wrong while nobody waits is an event of the instance.
        """
        running = self._tasks.get((model, wish))
        if running is not None:
            return running
        against = (Wish.UNLOAD,) if wish is not Wish.UNLOAD else (Wish.LOAD, Wish.PIN)
        for one in against:
            self.forget(model, one)
        if wish is Wish.PIN:
            self._pin(model, True)
        elif wish is Wish.UNLOAD:
            self._pin(model, None)
        task = asyncio.create_task(self._fulfil(model, wish), name=f"{wish} {model}")
        self._tasks[model, wish] = task
        task.add_done_callback(lambda done: self._ended(model, wish, done))
        return task

    def forget(self, model: str, wish: Wish) -> None:
        """Go on with it no longer, if it is under way; a model that is being loaded is loaded all the same."""
        running = self._tasks.pop((model, wish), None)
        if running is not None:
            running.cancel()

    async def fulfilled(self, model: str, wish: Wish) -> None:
        """Begin, and wait until it is fulfilled.

        Raises:
            AnsamblError: it cannot be, or another wish took its place.
        """
        task = self.begin(model, wish)
        self._awaited.add(task)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.cancelled():
                raise
            raise _overtaken(model) from None
        finally:
            self._awaited.discard(task)

    async def _fulfil(self, model: str, wish: Wish) -> None:
        if wish is Wish.UNLOAD:
            await self._rest(model)
            return
        try:
            await self._wake(model)
        except AnsamblError:
            if wish is Wish.PIN:
                self._pin(model, None)
            raise

    def _ended(self, model: str, wish: Wish, task: asyncio.Task[None]) -> None:
        if self._tasks.get((model, wish)) is task:
            del self._tasks[model, wish]
        if task.cancelled():
            return
        failure = task.exception()
        if failure is None or task in self._awaited:
            return
        if isinstance(failure, AnsamblError):
            self._tell(model, "wish_failed", failure.message)
        else:
            _log.error("wish_failed", model=model, wish=wish.value, exc_info=failure)

    async def stop(self) -> None:
        """End what is under way."""
        tasks = [*self._tasks.values()]
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _overtaken(model: str) -> AnsamblError:
    failure = AnsamblError(
        text("Something else was asked for '{model}' in the meantime; ask again if you still want this.", model=model),
        code="overtaken",
    )
    failure.status = 409
    return failure
