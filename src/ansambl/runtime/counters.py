"""What the runtime counts since its start: loads, rests, grants, refusals, conversations. Read by ``/metrics``."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from ansambl.domain.scheduling import RequestClass
from ansambl.runtime.scheduling.records import Refusal

WAITS = (0.001, 0.01, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 900, 1800)
"""Upper ends of the buckets for waits, in seconds."""
LOADS = (0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1200)
"""Upper ends of the buckets for loads, in seconds."""


class Spread:
    """Counts of seconds by bucket, as Prometheus' histograms have them. Adding one takes less than a microsecond."""

    __slots__ = ("bounds", "buckets", "count", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.buckets = [0] * (len(bounds) + 1)
        self.count = 0
        self.total = 0.0

    def add(self, seconds: float, times: int = 1) -> None:
        """Count one, or several that took the same."""
        self.buckets[bisect_left(self.bounds, seconds)] += times
        self.count += times
        self.total += seconds * times

    def cumulative(self) -> list[tuple[str, float]]:
        """Counts at or below each bound, with the bound as Prometheus writes it."""
        found, so_far = [], 0
        for bound, count in zip((*self.bounds, None), self.buckets, strict=True):
            so_far += count
            found.append(("+Inf" if bound is None else str(float(bound)), float(so_far)))
        return found


def _by_model(bounds: tuple[float, ...]) -> Callable[[], defaultdict[str, Spread]]:
    return lambda: defaultdict(lambda: Spread(bounds))


@dataclass(slots=True)
class RuntimeCounters:
    """Counted on one event loop, by whoever performs the scheduler's effects; never reset.

    A swap is a load for which another instance had to rest first; `swaps` counts it for the model that was loaded.
    `load_seconds` spreads and counts what starts took by model, `wake_seconds` what waking took. `sleeps` and `stops`
    count rests by model, whatever they were for. `last_load` is what the newest start or waking of each took. `tasks`
    counts the tasks that each model answered. `saved` and `restored` count the conversations of each model whose state
    was written to disk and read back.
    """

    swaps: Counter[str] = field(default_factory=Counter)
    load_failures: Counter[str] = field(default_factory=Counter)
    sleeps: Counter[str] = field(default_factory=Counter)
    stops: Counter[str] = field(default_factory=Counter)
    load_seconds: defaultdict[str, Spread] = field(default_factory=_by_model(LOADS))
    wake_seconds: defaultdict[str, Spread] = field(default_factory=_by_model(LOADS))
    last_load: dict[str, float] = field(default_factory=dict)
    granted: Counter[RequestClass] = field(default_factory=Counter)
    refused: Counter[tuple[RequestClass, Refusal]] = field(default_factory=Counter)
    waited: dict[RequestClass, Spread] = field(
        default_factory=lambda: {one: Spread(WAITS) for one in RequestClass}
    )  # fmt: skip
    tasks: Counter[str] = field(default_factory=Counter)
    saved: Counter[str] = field(default_factory=Counter)
    restored: Counter[str] = field(default_factory=Counter)

    def loaded(self, model: str, seconds: float | None, *, woke: bool = False) -> None:
        """An instance became ready; `seconds` is what that took, None for one that ran already (adopted)."""
        if seconds is not None:
            (self.wake_seconds if woke else self.load_seconds)[model].add(seconds)
            self.last_load[model] = seconds

    def swapped(self, model: str) -> None:
        """Other instances were told to rest so that `model` can be loaded; tell it once for each such load."""
        self.swaps[model] += 1

    def rested(self, model: str, level: int | None) -> None:
        """An instance sleeps at `level`, or was stopped (None)."""
        (self.stops if level is None else self.sleeps)[model] += 1

    def grant(self, request_class: RequestClass, waited: float, model: str = "") -> None:
        """A request got its place after `waited` seconds; `model` counts for a task, which any may answer."""
        self.granted[request_class] += 1
        self.waited[request_class].add(waited)
        if request_class is RequestClass.TASK:
            self.tasks[model] += 1

    def refuse(self, request_class: RequestClass, refusal: Refusal) -> None:
        """A request got no place."""
        self.refused[request_class, refusal] += 1

    def conversations(self) -> dict[str, tuple[int, int]]:
        """By model, how many conversations were saved and restored."""
        return {model: (self.saved[model], self.restored[model]) for model in {*self.saved, *self.restored}}
