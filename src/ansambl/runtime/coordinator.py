"""Grants requests places on instances: at once where one is resident, else after a queue and perhaps a swap."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

from ansambl.domain.errors import AnsamblError, NotSupportedError, UnavailableError
from ansambl.domain.instance import Endpoint, InstanceStatus
from ansambl.domain.scheduling import ORDINARY, Standing
from ansambl.domain.text import Text, text
from ansambl.engines.adapter import EngineCall
from ansambl.foundation.clock import Clock, RealClock
from ansambl.foundation.logging import get_logger
from ansambl.runtime.carrying import Carrier, Lease
from ansambl.runtime.changes import Changes
from ansambl.runtime.conversations.conversations import ConversationCounts, Conversations
from ansambl.runtime.conversations.separation import Separation
from ansambl.runtime.counters import RuntimeCounters
from ansambl.runtime.dispatching import Dispatcher, Observer
from ansambl.runtime.events import EventLog
from ansambl.runtime.instance import Instance
from ansambl.runtime.known_facts import FactsOf
from ansambl.runtime.leasing import FirstLease, HeldGroup, LeaseGroup
from ansambl.runtime.marks import is_plain, lora_mark, owner_mark, with_adapter_tail
from ansambl.runtime.other_programs import ForeignOf, OtherPrograms
from ansambl.runtime.outlooks import outlook_of, with_view
from ansambl.runtime.residence import Residence
from ansambl.runtime.scheduling.ledger import Ledger
from ansambl.runtime.scheduling.records import Ask, DeviceView, Grant, InstanceView, Memory, Rules
from ansambl.runtime.scheduling.scheduler import Scheduler
from ansambl.runtime.slot_books import SlotBook
from ansambl.runtime.upstream import JSON, Body, ConnectionLostError, Upstream, UpstreamAnswer
from ansambl.runtime.wishes import OwnerWishes

_LAST_SAVE = 10.0
"""Seconds that conversations may take to be saved when Ansambl stops."""

_log = get_logger(__name__)


class Coordinator:
    """Knows the instances by the name of their model. All requests to engines go through `open` or `call`.

    Args:
        instances: those that there are.
        upstream: carries bytes to their engines.
        clock: time.
        events: told of what happens to instances.
        facts: says what each instance needs; None: they need nothing that is counted.
        totals: the bytes of each device.
        limits: what models may use of it at most, where that is less.
        rules: the owner's rules.
        foreign: says what other programs hold.
        conversations: keeps conversations over swaps and restarts; None keeps none.
    """

    def __init__(
        self, instances: Iterable[Instance], upstream: Upstream, clock: Clock | None = None,
        events: EventLog | None = None, *, facts: FactsOf | None = None,
        totals: Memory | None = None, limits: Memory | None = None, rules: Rules | None = None,
        foreign: ForeignOf | None = None, conversations: Conversations | None = None,
    ) -> None:  # fmt: skip
        self.counters = RuntimeCounters()
        self._scheduler = Scheduler(Ledger(totals or {}, limits), rules or Rules())
        self._clock = clock or RealClock()
        self._dispatcher = Dispatcher(self._scheduler, self._clock, self.counters)
        self._books: dict[str, SlotBook] = {}
        self._residence = Residence(
            self._dispatcher, facts=facts, events=events, conversations=conversations, book=self._book
        )
        self._dispatcher.performer = self._residence
        self._residence.add(instances)
        self._upstream = upstream
        self._carrier = Carrier(self.instance, upstream, self.note, self._ready_again)
        self._events = events
        self._others = OtherPrograms(foreign, self._dispatcher, self._clock)
        self._conversations = conversations
        self._separation = Separation(self.call, lambda model: self.instance(model).status().adopted)
        self.wishes = OwnerWishes(
            wake=self.wake, rest=lambda model: self.rest(model, None), pin=self._residence.pin, tell=self.tell
        )
        self._judging: set[asyncio.Task[None]] = set()

    # --- who is there -------------------------------------------------------------------------------------------------

    def instance(self, model: str) -> Instance:
        """The instance that serves `model`.

        Raises:
            UnknownNameError: no instance serves it.
        """
        return self._residence.instance(model)

    def places(self, model: str) -> int | None:
        """How many requests the instance of `model` works on at once; None when that is unknown."""
        return self.instance(model).status().parallel

    def statuses(self) -> list[InstanceStatus]:
        """Snapshots of all instances with what runs and waits on each."""
        views, ahead = self.views(), self._clock.now() - self._clock.monotonic()
        return [with_view(one.status(), views.get(model), ahead) for model, one in self._residence.instances.items()]

    def views(self) -> dict[str, InstanceView]:
        """How the scheduler sees each instance that it was told of."""
        found = {one: self._residence.view(one) for one in self._residence.instances}
        return {model: view for model, view in found.items() if view is not None}

    def devices(self) -> Sequence[DeviceView]:
        """How the memory of each device is used."""
        return self._scheduler.devices()

    @property
    def changes(self) -> Changes:
        """Rings when the state of an instance may have changed."""
        return self._residence.changes

    def kept(self) -> ConversationCounts | None:
        """What is kept of conversations, and what happened to them since the start; None where none are kept."""
        return None if self._conversations is None else self._conversations.counts()

    def pin(self, model: str, *, pinned: bool | None) -> None:
        """Have an instance stay in memory (True) or not (False), at once and until the next start; None: as configured.

        Raises:
            UnknownNameError: no instance serves `model`.
        """
        self._residence.pin(self.instance(model).model, pinned)

    def pins(self) -> dict[str, bool]:
        """The instances that were pinned or unpinned by hand since the start."""
        return dict(self._residence.pins)

    def observe(self, observer: Observer | None) -> None:
        """Have what the scheduler decides seen from now on; None: by nobody."""
        self._dispatcher.observer = observer

    def outlook(self, model: str) -> Text:
        """What a request for `model` waits for now, in words."""
        return outlook_of(model, self._residence.view(model))

    def tell(self, model: str, kind: str, message: Text) -> None:
        """Record an event of the instance of `model`."""
        if self._events is not None:
            self._events.add(model, kind, message)

    # --- places -------------------------------------------------------------------------------------------------------

    def lease(
        self, model: str, hint: bytes = b"", *, lora: str | None = None, standing: Standing = ORDINARY
    ) -> AbstractAsyncContextManager[Lease]:
        """Hold a place on the instance of `model`, waiting for its turn and for its engine.

        `hint` is what the engine will read, as bytes whose beginning is that of the prompt: it chooses the slot.
        `lora` is the LoRA adapter that the requests use, None for the plain model. A task may be given a place on
        another model: `Lease.model` says which.

        Raises:
            UnavailableError: too many wait already, or the engine cannot be made ready.
            NotSupportedError, UnknownNameError: the LoRA adapter cannot be used there.
        """
        return FirstLease(self.lease_group(model, 1, hint, lora=lora, standing=standing))

    @asynccontextmanager
    async def visit(self, model: str, *, standing: Standing = ORDINARY) -> AsyncIterator[Lease]:
        """Have the instance of `model` resident for calls that need no place: its prompts are rendered, say.

        Raises:
            AnsamblError: as `lease`.
        """
        async with self.lease_group(model, 0, standing=standing) as group:
            lease = group.leases[0]
            lease.calls = group.instance.conversations()
            yield lease

    def lease_group(
        self, model: str, count: int, hint: bytes = b"", *, lora: str | None = None, standing: Standing = ORDINARY
    ) -> AbstractAsyncContextManager[LeaseGroup]:
        """Hold `count` places at once, at most as many as the instance has; the first slot shares most with `hint`.

        Raises:
            UnavailableError: too many wait already, or the engine cannot be made ready.
            NotSupportedError, UnknownNameError: the LoRA adapter cannot be used there.
        """
        return HeldGroup(partial(self._hold, model, count, hint, lora, standing), self._let_go)

    async def _hold(self, model: str, count: int, hint: bytes, lora: str | None, standing: Standing) -> LeaseGroup:
        instance = self.instance(model)
        mark = owner_mark(standing.key)
        if lora is not None:
            # Before anything waits or is sent; in a thread, because the instance may have to be made for it.
            adapter = await asyncio.to_thread(instance.check_lora, lora)
            # An activated one leaves what stands before its invocation alone.
            mark += b"" if adapter.activated else lora_mark(lora)
        hint = mark + hint
        began = self._clock.monotonic()
        ask = Ask(model, standing.request_class, hint, count, standing.patience)
        grant = await self._granted(ask)
        granted, removals = self._clock.monotonic(), self._residence.removals[grant.model]

        def give_back(slot: int | None) -> None:
            used = None if count == 0 else self._clock.monotonic() - granted
            # The places of one that was taken out are not those of another of its name.
            if self._residence.removals[grant.model] == removals:
                self._dispatcher.release(grant.model, slot, used)

        slots: tuple[int | None, ...] = grant.slots or (None,) * max(1, count)
        leases = [
            Lease(grant.model, Endpoint(""), 0.0, prompt=hint, place=slot, mark=mark, swaps=grant.swaps)
            for slot in slots
        ]
        group = LeaseGroup(leases, self.instance(grant.model), give_back)
        try:
            endpoint = await group.begin_use(lora)
            calls, queued = group.instance.conversations(), self._clock.monotonic() - began
            for one in leases:
                one.endpoint, one.queued = endpoint, queued
                if calls is not None and one.place is not None:
                    one.slot, one.calls = one.place, calls
            for one in leases:
                await self._make_ready(one, group.instance, standing.key)
        except BaseException:
            self._let_go(group)
            raise
        return group

    def _let_go(self, group: LeaseGroup) -> None:
        group.release_all()
        for one in group.leases:
            self._judge(one)

    async def _granted(self, ask: Ask) -> Grant:
        """Ask the scheduler, which is told of the instance before; again as often as the instance ends meanwhile."""
        self._others.watch()
        while True:
            await self._residence.know(ask.model)
            grant = await self._dispatcher.granted(ask)
            if self._residence.serves(grant.model):
                return grant
            # Between the grant and now it was given up; to ask its engine would start it without memory for it.
            self._dispatcher.give_back(grant, ask)

    async def _ready_again(self, lease: Lease) -> Endpoint:
        """Where the engine of a lease answers after a failure. One that was given up is not started by its requests.

        Nobody keeps memory for it any more, or Ansambl is stopping.

        Raises:
            UnavailableError: it was given up, or cannot be made ready.
        """
        instance = self.instance(lease.model)
        if self._residence.serves(lease.model):
            return await instance.ensure_ready()
        reason = instance.status().message or text("it was stopped")
        raise UnavailableError(text("'{model}' is not available: {reason}", model=lease.model, reason=reason))

    async def _make_ready(self, lease: Lease, instance: Instance, key: str) -> None:
        """Nothing of another key stays in the slot, and what was saved of this conversation is restored into it."""
        try:
            clean = await self._separation.separate(lease, key)
        except ConnectionLostError:
            # Its engine has just died, and nothing of the request was sent; the next run of it holds nothing.
            lease.endpoint = await self._ready_again(lease)
            clean = await self._separation.separate(lease, key)
        if self._conversations is None or not clean or lease.slot is None:
            return
        holds = self._book(lease.model).held(lease.endpoint).get(lease.slot, b"")
        try:
            lease.restored = await self._conversations.bring_back(
                lease, instance.state_identity(), holds, instance.loras()
            )  # fmt: skip
        except (OSError, sqlite3.Error) as failure:
            # The disk of the data folder is full, say; what is not restored is read again.
            _log.warning("not_restored", model=lease.model, reason=str(failure))
        if lease.restored:
            self.counters.restored[lease.model] += 1
            self.note(lease)

    # --- requests -----------------------------------------------------------------------------------------------------

    def open(
        self, lease: Lease, path: str, body: Body, content_type: str = JSON
    ) -> AbstractAsyncContextManager[UpstreamAnswer]:  # fmt: skip
        """As `Carrier.open`."""
        return self._carrier.open(lease, path, body, content_type)

    async def call(self, lease: Lease, call: EngineCall) -> bytes:
        """As `Carrier.call`."""
        return await self._carrier.call(lease, call)

    def note(self, lease: Lease) -> None:
        """Note that the slot of `lease` holds its prompt, or soon will."""
        if lease.slot is not None:
            prompt = lease.prompt if lease.lora is None else with_adapter_tail(lease.prompt)
            self._book(lease.model).holds(lease.slot, prompt, lease.endpoint)

    def _judge(self, lease: Lease) -> None:
        """Whether the engine used what was restored for a lease, as far as it said."""
        if self._conversations is not None and lease.restored and lease.cached is not None:
            task = asyncio.create_task(self._conversations.proved(lease, lease.cached))
            self._judging.add(task)
            task.add_done_callback(self._judging.discard)

    def _book(self, model: str) -> SlotBook:
        book = self._books.get(model)
        if book is None:
            book = self._books[model] = SlotBook(
                lambda: self._scheduler.slots(model), is_plain,
                lambda engine, slots: self._separation.moved(model, engine, slots),
            )  # fmt: skip
        return book

    # --- what the owner asks for --------------------------------------------------------------------------------------

    async def adopt(self, models: Iterable[str]) -> None:
        """These instances run already, since an earlier Ansambl."""
        for model in models:
            try:
                await self._residence.adopt(model)
            except AnsamblError as error:
                _log.warning("not_adopted", model=model, reason=str(error))

    async def meet(self, model: str) -> None:
        """Have the scheduler know an instance before anybody asks for it: it may load one that is kept warm.

        Raises:
            AnsamblError: the instance cannot be made.
        """
        await self._residence.know(model)

    async def wake(self, model: str, *, standing: Standing = ORDINARY) -> None:
        """Have an instance resident, by a swap where that is needed.

        Raises:
            AnsamblError: it cannot be made ready.
        """
        async with self.visit(model, standing=standing):
            pass

    async def rest(self, model: str, level: int | None) -> None:
        """Drain an instance and let it sleep at `level`, or stop where it is None; return when it does.

        Raises:
            AnsamblError: it cannot sleep, or did not; it is not ours to stop.
        """
        if self.instance(model).status().attached:
            raise NotSupportedError(
                text("'{model}' is not Ansambl's to stop; whoever runs that server can do it.", model=model)
            )
        await self._residence.rest_now(model, level)

    async def sleep(self, model: str, level: int | None) -> None:
        """As `rest`, at the engine's first level where none is named.

        Raises:
            AnsamblError: it cannot sleep, or did not.
        """
        instance = self.instance(model)
        if not self._residence.knows(model):
            await instance.sleep(level)
            return
        levels = self._residence.levels(model)
        if not levels or (level is not None and level not in levels):
            # It says itself why it cannot.
            await instance.sleep(level)
            return
        await self.rest(model, levels[0] if level is None else level)

    async def replace(self, model: str, instance: Instance | None) -> None:
        """Put another instance in the place of that of `model`, none (None), or one where there was none.

        What runs is answered to its end first.
        """
        await self._residence.replace(model, instance)

    async def renew(self, model: str) -> None:
        """Look again at what the instance of `model` needs; its engine and its requests go on."""
        await self._residence.renew(model)

    def use(self, rules: Rules, totals: Memory, limits: Memory) -> None:
        """Go by other rules and other capacities from now on."""
        self._scheduler.rules = rules
        self._scheduler.ledger.resize(totals, limits)
        self._dispatcher.tell(lambda policy, now: policy.tick(now))

    async def stop(self, *, save_for: float = _LAST_SAVE) -> None:
        """Stop all instances at once and close the connections to engines."""
        self._others.end()
        await self.wishes.stop()
        self._dispatcher.close()
        await self._residence.stop(save_for=save_for)
        await self._upstream.close()
