"""Is an engine that owes answers still at work? Its health does not tell: that is answered by another thread of it.

A long prefill and a long answer that is not streamed look like a hang from outside, so silence alone proves nothing.
Its own counters are asked first. vLLM counts every step, and one that only computes waits for a lost process in a loop.
llama.cpp counts nothing while it reads a prompt, however long that takes (build 9743: 1,720 tokens in 29 s, and all
counters still), so one that computes, or reads its weights from the disk, is at work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from ansambl.domain.engine import ExitExplanation, ExitReason
from ansambl.domain.text import text
from ansambl.engines.shared.metrics import read_samples
from ansambl.foundation.clock import Clock
from ansambl.foundation.processes import Effort
from ansambl.runtime.engine.metering import fetch
from ansambl.runtime.engine.runs import Run
from ansambl.runtime.flight import Flight

_PATH = "/metrics"
_PATIENCE = 5.0
_COUNTERS = ("_total", "_sum", "_count")
_NOT_WORK = ("http_", "process_", "python_")
"""Counters that our own questions move."""
_STEPS = "vllm:iteration_tokens_total_count"
"""A counter that moves with every step, also in the middle of a prompt."""
_BUSY = 0.03
"""Processor seconds in each second that only work explains: to answer our questions takes a tenth of that, and on a
machine with too many programs an engine that works gets little more."""
_READS = 1e6
"""Bytes from the disk in each second that only work explains: weights that do not fit into the RAM."""
SPINNING = 5.0
"""Times the patience that an engine has which computes and counts no step: one step of it may be that long."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What can be seen of an engine at one time. `counters` is None where it told none."""

    time: float
    counters: Mapping[str, float] | None
    effort: Effort | None


def counters_of(page: str) -> Mapping[str, float] | None:
    """The counters of a metrics page that grow as the engine works; None where it has none."""
    found = {
        name: value
        for name, value in read_samples(page).items()
        if name.endswith(_COUNTERS) and not name.startswith(_NOT_WORK)
    }
    return found or None


def at_work(before: Sample, after: Sample) -> bool | None:
    """Whether it worked between two samples; None where it only computed, and would have counted its steps."""
    if before.counters is not None and after.counters is not None and before.counters != after.counters:
        return True
    if before.effort is None or after.effort is None:
        return False
    seconds = after.time - before.time
    cpu, read = after.effort.cpu - before.effort.cpu, after.effort.read - before.effort.read
    # A process of it that ended takes its time with it.
    if not (cpu < 0 or cpu > _BUSY * seconds or read > _READS * seconds):
        return False
    return None if after.counters is not None and _STEPS in after.counters else True


class HangWatch:
    """Finds out that one run of an engine hangs.

    Args:
        title: the engine's name for people.
        run: the run.
        flight: what it owes.
        silence: seconds of waiting without a sign of work after which it counts as hung.
        clock: time.
    """

    def __init__(self, title: str, run: Run, flight: Flight, silence: float, clock: Clock) -> None:
        self._title = title
        self._run = run
        self._flight = flight
        self._silence = silence
        self._clock = clock
        self._arrived = flight.arrived
        self._looked = clock.monotonic()
        self._quiet = 0.0
        self._last: Sample | None = None

    async def look(self) -> ExitExplanation | None:
        """Look at it; an explanation when it hangs."""
        now = self._clock.monotonic()
        passed, self._looked = now - self._looked, now
        if self._arrived != self._flight.arrived:
            self._forget()
        elif not self._flight.awaited:
            # Not forgotten: impatient clients that come and go must not hide that nobody is answered.
            self._last = None
        else:
            self._quiet += passed
            if await self._stands_still(now):
                return ExitExplanation(
                    ExitReason.CRASHED,
                    text("{engine} did not go on with its work for {seconds} s, and was ended", engine=self._title,
                         seconds=round(self._quiet)))  # fmt: skip
        return None

    async def _stands_still(self, now: float) -> bool:
        before = self._last
        if self._quiet < self._silence / 2 or (before is not None and now - before.time < self._silence / 4):
            return False
        sample = self._last = await self._sample()
        if before is None:
            return False
        worked = at_work(before, sample)
        if worked or self._arrived != self._flight.arrived:
            self._forget()
            return False
        return self._quiet >= self._silence * (SPINNING if worked is None else 1.0)

    def _forget(self) -> None:
        self._arrived, self._quiet, self._last = self._flight.arrived, 0.0, None

    async def _sample(self) -> Sample:
        page = await fetch(self._run.port, _PATH, key=self._run.secret, patience=min(_PATIENCE, self._silence / 4))
        effort = await asyncio.to_thread(self._run.process.effort)
        return Sample(self._clock.monotonic(), None if page is None else counters_of(page), effort)
