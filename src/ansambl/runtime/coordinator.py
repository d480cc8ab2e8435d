"""Grants requests a place on an instance, in order of arrival, and carries them to its engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from ansambl.domain.errors import EngineError, UnavailableError, UnknownNameError
from ansambl.domain.instance import Endpoint, InstanceStatus
from ansambl.domain.text import text
from ansambl.foundation.clock import Clock, RealClock
from ansambl.runtime.instance import Instance
from ansambl.runtime.upstream import ConnectionLostError, Upstream, UpstreamAnswer

QUEUE_LIMIT = 256
"""Requests that may wait for one instance; more are refused with Retry-After instead of waiting for ever."""


@dataclass(slots=True)
class Lease:
    """A place on a ready instance, held until its request is answered. `queued` is how long it waited, in seconds."""

    model: str
    endpoint: Endpoint
    queued: float


class _Places:
    """How many requests one instance works on, and who waits. A semaphore that is fair and can be counted."""

    def __init__(self, slots: int | None) -> None:
        self.slots = slots
        self.running = 0
        self._waiting: dict[asyncio.Future[None], None] = {}

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def take(self) -> None:
        if self.slots is None or (self.running < self.slots and not self._waiting):
            self.running += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[turn] = None
        try:
            await turn
        except asyncio.CancelledError:
            self._waiting.pop(turn, None)
            if turn.done() and not turn.cancelled():
                # Its turn came in the same moment as the cancellation: hand the place on.
                self.give_back()
            raise

    def give_back(self) -> None:
        self.running -= 1
        while self._waiting and (self.slots is None or self.running < self.slots):
            turn = next(iter(self._waiting))
            del self._waiting[turn]
            if not turn.done():
                self.running += 1
                turn.set_result(None)


class Coordinator:
    """Knows the instances by the name of their model. All requests to engines go through `open`."""

    def __init__(self, instances: Iterable[Instance], upstream: Upstream, clock: Clock | None = None) -> None:
        self._instances = {one.model: one for one in instances}
        self._places = {name: _Places(one.status().parallel) for name, one in self._instances.items()}
        self._upstream = upstream
        self._clock = clock or RealClock()

    def instance(self, model: str) -> Instance:
        """The instance that serves `model`.

        Raises:
            UnknownNameError: no instance serves it.
        """
        try:
            return self._instances[model]
        except KeyError:
            raise UnknownNameError(text("No model is called '{name}' here.", name=model)) from None

    def statuses(self) -> list[InstanceStatus]:
        """Snapshots of all instances with what runs and waits on each."""
        return [
            replace(one.status(), running=self._places[name].running, waiting=self._places[name].waiting)
            for name, one in self._instances.items()
        ]

    @asynccontextmanager
    async def lease(self, model: str) -> AsyncIterator[Lease]:
        """Hold a place on the instance of `model`, waiting for its turn and for its engine.

        Raises:
            UnavailableError: too many wait already, or the engine cannot be made ready.
        """
        instance, places = self.instance(model), self._places[model]
        if places.waiting >= QUEUE_LIMIT:
            raise UnavailableError(
                text(
                    "{count} requests wait for '{model}' already. Try again later.", count=places.waiting, model=model
                ),
                code="queue_full",
            )
        began = self._clock.monotonic()
        await places.take()
        try:
            endpoint = await instance.ensure_ready()
            yield Lease(model, endpoint, self._clock.monotonic() - began)
        finally:
            places.give_back()

    @asynccontextmanager
    async def open(self, lease: Lease, path: str, body: bytes) -> AsyncIterator[UpstreamAnswer]:
        """Send a request to the leased instance; its answer's body is still arriving when this yields.

        A connection that fails before the answer begins is tried once more after the engine was looked after: it has
        just died and been restarted, or an idle connection was closed by the engine.

        Raises:
            ConnectionLostError: it failed again, or in the middle of the answer.
            EngineError: the engine does not accept the key that we send; the client's own key is not to blame.
            UnavailableError: the engine cannot be made ready again.
        """
        instance = self.instance(lease.model)
        answer = self._upstream.post(lease.endpoint, path, body)
        try:
            await answer.__aenter__()
        except ConnectionLostError:
            instance.suspect()
            lease.endpoint = await instance.ensure_ready()
            answer = self._upstream.post(lease.endpoint, path, body)
            try:
                await answer.__aenter__()
            except ConnectionLostError:
                instance.suspect()
                raise
        if answer.status < 500:
            instance.proven()
        try:
            if answer.status in {401, 403}:
                instance.suspect()
                raise EngineError(
                    text(
                        "The engine of '{model}' refuses the key that Ansambl sends; correct models.{model}.key.",
                        model=lease.model,
                    ),
                    code="engine_refuses_key",
                )
            yield answer
        except ConnectionLostError:
            instance.suspect()
            raise
        finally:
            await answer.__aexit__(None, None, None)

    async def stop(self) -> None:
        """Stop all instances at once and close the connections to engines."""
        await asyncio.gather(*(one.stop() for one in self._instances.values()), return_exceptions=True)
        await self._upstream.close()
