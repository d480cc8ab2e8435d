"""What an ensemble may still use: seconds and tokens. Pure, but for the clock that it is given."""

from __future__ import annotations

from collections.abc import Callable

STAGE_SHARE = 0.75
"""The part of the time limit that everything before the final answer may use; the rest is the final answer's."""


def shown_seconds(seconds: float) -> str:
    """Seconds as a sentence names them: "300", "1.5"."""
    return f"{round(seconds, 1):g}"


class Budget:
    """The limits of one request to one ensemble; those of a nested ensemble lie within what its parent has left.

    `tokens` bounds all answers together (None: no bound), `seconds` the whole; `clock` tells seconds that never jump.
    """

    def __init__(self, *, tokens: int | None, seconds: float, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.seconds = seconds
        self.tokens = tokens
        self._begun = clock()
        self._spent = 0

    @property
    def used_seconds(self) -> float:
        """How long the ensemble has worked."""
        return self.clock() - self._begun

    @property
    def deadline(self) -> float:
        """When the final answer must have ended, on the clock."""
        return self._begun + self.seconds

    @property
    def is_over(self) -> bool:
        """Whether the time limit is reached."""
        return self.clock() >= self.deadline

    @property
    def stage_deadline(self) -> float:
        """When everything before the final answer must have ended, on the clock."""
        return self._begun + self.seconds * STAGE_SHARE

    @property
    def tokens_left(self) -> int | None:
        """Tokens that are left for answers, never below 0; None when they are not bounded."""
        return None if self.tokens is None else max(0, self.tokens - self._spent)

    def limit(self, ceiling: int, *, to_come: int = 1) -> int:
        """How many tokens one answer may have: `ceiling`, or its equal share of what is left.

        `to_come` counts the answers that are still planned, this one included. So an answer that needs less leaves
        more to the later ones, and the last one gets all that is left. 0 means that it cannot be asked for.
        """
        left = self.tokens_left
        return ceiling if left is None else min(ceiling, left // to_come)

    def spend(self, tokens: int) -> None:
        """Count the tokens of an answer."""
        self._spent += tokens
