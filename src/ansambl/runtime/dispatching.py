"""Drives the scheduler: tells it what happened, wakes it in time, and hands its grants to those who wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ansambl.domain.errors import AnsamblError, UnavailableError
from ansambl.domain.text import text
from ansambl.foundation.clock import Clock
from ansambl.runtime.counters import RuntimeCounters
from ansambl.runtime.refusals import error_of
from ansambl.runtime.scheduling.policy import Policy
from ansambl.runtime.scheduling.records import Ask, Effect, Grant, Load, Refuse, Rest


class Performer(Protocol):
    """Starts and rests engines. Both return at once; the outcome is told to the policy later."""

    failures: dict[str, AnsamblError]
    """Why the last load of a model failed."""

    def load(self, model: str) -> None:
        """Perform `Load`."""
        ...

    def rest(self, effect: Rest) -> None:
        """Perform `Rest`."""
        ...


class Observer(Protocol):
    """Sees what the policy decides. Both return at once."""

    def changed(self) -> None:
        """The policy was told something; called on the request path, so it may cost a microsecond."""
        ...

    def performing(self, effect: Load | Rest) -> None:
        """A load or a rest begins."""
        ...


@dataclass(slots=True)
class _Waiting:
    ask: Ask
    turn: asyncio.Future[Grant]


class Dispatcher:
    """The one driver of `policy`; use it on one event loop.

    Everything that happens is told by `tell(lambda policy, now: …)`, which performs the effects.
    """

    def __init__(self, policy: Policy, clock: Clock, counters: RuntimeCounters) -> None:
        self.policy = policy
        self.clock = clock
        self.counters = counters
        self.performer: Performer | None = None
        self.observer: Observer | None = None
        self._waiting: dict[int, _Waiting] = {}
        self._timer: asyncio.Task[None] | None = None
        self._due: float | None = None
        self.closed = False

    def tell(self, event: Callable[[Policy, float], Sequence[Effect]]) -> None:
        """Tell the policy of an event, and do what it asks for."""
        self._perform(event(self.policy, self.clock.monotonic()))

    async def granted(self, ask: Ask) -> Grant:
        """Ask, and wait for the grant. Who is cancelled meanwhile leaves the queue at once.

        Raises:
            AnsamblError: it was refused.
        """
        if self.closed:
            raise _stopping()
        began = self.clock.monotonic()
        ticket, effects = self.policy.ask(ask, began)
        turn: asyncio.Future[Grant] = asyncio.get_running_loop().create_future()
        self._waiting[ticket] = _Waiting(ask, turn)
        self._perform(effects)
        try:
            grant = await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                # Its turn came in the same moment as the cancellation: hand the places on.
                self.give_back(turn.result(), ask)
            elif self._waiting.pop(ticket, None) is not None:
                self.tell(lambda policy, now: policy.withdraw(ticket, now))
            raise
        self.counters.grant(ask.request_class, self.clock.monotonic() - began, grant.model)
        return grant

    def release(self, model: str, slot: int | None, seconds: float | None = None) -> None:
        """Give one place back."""
        self.tell(lambda policy, now: policy.release(model, slot, now, seconds=seconds))

    def close(self) -> None:
        """Nobody gets a place and no engine starts or rests any more; those who wait are sent away."""
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        for ticket in tuple(self._waiting):
            turn = self._waiting.pop(ticket).turn
            if not turn.done():
                turn.set_exception(_stopping())

    def give_back(self, grant: Grant, ask: Ask) -> None:
        """Give back all places of a grant that nobody used."""
        for slot in grant.slots or (None,) * max(1, ask.count):
            self.release(grant.model, slot)

    def _perform(self, effects: Sequence[Effect]) -> None:
        if self.closed:
            # The policy is still told that engines end, and would load the next ones.
            return
        for effect in effects:
            match effect:
                case Grant():
                    self._grant(effect)
                case Refuse():
                    self._refuse(effect)
                case Load() if self.performer is not None:
                    self._show(effect)
                    self.performer.load(effect.model)
                case Rest() if self.performer is not None:
                    self._show(effect)
                    self.performer.rest(effect)
        if self.observer is not None:
            self.observer.changed()
        self._arm()

    def _show(self, effect: Load | Rest) -> None:
        if self.observer is not None:
            self.observer.performing(effect)

    def _grant(self, grant: Grant) -> None:
        waiting = self._waiting.pop(grant.ticket)
        if waiting.turn.cancelled():
            # Its request is cancelled and was not told yet, so the places go on to the next ones.
            self.give_back(grant, waiting.ask)
        else:
            waiting.turn.set_result(grant)

    def _refuse(self, refused: Refuse) -> None:
        waiting = self._waiting.pop(refused.ticket)
        self.counters.refuse(waiting.ask.request_class, refused.refusal)
        if not waiting.turn.done():
            failures = self.performer.failures if self.performer is not None else {}
            waiting.turn.set_exception(error_of(refused, waiting.ask.model, waiting.ask.request_class, failures))

    def _arm(self) -> None:
        due = self.policy.next_time()
        # One that wakes too early asks again; arming it anew for each request would cost more than the request.
        if due is None or self.closed or (self._due is not None and self._due <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = asyncio.create_task(self._wake(due), name="scheduler")

    async def _wake(self, due: float) -> None:
        await self.clock.sleep(max(0.0, due - self.clock.monotonic()))
        # Its own task must not be cancelled by what follows.
        self._timer = self._due = None
        self.tell(lambda policy, now: policy.tick(now))


def _stopping() -> UnavailableError:
    return UnavailableError(text("Ansambl is stopping; ask again when it is back."), code="stopping")
