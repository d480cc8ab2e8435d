"""Ends instances: what their slots hold is kept first, and nothing that goes wrong keeps an engine in memory."""

from __future__ import annotations

from collections.abc import Callable

from ansambl.domain.errors import AnsamblError, UnavailableError
from ansambl.domain.text import text
from ansambl.foundation.logging import get_logger
from ansambl.runtime.conversations.conversations import Conversations
from ansambl.runtime.counters import RuntimeCounters
from ansambl.runtime.events import EventLog
from ansambl.runtime.instance import Instance
from ansambl.runtime.slot_books import SlotBook

_SAVE_PATIENCE = 30.0
"""Seconds that conversations may take to be saved before an engine stops: a state of some GiB is written in a few."""

_log = get_logger(__name__)


class Ending:
    """Saves and stops.

    Args:
        counters: count what was saved.
        events: told of what failed.
        conversations: keeps the states of slots; None keeps none.
        book: the slots of a model.
    """

    def __init__(
        self, counters: RuntimeCounters, events: EventLog | None, conversations: Conversations | None,
        book: Callable[[str], SlotBook],
    ) -> None:  # fmt: skip
        self._counters = counters
        self._events = events
        self._conversations = conversations
        self._book = book

    async def end(self, instance: Instance) -> None:
        """Save what its slots hold and stop it; from then on it counts as gone, whatever went wrong."""
        await self.save(instance, patience=_SAVE_PATIENCE)
        try:
            await instance.stop()
        except Exception as failure:  # noqa: BLE001 - whatever it is, the engine counts as gone from here on
            # The scheduler must be told that it stopped, or nothing would ever load in its place.
            self.tell(instance.model, failure)

    async def save(self, instance: Instance, *, patience: float) -> None:
        """Keep what the slots of its engine hold, within `patience` seconds; what goes wrong is told and not raised."""
        try:
            await self._save(instance, patience)
        except Exception as failure:  # noqa: BLE001 - conversations are read again, an engine that stays is worse
            self.tell(instance.model, failure)

    async def _save(self, instance: Instance, patience: float) -> None:
        endpoint = instance.endpoint()
        if self._conversations is None or endpoint is None:
            return
        calls, identity = instance.conversations(), instance.state_identity()
        if calls is None or identity is None:
            return
        held = self._book(instance.model).held(endpoint)
        if held:
            saved = await self._conversations.save(
                instance.model, endpoint, calls, identity, held, patience=patience
            )  # fmt: skip
            self._counters.saved[instance.model] += saved

    def tell(self, model: str, failure: Exception) -> AnsamblError:
        """Tell of a mistake of the program, or of a disk that is full, and return an error for those who wait."""
        _log.error("residence_failed", model=model, exc_info=failure)
        told = text("an unexpected error: {reason}", reason=f"{type(failure).__name__}: {failure}")
        if self._events is not None:
            self._events.add(model, "failed", told)
        return UnavailableError(text("'{model}' is not available: {reason}", model=model, reason=told))
