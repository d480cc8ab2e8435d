"""How ensembles reach engines: one request, or several at once that share the beginning of their prompts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from ansambl.dialects.openai_chat import ChatRequest, Delta, Usage
from ansambl.domain.errors import EngineError
from ansambl.domain.instance import Endpoint
from ansambl.domain.text import Text, text
from ansambl.roles.asking import ask_engine, ask_leased, count_prompt, has_media, hint_of
from ansambl.roles.ensembles.events import Sharing, Together
from ansambl.runtime.carrying import Lease
from ansambl.runtime.cloning import NoRoomError, StateCopies, common_tokens, tokens_of
from ansambl.runtime.coordinator import Coordinator
from ansambl.runtime.leasing import LeaseGroup
from ansambl.runtime.upstream import ConnectionLostError

WORTH_COPYING = 128
"""Tokens in common from which a copy pays.

The calls for it took about 0.1 s for 861 tokens (render and tokenise 3 ms a request, save 50 ms, restore 4 ms a slot;
xllamacpp 2026.10.11549 on two CPU cores). Three prefills of 128 tokens take 1.1 s on that processor, and as long as the
calls on an engine that reads 4,000 tokens a second.
"""

_NOTHING_SHARED = text(
    "their prompts share fewer than {count} tokens: copying those would not pay", count=WORTH_COPYING
)
_ONE_PLACE = text("the engine has one place: each goes through it after the one before, on what that left there")
_COPIES_FAIL = text("this engine does not keep what is copied into a slot: one after another")


_OTHER_LORAS = text("they answer with different LoRA adapters: what one has read is of no use for another")


@dataclass(slots=True)
class _RunFacts:
    """What was learned about copies in one run of an engine."""

    engine: Endpoint
    bytes_per_token: float | None = None
    trouble: Text | None = None


@dataclass(slots=True)
class _Copied:
    """Requests over copies of one slot.

    `fresh` are the places whose slots hold the shared beginning and nothing else, `used` those that another request was
    answered in; `to_come` are the streams that have no place yet, `to_restore` those that need the file once more.
    """

    group: LeaseGroup
    copies: StateCopies
    prefix: int
    facts: _RunFacts
    to_come: int
    to_restore: int
    fresh: list[Lease]
    used: asyncio.Queue[Lease] = field(default_factory=asyncio.Queue)

    async def take(self) -> Lease:
        """A place whose slot holds the shared beginning, when there is one."""
        if self.fresh:
            self.to_come -= 1
            return self.fresh.pop()
        try:
            lease = await self.used.get()
        finally:
            self.to_come -= 1
        try:
            await self.copies.restore(lease)
        except BaseException:
            self.give_back(lease)
            raise
        finally:
            self.to_restore -= 1
            await self.remove_when_done()
        return lease

    def give_back(self, lease: Lease) -> None:
        """Hand a place on to a stream that has none yet, else to others."""
        if self.to_come > len(self.fresh) + self.used.qsize():
            self.used.put_nowait(lease)
        else:
            self.group.release(lease)

    async def remove_when_done(self) -> None:
        """Remove the file when nobody needs it."""
        if self.to_restore <= 0:
            await self.copies.remove()


class SharedEngines:
    """The `Engines` of one coordinator.

    What the streams of `ask_together` promise their reader: nothing of a request is sent before its stream is first
    read, so read all of them at the same time, each in a task of its own. Where they take turns, or wait until the
    shared beginning was read, the turn goes to the stream that was read first and ends with its end, its failure or its
    ``aclose``; one that is never read holds nobody up. There may be more streams than the engine has slots: those that
    are read later wait. End the tasks that read before leaving the context; leaving it closes all streams, and with
    them the engine's connections, and frees every slot.
    """

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._runs: dict[str, _RunFacts] = {}

    def ask(self, model: str, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        """As `Engines.ask`."""
        return ask_engine(self._coordinator, model, request)

    async def count_prompt(self, model: str, request: ChatRequest) -> int | None:
        """As `roles.asking.count_prompt`."""
        return await count_prompt(self._coordinator, model, request)

    @asynccontextmanager
    async def ask_together(self, model: str, requests: Sequence[ChatRequest]) -> AsyncIterator[Together]:
        """As `Engines.ask_together`."""
        async with AsyncExitStack() as stack:
            together = await self._together(stack, model, requests)
            try:
                yield together
            finally:
                for one in together.streams:
                    # One that a task still waits for cannot be closed here; it ends with its task.
                    with suppress(RuntimeError):
                        await one.aclose()

    async def _together(self, stack: AsyncExitStack, model: str, requests: Sequence[ChatRequest]) -> Together:
        if len(requests) < 2:
            return self._at_once(model, requests, text("there is one request"))
        if len({one.lora for one in requests}) > 1:
            return self._in_turn(model, requests, _OTHER_LORAS)
        if self._coordinator.places(model) == 1:
            return self._in_turn(model, requests, _ONE_PLACE)
        if self._coordinator.instance(model).conversations() is None:
            return self._without_slots(model, requests)
        group = await stack.enter_async_context(
            self._coordinator.lease_group(
                model, len(requests), hint_of(requests[0]), lora=requests[0].lora, standing=requests[0].standing
            )
        )
        first = group.leases[0]
        facts = self._facts(model, first.endpoint)
        reason: Text | None = facts.trouble
        if first.calls is None or not first.calls.can_copy or first.endpoint.state_folder is None:
            reason = text("the engine was not told a folder for copies of its slots: one after another")
        elif any(map(has_media, requests)):
            reason = text("an engine cannot copy what it has seen of images: one after another")
        if reason is not None:
            group.release_all()
            return self._in_turn(model, requests, reason)
        return await self._copied(stack, group, facts, requests)

    def _without_slots(self, model: str, requests: Sequence[ChatRequest]) -> Together:
        """Engines whose slots are not ours to choose."""
        if self._coordinator.instance(model).shares_prefixes() is False:
            return self._in_turn(
                model, requests, text("the engine shares nothing among requests at once: one after another")
            )
        started = asyncio.Event()
        leading = asyncio.Lock()
        streams = tuple(self._after_the_first(model, one, leading, started) for one in requests)
        return Together(
            streams, Sharing.CACHED,
            text("the engine keeps the beginnings of prompts: the others follow when the first was read"),
        )  # fmt: skip

    # --- the ways -----------------------------------------------------------------------------------------------------

    def _at_once(
        self, model: str, requests: Sequence[ChatRequest], reason: Text, usage: Usage | None = None
    ) -> Together:
        return Together(tuple(self.ask(model, one) for one in requests), Sharing.NONE, reason, usage)

    def _in_turn(
        self, model: str, requests: Sequence[ChatRequest], reason: Text, usage: Usage | None = None
    ) -> Together:
        turn = asyncio.Lock()
        streams = tuple(self._one_turn(model, one, turn) for one in requests)
        return Together(streams, Sharing.IN_TURN, reason, usage)

    async def _one_turn(self, model: str, request: ChatRequest, turn: asyncio.Lock) -> AsyncGenerator[Delta, None]:
        async with turn, aclosing(self.ask(model, request)) as deltas:
            async for delta in deltas:
                yield delta

    async def _after_the_first(
        self, model: str, request: ChatRequest, leading: asyncio.Lock, started: asyncio.Event
    ) -> AsyncGenerator[Delta, None]:
        """Lead when nobody does and nothing was read yet; the lock is the lead, handed on when a leader fails."""
        if not started.is_set():
            await leading.acquire()
            if started.is_set():
                leading.release()
        lead = not started.is_set()
        try:
            async with aclosing(self.ask(model, request)) as deltas:
                async for delta in deltas:
                    if lead:
                        lead = False
                        started.set()
                        leading.release()
                    yield delta
        finally:
            if lead:
                leading.release()

    async def _copied(
        self, stack: AsyncExitStack, group: LeaseGroup, facts: _RunFacts, requests: Sequence[ChatRequest]
    ) -> Together:
        first, model, coordinator = group.leases[0], group.leases[0].model, self._coordinator
        usage: Usage | None = None
        try:
            prompts = await _gathered(tokens_of(coordinator, first, one.fields) for one in requests)
            prefix = common_tokens(prompts)
            if prefix < WORTH_COPYING:
                group.release_all()
                return self._at_once(model, requests, _NOTHING_SHARED)
            copies = StateCopies(coordinator, first, prompts[0][:prefix], bytes_per_token=facts.bytes_per_token)
            stack.push_async_callback(copies.remove)
            done = await copies.prefill()
            usage = Usage(done.tokens, 0, done.cached)
            await copies.save()
            facts.bytes_per_token = copies.bytes_per_token
            await _gathered(copies.restore(one) for one in group.leases[1:])
        except EngineError as failure:
            group.release_all()
            # An engine that died tells nothing about copies, and the first request starts it again.
            if usage is not None and not isinstance(failure, (NoRoomError, ConnectionLostError)):
                self._give_up_copies(model, facts, failure.message)
            reason = text("no copy of what they share could be made ({reason}): one after another",
                          reason=failure.message)  # fmt: skip
            return self._in_turn(model, requests, reason, usage)
        copied = _Copied(
            group, copies, prefix, facts, to_come=len(requests), to_restore=len(requests) - len(group.leases),
            fresh=list(group.leases),
        )  # fmt: skip
        await copied.remove_when_done()
        streams = tuple(self._in_a_copy(copied, one) for one in requests)
        reason = text("{count} tokens were read once and copied into {slots} slots", count=prefix,
                      slots=len(group.leases))  # fmt: skip
        return Together(streams, Sharing.CLONED, reason, usage)

    async def _in_a_copy(self, copied: _Copied, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        lease = await copied.take()
        try:
            lease.hold(hint_of(request))
            async with aclosing(ask_leased(self._coordinator, lease, request)) as deltas:
                async for delta in deltas:
                    self._check(copied, lease, delta)
                    yield delta
        finally:
            copied.give_back(lease)

    # --- what is learned ----------------------------------------------------------------------------------------------

    def _facts(self, model: str, engine: Endpoint) -> _RunFacts:
        found = self._runs.get(model)
        if found is None or found.engine != engine:
            found = self._runs[model] = _RunFacts(engine)
        return found

    def _check(self, copied: _Copied, lease: Lease, delta: Delta) -> None:
        cached = delta.usage.cached_tokens if delta.usage is not None else None
        if cached is not None and cached < copied.prefix and lease is not copied.group.leases[0]:
            reason = text("of {count} tokens that were copied into a slot it kept {cached}", count=copied.prefix,
                          cached=cached)  # fmt: skip
            self._give_up_copies(lease.model, copied.facts, reason)

    def _give_up_copies(self, model: str, facts: _RunFacts, reason: Text) -> None:
        """Say once for this run of the engine that copies do not work there."""
        if facts.trouble is None:
            facts.trouble = _COPIES_FAIL
            self._coordinator.tell(
                model, "no_copies",
                text("copies of slots do not work here ({reason}); roles answer one after another", reason=reason),
            )  # fmt: skip


async def _gathered(works: Iterable[Any]) -> list[Any]:
    """Do all at once; the first failure cancels the others and is raised itself."""
    tasks = [asyncio.ensure_future(one) for one in works]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
