"""What was counted minute by minute: in memory for a day, and never more of it than a fixed number of rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, Protocol, Self, TypeAlias, TypeVar

KEPT_MINUTES = 1440
"""Minutes that stay: a day."""
MOST_ROWS = 10_000
"""Rows that stay, about 0.4 KB each; beyond them the oldest minutes go first."""

Pair: TypeAlias = tuple[str, str]
"""What a row is counted by beside its minute: model and name, or key and model."""


class Sums(Protocol):
    """Sums that can be added up."""

    def add(self, other: Self) -> None:
        """Add what another one counts."""
        ...


_Sums = TypeVar("_Sums", bound=Sums)


class RecentMinutes(Generic[_Sums]):
    """Rows of the newest minutes, by minute (counted from the epoch) and pair. It takes over what it is given.

    `complete_since` is the minute from which on nothing was dropped.
    """

    def __init__(self, kept: int = KEPT_MINUTES, rows: int = MOST_ROWS) -> None:
        self._kept = kept
        self._most = rows
        self._minutes: dict[int, dict[Pair, _Sums]] = {}
        self._rows = 0
        self.complete_since = 0

    def add(self, minute: int, pair: Pair, sums: _Sums) -> None:
        """Add to a minute; what became too old or too much goes."""
        rows = self._minutes.setdefault(minute, {})
        found = rows.get(pair)
        if found is not None:
            found.add(sums)
            return
        rows[pair] = sums
        self._rows += 1
        while self._rows > self._most and len(self._minutes) > 1:
            self._drop(min(self._minutes))
        for old in [one for one in self._minutes if one <= minute - self._kept]:
            self._drop(old)

    def since(self, minute: int) -> Iterator[tuple[int, Pair, _Sums]]:
        """The rows from a minute on, the oldest first."""
        for one in sorted(self._minutes):
            if one >= minute:
                for pair, sums in self._minutes[one].items():
                    yield one, pair, sums

    def _drop(self, minute: int) -> None:
        self._rows -= len(self._minutes.pop(minute))
        self.complete_since = max(self.complete_since, minute + 1)
