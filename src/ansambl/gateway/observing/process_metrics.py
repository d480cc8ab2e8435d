"""How Ansambl's own process is: how late its event loop is, what it uses, which version it is."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Iterator
from time import perf_counter

from prometheus_client.core import InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from ansambl import __version__
from ansambl.gateway.observing.request_metrics import plain_spread
from ansambl.runtime.counters import Spread

LOOK_EVERY = 1.0
"""Seconds between two looks at the event loop; a look takes some ten microseconds."""
_LAGS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class LoopLag(Collector):
    """How much later than it asked for a task gets its turn: every answer waits that long for each of its steps."""

    def __init__(self) -> None:
        self._lags = Spread(_LAGS)

    async def keep_looking(self) -> None:
        """Look until it is cancelled."""
        while True:
            asked = perf_counter()
            await asyncio.sleep(LOOK_EVERY)
            self._lags.add(max(perf_counter() - asked - LOOK_EVERY, 0.0))

    def collect(self) -> Iterator[Metric]:
        """The families, for the page."""
        yield plain_spread(
            "ansambl_event_loop_lag_seconds", "How late the event loop gives a task its turn, looked at once a second",
            self._lags,
        )  # fmt: skip


class Build(Collector):
    """Which Ansambl this is."""

    def collect(self) -> Iterator[Metric]:
        """The families, for the page."""
        yield InfoMetricFamily(
            "ansambl_build", "Which Ansambl runs, on which Python",
            value={"version": __version__, "python": platform.python_version()},
        )  # fmt: skip
