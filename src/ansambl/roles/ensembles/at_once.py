"""Several members that answer at the same time, shown one after another.

All parts that run on one model are asked together, so that they share the beginning of their prompts; different models
and nested ensembles work side by side. The first part is shown as it speaks; what the others say meanwhile is held and
shown when the one before has ended.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Any

from ansambl.dialects.openai_chat import Delta
from ansambl.domain.errors import AnsamblError
from ansambl.domain.role import Ensemble
from ansambl.roles.ensembles.answering import call_of, failure_of, inside, speech, title
from ansambl.roles.ensembles.calls import Call
from ansambl.roles.ensembles.events import BranchState, EnsembleEvent, Shared, Sharing, Together
from ansambl.roles.ensembles.work import Part, Work
from ansambl.roles.service import Prepared


class _Channel:
    """What one part has said and nobody has taken yet. One task puts, one takes."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self._held: deque[EnsembleEvent] = deque()
        self._ended = False
        self._news = asyncio.Event()

    def put(self, event: EnsembleEvent) -> None:
        self._held.append(event)
        self._news.set()

    def end(self) -> None:
        self._ended = True
        self._news.set()

    async def take(self) -> EnsembleEvent | None:
        """The next event; None at the end."""
        while not self._held:
            if self._ended:
                return None
            self._news.clear()
            await self._news.wait()
        return self._held.popleft()


async def answer_at_once(work: Work, parts: Sequence[Part], *, deadline: float) -> AsyncGenerator[EnsembleEvent, None]:
    """Let all `parts` answer at the same time; afterwards each has its outcome. Closing it ends all of them at once.

    A part that fails is reported where its words would have stood. A part whose limit is 0, or whose time is over
    before it begins, is skipped.
    """
    channels = [_Channel(part) for part in parts]
    asked = []
    for channel in channels:
        if channel.part.limit < 1 or work.budget.clock() >= deadline:
            work.skipped(channel.part)
            channel.end()
        else:
            asked.append(channel)
    tasks = [asyncio.create_task(one) for one in _works(work, asked, deadline)]
    try:
        for channel in channels:
            async with aclosing(_shown(work, channel)) as events:
                async for event in events:
                    yield event
        # Whatever else went wrong in a task is raised here.
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _shown(work: Work, channel: _Channel) -> AsyncGenerator[EnsembleEvent, None]:
    part = channel.part
    if part.outcome is None or part.outcome.state is not BranchState.SKIPPED:
        yield title(work, part)
    while (event := await channel.take()) is not None:
        yield event
    work.keep(part)
    failure = failure_of(part)
    if failure is not None:
        yield failure


def _works(work: Work, channels: Sequence[_Channel], deadline: float) -> list[Coroutine[Any, Any, None]]:
    groups: dict[tuple[str | None, str | None], list[_Channel]] = {}
    nested = []
    for channel in channels:
        member = channel.part.member
        if isinstance(member, Ensemble):
            nested.append(_run_inside(work, channel, deadline))
        else:
            groups.setdefault((work.service.catalog.model_of(member), member.lora), []).append(channel)
    return [*(_group(work, group, deadline) for group in groups.values()), *nested]


async def _run_inside(work: Work, channel: _Channel, deadline: float) -> None:
    try:
        async with aclosing(inside(work, channel.part, deadline=deadline)) as events:
            async for event in events:
                channel.put(event)
    finally:
        channel.end()


async def _group(work: Work, channels: Sequence[_Channel], deadline: float) -> None:
    """Ask one model for all its parts."""
    try:
        ready: list[tuple[_Channel, Prepared]] = []
        for channel in channels:
            try:
                ready.append((channel, await work.prepare(channel.part)))
            except AnsamblError as error:
                work.failed(channel.part, error)
                channel.end()
        if not ready:
            return
        calls = [call_of(work, channel.part, prepared) for channel, prepared in ready]
        async with AsyncExitStack() as stack:
            together = await _entered(work, stack, ready, deadline)
            if together is None:
                return
            async with asyncio.TaskGroup() as group:
                for (channel, prepared), call, stream in zip(ready, calls, together.streams, strict=True):
                    waits = together.sharing is Sharing.IN_TURN
                    group.create_task(_read(work, channel, call, stream, prepared, deadline, waits=waits))
    finally:
        for channel in channels:
            channel.end()


async def _entered(
    work: Work, stack: AsyncExitStack, ready: Sequence[tuple[_Channel, Prepared]], deadline: float
) -> Together | None:
    parts = [channel.part for channel, _ in ready]
    model = ready[0][1].model
    asking = work.engines.ask_together(model, [prepared.request for _, prepared in ready])
    try:
        # Around the entering alone: the limit of an answer is kept where it is read.
        async with asyncio.timeout(deadline - work.budget.clock()):
            together = await stack.enter_async_context(asking)
    except TimeoutError:
        for part in parts:
            work.skipped(part)
        return None
    except AnsamblError as error:
        for part in parts:
            work.failed(part, error)
        return None
    work.count(together.usage)
    # One request alone has nothing to share, and nothing to say about it.
    if len(parts) > 1:
        parts[0].sharing = (Shared(model, len(parts), together.sharing, together.reason, together.usage),)
    return together


async def _read(
    work: Work,
    channel: _Channel,
    call: Call,
    stream: AsyncGenerator[Delta, None],
    prepared: Prepared,
    deadline: float,
    *,
    waits: bool,
) -> None:
    try:
        events = speech(work, channel.part, call, stream, prepared, deadline=deadline, waits=waits)
        async with aclosing(events) as spoken:
            async for event in spoken:
                channel.put(event)
    finally:
        channel.end()
