"""Grants requests a place on an instance and pins them to its slots."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace

from ansambl.domain.errors import UnavailableError, UnknownNameError
from ansambl.domain.instance import Endpoint, InstanceState, InstanceStatus
from ansambl.domain.scheduling import ORDINARY, Standing
from ansambl.domain.text import Text, text
from ansambl.engines.adapter import EngineCall
from ansambl.foundation.clock import Clock, RealClock
from ansambl.runtime.carrying import Carrier, Lease
from ansambl.runtime.events import EventLog
from ansambl.runtime.instance import Instance
from ansambl.runtime.places import UNNUMBERED, Places, lora_mark
from ansambl.runtime.upstream import Upstream, UpstreamAnswer

QUEUE_LIMIT = 256
"""Requests that may wait for one instance; more are refused with Retry-After instead of waiting for ever."""


@dataclass(slots=True)
class LeaseGroup:
    """Several places on one ready instance, granted at once. `release` gives one back before the others."""

    leases: list[Lease]
    _places: Places
    _instance: Instance
    _held: list[Lease] = field(default_factory=list)
    _in_use: bool = False

    def __post_init__(self) -> None:
        self._held = list(self.leases)

    async def begin_use(self, lora: str | None) -> Endpoint:
        """Have the instance ready, and in use until the last place is released; with that LoRA adapter loaded.

        Raises:
            AnsamblError: as `Instance.ensure_ready` and `Instance.use_lora`.
        """
        endpoint = await self._instance.ensure_ready()
        self._instance.begin_use()
        self._in_use = True
        if lora is not None:
            await self._instance.use_lora(lora)
            for one in self.leases:
                one.lora = lora
        return endpoint

    def release(self, lease: Lease) -> None:
        """Give a place back; a second time does nothing."""
        if any(one is lease for one in self._held):
            self._held = [one for one in self._held if one is not lease]
            self._places.give_back(lease.place)
            if not self._held and self._in_use:
                self._in_use = False
                if lease.lora is not None:
                    self._instance.end_lora(lease.lora)
                self._instance.end_use()

    def release_all(self) -> None:
        """Give back what is still held."""
        for one in tuple(self._held):
            self.release(one)


class Coordinator:
    """Knows the instances by the name of their model. All requests to engines go through `open` or `call`."""

    def __init__(
        self, instances: Iterable[Instance], upstream: Upstream, clock: Clock | None = None,
        events: EventLog | None = None,
    ) -> None:  # fmt: skip
        self._instances = {one.model: one for one in instances}
        self._places = {name: Places(one.status().parallel) for name, one in self._instances.items()}
        self._upstream = upstream
        self._carrier = Carrier(self.instance, upstream, self.note)
        self._clock = clock or RealClock()
        self._events = events
        for name, one in self._instances.items():
            one.keep_slots(self._places[name])

    def instance(self, model: str) -> Instance:
        """The instance that serves `model`.

        Raises:
            UnknownNameError: no instance serves it.
        """
        try:
            return self._instances[model]
        except KeyError:
            raise UnknownNameError(text("No model is called '{name}' here.", name=model)) from None

    def places(self, model: str) -> int | None:
        """How many requests the instance of `model` works on at once; None when that is unknown."""
        self.instance(model)
        return self._places[model].count

    def statuses(self) -> list[InstanceStatus]:
        """Snapshots of all instances with what runs and waits on each."""
        return [
            replace(one.status(), running=self._places[name].running, waiting=self._places[name].waiting)
            for name, one in self._instances.items()
        ]

    def tell(self, model: str, kind: str, message: Text) -> None:
        """Record an event of the instance of `model`."""
        if self._events is not None:
            self._events.add(model, kind, message)

    @asynccontextmanager
    async def lease(
        self, model: str, hint: bytes = b"", *, lora: str | None = None, standing: Standing = ORDINARY
    ) -> AsyncIterator[Lease]:
        """Hold a place on the instance of `model`, waiting for its turn and for its engine.

        `hint` is what the engine will read, as bytes whose beginning is that of the prompt: it chooses the slot.
        `lora` is the LoRA adapter that the requests use, None for the plain model.

        Raises:
            UnavailableError: too many wait already, or the engine cannot be made ready.
            NotSupportedError, UnknownNameError: the LoRA adapter cannot be used there.
        """
        async with self.lease_group(model, 1, hint, lora=lora, standing=standing) as group:
            yield group.leases[0]

    @asynccontextmanager
    async def visit(self, model: str, *, standing: Standing = ORDINARY) -> AsyncIterator[Lease]:  # noqa: ARG002 - the scheduler will read it
        """Have the instance of `model` resident for calls that need no place: its prompts are rendered, say.

        Raises:
            AnsamblError: as `lease`.
        """
        instance = self.instance(model)
        endpoint = await instance.ensure_ready()
        instance.begin_use()
        try:
            yield Lease(model, endpoint, 0.0, calls=instance.conversations())
        finally:
            instance.end_use()

    def outlook(self, model: str) -> Text:
        """What a request for `model` waits for now, in words."""
        before = max(0, self._places[model].waiting - 1)
        if self.instance(model).status().state is InstanceState.READY:
            return text("'{model}' is busy; {count} requests before this one", model=model, count=before)
        return text("'{model}' is being loaded; {count} requests before this one", model=model, count=before)

    @asynccontextmanager
    async def lease_group(
        self,
        model: str,
        count: int,
        hint: bytes = b"",
        *,
        lora: str | None = None,
        standing: Standing = ORDINARY,  # noqa: ARG002 - the scheduler will read it
    ) -> AsyncIterator[LeaseGroup]:
        """Hold `count` places at once, at most as many as the instance has; the first slot shares most with `hint`.

        Raises:
            UnavailableError: too many wait already, or the engine cannot be made ready.
            NotSupportedError, UnknownNameError: the LoRA adapter cannot be used there.
        """
        instance, places = self.instance(model), self._places[model]
        mark = b""
        if lora is not None:
            # Before anything waits or is sent; in a thread, because the instance may have to be made for it.
            adapter = await asyncio.to_thread(instance.check_lora, lora)
            # An activated one leaves what stands before its invocation alone.
            mark = b"" if adapter.activated else lora_mark(lora)
        hint = mark + hint
        if places.waiting >= QUEUE_LIMIT:
            raise UnavailableError(
                text(
                    "{count} requests wait for '{model}' already. Try again later.", count=places.waiting, model=model
                ),
                code="queue_full",
            )
        began = self._clock.monotonic()
        taken = await places.take(hint, count)
        leases = [Lease(model, Endpoint(""), 0.0, prompt=hint, place=slot, mark=mark) for slot in taken]
        group = LeaseGroup(leases, places, instance)
        try:
            endpoint = await group.begin_use(lora)
            calls, queued = instance.conversations(), self._clock.monotonic() - began
            for one in leases:
                one.endpoint, one.queued = endpoint, queued
                if calls is not None and one.place != UNNUMBERED:
                    one.slot, one.calls = one.place, calls
            yield group
        finally:
            group.release_all()

    def open(self, lease: Lease, path: str, body: bytes) -> AbstractAsyncContextManager[UpstreamAnswer]:
        """As `Carrier.open`."""
        return self._carrier.open(lease, path, body)

    async def call(self, lease: Lease, call: EngineCall) -> bytes:
        """As `Carrier.call`."""
        return await self._carrier.call(lease, call)

    def note(self, lease: Lease) -> None:
        """Note that the slot of `lease` holds its prompt, or soon will."""
        if lease.slot is not None:
            self._places[lease.model].holds(lease.slot, lease.prompt, lease.endpoint)

    async def stop(self) -> None:
        """Stop all instances at once and close the connections to engines."""
        await asyncio.gather(*(one.stop() for one in self._instances.values()), return_exceptions=True)
        await self._upstream.close()
