"""Looking at one run of an engine: is it ready, does it still answer, what does its log say?"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from ansambl.domain.engine import ExitExplanation, ExitReason
from ansambl.domain.text import text
from ansambl.engines.adapter import EngineAdapter
from ansambl.foundation.clock import Clock
from ansambl.runtime import readiness
from ansambl.runtime.engine.runs import Run
from ansambl.runtime.engine.waiting import cancel, first_of

_CHECK_PATIENCE = 20.0
"""Seconds that a suspected engine, still alive, has to answer its probe before it is ended."""
_CHECK_PAUSE = 0.1
_PROBE_EVERY = 30.0
"""Seconds between two looks at whether a ready engine still answers its probe, which no generation holds up."""

_Result = TypeVar("_Result")


class EngineWatch:
    """Watches `run` until it ended (`ended`) or is to be stopped (`stopping`)."""

    def __init__(
        self, adapter: EngineAdapter, run: Run, ended: asyncio.Task[int | None], *, stopping: asyncio.Event,
        clock: Clock,
    ) -> None:  # fmt: skip
        self.run = run
        self.ended = ended
        self._adapter = adapter
        self.stopping = stopping
        self._clock = clock
        self._probed = clock.monotonic()

    def over(self) -> bool:
        """Whether there is nothing to watch any more."""
        return self.ended.done() or self.stopping.is_set()

    async def unless_over(self, work: Coroutine[Any, Any, _Result]) -> _Result | None:
        """What `work` returns or raises; None, and it is broken off, when there is nothing to watch any more.

        Calls to an engine may take minutes, and a stop waits for none of them.
        """
        task = asyncio.create_task(work)
        try:
            await first_of(asyncio.shield(task), asyncio.shield(self.ended), self.stopping.wait())
            return None if self.over() else task.result()
        finally:
            await cancel(task)

    async def until_ready(self) -> ExitExplanation | None:
        """Wait until the engine is ready, or `over`; an explanation when its patience is over."""
        run, probe = self.run, self._adapter.probe
        ready = asyncio.create_task(readiness.wait_until_ready(probe, run.port, key=run.secret, clock=self._clock))
        try:
            await first_of(asyncio.shield(ready), asyncio.shield(self.ended), self.stopping.wait())
            if self.over() or ready.result():
                return None
            return ExitExplanation(
                ExitReason.UNKNOWN,
                text("{engine} was not ready after {seconds} s and was ended; see its log",
                     engine=self._adapter.traits.title, seconds=round(probe.patience)),
                restart_helps=False)  # fmt: skip
        finally:
            await cancel(ready)

    def due(self) -> bool:
        """Whether it is time to probe it unasked.

        An engine that hangs keeps its connections open, so no request would ever make it suspected.
        """
        return self._clock.monotonic() - self._probed >= _PROBE_EVERY

    async def still_answers(self) -> ExitExplanation | None:
        """Probe it; an explanation when it runs and does not answer any more."""
        self._probed = self._clock.monotonic()
        if await self._answers() or self.over():
            return None
        return ExitExplanation(
            ExitReason.CRASHED,
            text("{engine} still ran but did not answer any more, and was ended",
                 engine=self._adapter.traits.title))  # fmt: skip

    async def _answers(self) -> bool:
        """Whether it answers its probe. A dying one closes its connections before its process ends."""
        run, probe, end = self.run, self._adapter.probe, self._clock.monotonic() + _CHECK_PATIENCE
        while self._clock.monotonic() < end:
            if await readiness.ask(run.port, probe.path, key=run.secret) == probe.status and run.process.alive():
                return True
            await first_of(asyncio.shield(self.ended), self.stopping.wait(), self._clock.sleep(_CHECK_PAUSE))
            if self.over():
                return False
        return False
