"""How many requests one instance works on, in which slots, and who waits."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence

from ansambl.domain.instance import Endpoint
from ansambl.runtime.slots import Slots

UNNUMBERED = -1
"""The slot of a place on an instance that works on any number of requests."""

_MARK = b"\0"


def lora_mark(name: str) -> bytes:
    """What the hint of a request begins with that has this LoRA adapter: no other hint begins alike.

    What was read with an adapter is another state than what was read without, or with another one.
    """
    return _MARK + hashlib.blake2b(name.encode(), digest_size=16).digest()


def is_marked(prompt: bytes) -> bool:
    """Whether a prompt was read with a LoRA adapter, as its `lora_mark` says."""
    return prompt.startswith(_MARK)


class Places:
    """The places of one instance; `count` is None where nobody has to wait. See `Slots` for the order."""

    def __init__(self, count: int | None) -> None:
        self.count = count
        self.running = 0
        self._slots = Slots(count or 0)
        self._turns: dict[int, asyncio.Future[tuple[int, ...]]] = {}
        self._engine: Endpoint | None = None

    @property
    def waiting(self) -> int:
        """Requests that wait for a place."""
        return self._slots.waiting

    async def take(self, prompt: bytes = b"", count: int = 1) -> tuple[int, ...]:
        """Wait for `count` places at once (at most as many as there are); returns their slots."""
        if self.count is None:
            self.running += count
            return (UNNUMBERED,) * count
        ticket = self._slots.ask(prompt, count)
        turn: asyncio.Future[tuple[int, ...]] = asyncio.get_running_loop().create_future()
        self._turns[ticket] = turn
        self._grant()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                # Its turn came in the same moment as the cancellation: hand the places on.
                for slot in turn.result():
                    self.give_back(slot)
            elif self._turns.pop(ticket, None) is not None:
                self._slots.withdraw(ticket)
                # Places may have been kept for it.
                self._grant()
            raise

    def give_back(self, slot: int) -> None:
        """End one place's use."""
        self.running -= 1
        if slot != UNNUMBERED:
            self._slots.give_back(slot)
            self._grant()

    def holds(self, slot: int, prompt: bytes, engine: Endpoint) -> None:
        """Note that `engine`, one run of it, works on `prompt` in `slot` from now on."""
        if engine != self._engine:
            self._engine = engine
            self._slots.forget()
        self._slots.holds(slot, prompt)

    def slots(self) -> tuple[int, ...]:
        """As `SlotKeeper.slots`."""
        return tuple(slot for slot, prompt in self._slots.held().items() if not is_marked(prompt))

    def moved(self, engine: Endpoint, slots: Sequence[int]) -> None:
        """As `SlotKeeper.moved`."""
        self._engine = engine
        self._slots.forget(keep=slots)

    def _grant(self) -> None:
        while grants := self._slots.grants():
            for grant in grants:
                turn = self._turns.pop(grant.ticket)
                if turn.cancelled():
                    # Its request is cancelled and was not told yet, so the places go on to the next ones.
                    for slot in grant.slots:
                        self._slots.give_back(slot)
                else:
                    self.running += len(grant.slots)
                    turn.set_result(grant.slots)
