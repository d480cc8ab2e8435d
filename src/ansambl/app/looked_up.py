"""What is known of models without their engines: looked at in the background, told at once.

A request must never wait for a file: until a model's is read, nothing is known of it, which is right for most.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Generic, TypeVar

from ansambl.foundation.logging import get_logger

_log = get_logger(__name__)

AGAIN = 60.0
"""Seconds before a model of which nothing was found is looked at again, when somebody asks for it."""
RENEWED = 600.0
"""Seconds after which a server that somebody else runs is asked again: it may run another model by now."""

Found = TypeVar("Found")


class LookedUp(Generic[Found]):
    """Tells what `readers` find of a model, and None as long as it is not known; looks are made in threads.

    A reader may take seconds, gives None where nothing can be found, and raises nothing of its own. `renewed` names the
    models that are looked at again after `RENEWED` seconds. `what` names the thing in the log.
    """

    def __init__(
        self, readers: Mapping[str, Callable[[], Found | None]], renewed: Sequence[str] = (), *, what: str
    ) -> None:
        self._what = what
        self._readers = dict(readers)
        self._renewed = frozenset(renewed)
        self._known: dict[str, Found] = {}
        self._looked: dict[str, float] = {}
        self._busy: set[str] = set()
        self._lock = threading.Lock()

    def use(self, other: LookedUp[Found], changed: Collection[str]) -> None:
        """Tell of the models of `other` from now on; what is known of those that are not `changed` stays known."""
        with self._lock:
            kept = {name for name in other._readers if name in self._readers and name not in changed}
            self._readers = {**other._readers, **{name: self._readers[name] for name in kept}}
            self._renewed = other._renewed
            self._busy &= kept
            self._known = {name: facts for name, facts in self._known.items() if name in kept}
            self._looked = {name: when for name, when in self._looked.items() if name in kept}
        self.look([name for name in self._readers if name not in kept])

    def __call__(self, model: str) -> Found | None:
        """The facts, at once; looks for them in the background where that was not done lately."""
        known = self._known.get(model)
        patience = AGAIN if known is None else RENEWED if model in self._renewed else None
        if patience is not None and model in self._readers:
            with self._lock:
                due = model not in self._busy and time.monotonic() - self._looked.get(model, -patience) >= patience
            if due:
                self.look([model])
        return known

    def look(self, models: Sequence[str] | None = None) -> threading.Thread:
        """Look at `models` (all when left out), one after another, in a thread that is returned."""
        wanted = [name for name in (self._readers if models is None else models) if name in self._readers]
        with self._lock:
            wanted = [name for name in wanted if name not in self._busy]
            self._busy.update(wanted)
        thread = threading.Thread(target=self._look, args=(wanted,), name=self._what, daemon=True)
        thread.start()
        return thread

    def _look(self, models: Sequence[str]) -> None:
        for name in models:
            reader = self._readers.get(name)
            try:
                found = reader() if reader is not None else None
            except Exception as error:  # noqa: BLE001 - what cannot be looked at is unknown, whatever the cause
                found = None
                _log.warning("not_looked_up", what=self._what, model=name, reason=str(error))
            with self._lock:
                self._busy.discard(name)
                if reader is not self._readers.get(name):
                    # Another configuration came meanwhile, and with it another look.
                    continue
                self._looked[name] = time.monotonic()
                if found is not None:
                    self._known[name] = found
