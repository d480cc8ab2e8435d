"""When a dead engine is started again, and when it is given up."""

from __future__ import annotations

from ansambl.domain.engine import ExitExplanation

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0
RAN_WELL = 60.0
"""Seconds that an engine must have been ready for its earlier failures to be forgotten."""
QUICK_FAILURES = 5
_PAUSE_AFTER_GIVING_UP = 5.0


class RestartPolicy:
    """Counts failures of one engine. Pure: times are given to it."""

    def __init__(self) -> None:
        self._failures = 0
        self._not_before = float("-inf")

    def after_end(self, explanation: ExitExplanation, ready_seconds: float) -> float | None:
        """The engine ended unasked after having been ready for `ready_seconds`: seconds to pause before the next start.

        None means: give it up for now.
        """
        if ready_seconds >= RAN_WELL:
            self._failures = 0
        self._failures += 1
        if not explanation.restart_helps or self._failures >= QUICK_FAILURES:
            return None
        return self._pause()

    def answered(self) -> None:
        """It began to answer a request: it can start and work, so earlier failures count no longer."""
        self._failures = 0

    def give_up(self, now: float) -> None:
        """It was given up at `now`: until the pause is over it is not tried again."""
        self._not_before = now + max(_PAUSE_AFTER_GIVING_UP, self._pause())

    def wait_left(self, now: float) -> float:
        """Seconds until it may be tried again; 0 when it may be now."""
        return max(0.0, self._not_before - now)

    def _pause(self) -> float:
        return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(max(0, self._failures - 1), 20)))
