"""How fast a running engine really is, and the most RAM that it held: read from its own counters, off the request path.

Only single streams are counted, since that is what a forecast is about: looks at which several requests were worked on,
and work that took more time than went by, are left out.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TypeAlias

from ansambl.domain.engine import EngineMetrics
from ansambl.domain.measurement import Speeds
from ansambl.domain.plan import Placement
from ansambl.domain.units import Bytes
from ansambl.engines.adapter import EngineAdapter
from ansambl.foundation.clock import Clock
from ansambl.runtime.engine.runs import Run

OnWork: TypeAlias = Callable[[Placement, Speeds], None]
"""Told what a run did since the last time; it must return at once and raise nothing."""

LOOK_EVERY = 10.0
"""Seconds between two looks at an engine's counters."""
LEAST_DECODED, LEAST_PREFILLED = 16, 256
"""Tokens in one window; of less, the start of a request is measured and not its speed."""

_PATH = "/metrics"
_PATIENCE, _LAST_PATIENCE = 5.0, 0.5
_LARGEST_PAGE = 4 << 20
_GIVE_UP = 3
"""Looks in vain after which an engine has no counters to look at; the RAM that it holds is looked at all the same."""
_OVERLAP = 1.05
"""Busy seconds beyond those that went by, as a share, that rounding explains."""
_PEAK_GREW = 1.01


def work_between(before: EngineMetrics, after: EngineMetrics, elapsed: float) -> Speeds | None:
    """The work of single streams between two pages that were read `elapsed` seconds apart; None when none is sure."""
    decoded, decode_seconds = (
        _grown(before.decoded_tokens, after.decoded_tokens),
        _grown(before.decode_seconds, after.decode_seconds),
    )
    prefilled, prefill_seconds = (
        _grown(before.prefilled_tokens, after.prefilled_tokens),
        _grown(before.prefill_seconds, after.prefill_seconds),
    )
    if not decode_seconds + prefill_seconds or decode_seconds + prefill_seconds > elapsed * _OVERLAP:
        return None
    if decoded < LEAST_DECODED or not decode_seconds:
        decoded = decode_seconds = 0.0
    if prefilled < LEAST_PREFILLED or not prefill_seconds:
        prefilled = prefill_seconds = 0.0
    if not decoded and not prefilled:
        return None
    return Speeds(decoded, decode_seconds, prefilled, prefill_seconds, samples=1)


def _grown(before: float | None, after: float | None) -> float:
    return max(0.0, after - before) if before is not None and after is not None else 0.0


class Meter:
    """Looks at one run of an engine, and keeps there what it said of itself.

    Args:
        adapter: reads its page.
        run: the run.
        tell: is told what it did; None looks at nothing.
        clock: time.
    """

    def __init__(self, adapter: EngineAdapter, run: Run, tell: OnWork | None, clock: Clock) -> None:
        self._adapter = adapter
        self._run = run
        self._tell = tell
        self._clock = clock
        self._last: tuple[EngineMetrics, float] | None = None
        self._looked: float | None = None
        self._several = False
        self._vain = 0
        self._peak = 0

    async def look(self, resident: Bytes | None, *, last: bool = False) -> None:
        """Look when it is time, or for the `last` time before a stop; `resident` is the RAM that its processes hold."""
        time = self._clock.monotonic()
        due = self._looked is None or time - self._looked >= LOOK_EVERY
        if self._tell is None or not (due or last) or not self._run.process.alive():
            return
        self._looked = time
        page = None
        if self._vain < _GIVE_UP:
            # A stop waits for nothing that takes long.
            patience = _LAST_PATIENCE if last else _PATIENCE
            page = await fetch(self._run.port, _PATH, key=self._run.secret, patience=patience)
        if page is None:
            self._vain += 1
            work = None
        else:
            self._vain = 0
            self._run.metrics = self._adapter.read_metrics(page)
            work = self._take(self._run.metrics, time)
        peak = Bytes(max(self._peak, resident or 0))
        if work is not None or peak > self._peak * _PEAK_GREW:
            self._peak = peak
            self._tell(self._run.placement, Speeds(peak=peak or None) + (work or Speeds()))

    def _take(self, metrics: EngineMetrics, time: float) -> Speeds | None:
        busy = (metrics.requests_running or 0) + (metrics.requests_waiting or 0)
        self._several |= busy > 1
        if self._last is None:
            self._last = metrics, time
            return None
        before, since = self._last
        if busy and _counters(before) == _counters(metrics):
            # Engines count a request when it is done: the window stays open until then.
            return None
        found = None if self._several else work_between(before, metrics, time - since)
        self._last, self._several = (metrics, time), busy > 1
        return found


def _counters(metrics: EngineMetrics) -> tuple[float | None, ...]:
    return metrics.decoded_tokens, metrics.decode_seconds, metrics.prefilled_tokens, metrics.prefill_seconds


async def fetch(
    port: int, path: str, *, key: str | None = None, host: str = "127.0.0.1", patience: float = _PATIENCE
) -> str | None:
    """The page that GET `path` answers with status 200; None for any other, or none within `patience` seconds."""
    with contextlib.suppress(OSError, ValueError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                authorization = f"Authorization: Bearer {key}\r\n" if key else ""
                # Version 1.0 has no chunks: the page ends with the connection.
                writer.write(
                    f"GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\n{authorization}Accept: */*\r\n\r\n".encode(
                        "latin-1"
                    )
                )
                await writer.drain()
                status, *_ = (await reader.readuntil(b"\n")).split(None, 2)[1:]
                await reader.readuntil(b"\r\n\r\n")
                page = await _rest(reader)
                return page.decode("utf-8", "replace") if int(status) == 200 else None
            finally:
                writer.close()
    return None


async def _rest(reader: asyncio.StreamReader) -> bytes:
    page = b""
    while len(page) < _LARGEST_PAGE:
        more = await reader.read(1 << 16)
        if not more:
            break
        page += more
    return page
