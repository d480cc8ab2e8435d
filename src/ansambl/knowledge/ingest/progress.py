"""How far long work is, told a few times a second at most."""

from __future__ import annotations

from collections.abc import Callable

from ansambl.knowledge.contract import Progress, Watch

_PAUSE = 0.25


class Telling:
    """Tells `watch` of one stage: what is `done` of `total`, with a rate of this run, or one known beforehand."""

    def __init__(
        self, watch: Watch | None, stage: str, unit: str, total: int | None, monotonic: Callable[[], float],
        known_rate: float | None = None,
    ) -> None:  # fmt: skip
        self._watch, self._stage, self._unit, self.total = watch, stage, unit, total
        self._monotonic, self._known_rate = monotonic, known_rate
        self._began = monotonic()
        self._told = float("-inf")
        self.done = 0
        self._worked = 0

    def step(self, count: int = 1, *, current: str = "", note: str = "", worked: bool = True) -> None:
        """So many are done. `worked` is False for those that cost nothing: they would flatter the rate."""
        self.done += count
        self._worked += count if worked else 0
        self.tell(current=current, note=note)

    def tell(self, *, current: str = "", note: str = "", now: bool = False) -> None:
        """Tell it, unless that was done a moment ago; `now` tells it in any case."""
        if self._watch is None:
            return
        moment = self._monotonic()
        if not now and not note and moment - self._told < _PAUSE:
            return
        self._told = moment
        past = moment - self._began
        rate = self._worked / past if past > 0.5 and self._worked else self._known_rate
        left = (self.total - self.done) / rate if self.total is not None and rate else None
        done = self.done if self.total is None else min(self.done, self.total)
        self._watch(Progress(self._stage, done, self.total, self._unit, rate, left, current, note))
