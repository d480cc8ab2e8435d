"""What happened to instances, newest last: for `status`, the console and the admin API."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ansambl.domain.instance import InstanceEvent
from ansambl.domain.text import Text
from ansambl.foundation.clock import Clock, RealClock
from ansambl.foundation.logging import get_logger
from ansambl.runtime.changes import Changes
from ansambl.runtime.store import RuntimeStore

KEPT_IN_MEMORY = 200

_log = get_logger(__name__)


class EventLog:
    """The newest events in memory, and in the database when there is a `store`; earlier runs' are read first.

    `changes` is told of each, and so is `watcher`, in the thread that adds it; it returns at once.
    """

    def __init__(self, store: RuntimeStore | None = None, clock: Clock | None = None) -> None:
        self._store = store
        self._clock = clock or RealClock()
        self.changes = Changes()
        earlier = store.events(KEPT_IN_MEMORY) if store else []
        self._events: deque[InstanceEvent] = deque(earlier, maxlen=KEPT_IN_MEMORY)
        self.watcher: Callable[[InstanceEvent], None] | None = None

    def add(self, model: str, kind: str, message: Text) -> InstanceEvent:
        """Record that `kind` happened to the instance of `model`."""
        event = InstanceEvent(self._clock.now(), model, kind, message)
        self._events.append(event)
        _log.info("instance_event", model=model, kind=kind, message=message.render())
        if self._store is not None:
            self._store.add_event(event)
        self.changes.tell()
        if self.watcher is not None:
            self.watcher(event)
        return event

    def recent(self, limit: int = KEPT_IN_MEMORY, *, model: str | None = None) -> list[InstanceEvent]:
        """The newest events (of `model` alone when it is given), oldest first."""
        chosen = [one for one in self._events if model is None or one.model == model]
        return chosen[-limit:] if limit > 0 else []
