"""What the slots of one run of an engine hold, as far as requests told."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ansambl.domain.instance import Endpoint
from ansambl.runtime.slots import Slots


class SlotBook:
    """Keeps the slots of one instance and its engine's runs together; `slots` finds them, None where it has none.

    What another run of the engine held is forgotten as soon as a run is noted. `is_kept` says of a prompt whether its
    state is worth keeping over a restart, `on_moved` is told of a run that holds what the one before held.
    """

    def __init__(
        self, slots: Callable[[], Slots | None], is_kept: Callable[[bytes], bool],
        on_moved: Callable[[Endpoint, Sequence[int]], None],
    ) -> None:  # fmt: skip
        self._slots = slots
        self._is_kept = is_kept
        self._on_moved = on_moved
        self._engine: Endpoint | None = None

    def holds(self, slot: int, prompt: bytes, engine: Endpoint) -> None:
        """Note that `engine`, one run of it, works on `prompt` in `slot` from now on."""
        slots = self._of(engine)
        if slots is not None:
            slots.holds(slot, prompt)

    def held(self, engine: Endpoint) -> dict[int, bytes]:
        """What each slot of this run holds that holds anything."""
        slots = self._of(engine)
        return slots.held() if slots is not None else {}

    def slots(self) -> tuple[int, ...]:
        """As `SlotKeeper.slots`."""
        slots = self._slots()
        return () if slots is None else tuple(one for one, prompt in slots.held().items() if self._is_kept(prompt))

    def moved(self, engine: Endpoint, slots: Sequence[int]) -> None:
        """As `SlotKeeper.moved`."""
        self._engine = engine
        self._on_moved(engine, slots)
        found = self._slots()
        if found is not None:
            found.forget(keep=slots)

    def _of(self, engine: Endpoint) -> Slots | None:
        slots = self._slots()
        if engine != self._engine:
            self._engine = engine
            if slots is not None:
                slots.forget()
        return slots
