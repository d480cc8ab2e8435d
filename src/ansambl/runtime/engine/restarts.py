"""When a dead engine is started again, and when it is given up: the circuit breaker of one instance.

Closed, while the engine works: each failure in a row makes the pause before the next start longer. Open, after too many
of them, or at once where a restart cannot help: requests are refused until a pause is over (`wait_left`). Half-open
after it: the next request causes one start, which all others share; when that fails too, it is open again for longer,
and the first answer closes it.
"""

from __future__ import annotations

from ansambl.domain.engine import ExitExplanation, ExitReason

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0
RAN_WELL = 60.0
"""Seconds that an engine must have been ready for its earlier failures to be forgotten."""
QUICK_FAILURES = 5
LOAD_FAILURES = 3
"""Failures in a row after which one that never became ready is given up: people wait for it meanwhile."""
GARBAGE = 3
"""Answers in a row that are none after which an engine is started again."""
_PAUSE_AFTER_GIVING_UP = 5.0


class RestartPolicy:
    """Counts failures of one engine. Pure: times are given to it."""

    def __init__(self) -> None:
        self._failures = 0
        self._not_before = float("-inf")

    def after_end(self, explanation: ExitExplanation, ready_seconds: float | None) -> float | None:
        """The engine ended unasked after having been ready for `ready_seconds`, None where it never was.

        Returns seconds to pause before the next start; None means: give it up for now. So it does where memory was
        lacking at the load: whoever divides the memory makes room first.
        """
        if ready_seconds is not None and ready_seconds >= RAN_WELL:
            self._failures = 0
        self._failures += 1
        if not explanation.restart_helps:
            return None
        if ready_seconds is None and explanation.reason is ExitReason.OUT_OF_MEMORY:
            return None
        if self._failures >= (LOAD_FAILURES if ready_seconds is None else QUICK_FAILURES):
            return None
        return self._pause()

    def answered(self) -> None:
        """It answered a request: it can start and work, so earlier failures count no longer."""
        self._failures = 0

    def garbage_limit(self) -> int:
        """Answers in a row that are none which it may give; one, when it was given up and is on trial again."""
        return 1 if self._failures >= QUICK_FAILURES else GARBAGE

    def give_up(self, now: float, *, out_of_memory: bool = False) -> None:
        """It was given up at `now`: until the pause is over it is not tried again.

        The first time that memory was lacking there is no pause: it is tried again as soon as room was made.
        """
        if out_of_memory and self._failures <= 1:
            self._not_before = float("-inf")
            return
        self._not_before = now + max(_PAUSE_AFTER_GIVING_UP, self._pause())

    def wait_left(self, now: float) -> float:
        """Seconds until it may be tried again; 0 when it may be now."""
        return max(0.0, self._not_before - now)

    def _pause(self) -> float:
        return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(max(0, self._failures - 1), 20)))
