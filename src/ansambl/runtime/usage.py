"""What was asked of each instance: added up by minute in memory, written by day in batches, kept for a bounded time.

The minutes of the last day stay in memory (`recent_minutes`): they are the same sums on their way to the database, so
that nothing is counted twice. They are written, too, with the days, and read again at the next start.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from ansambl.foundation.clock import Clock
from ansambl.foundation.logging import get_logger
from ansambl.foundation.sqlite import Database
from ansambl.runtime.recent_minutes import KEPT_MINUTES, Pair, RecentMinutes
from ansambl.runtime.usage_tables import SumsTable

log = get_logger(__name__)

KEPT_DAYS = 400
"""Days that stay: a year, and enough to compare a month with the same one of the year before."""
WRITE_EVERY = 30.0
"""Seconds between two writes; a crash loses what was counted since the last one."""
MOST_NAMES = 2000
"""Sums of a minute, a model and a name between two writes; a client that made names up would be refused long before."""

_MINUTE = 60
_MINUTES_A_DAY = 1440

Conversations: TypeAlias = Callable[[], Mapping[str, tuple[int, int]]]
"""Tells by model how many conversations were saved and restored since the start."""


@dataclass(slots=True)
class Usage:
    """Sums over requests; the seconds are those of all of them together.

    `first_tokens` counts the answers whose first token was timed (streams). `saved` and `restored` count conversations
    whose state was written to disk or read back. `swaps` counts a swap once for each request that waited for it.
    """

    requests: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    queued_seconds: float = 0.0
    first_token_seconds: float = 0.0
    first_tokens: int = 0
    answer_seconds: float = 0.0
    swaps: int = 0
    saved: int = 0
    restored: int = 0

    def add(self, other: Usage) -> None:
        """Add what another one counts."""
        for name in _NAMES:
            setattr(self, name, getattr(self, name) + getattr(other, name))


_NAMES = tuple(one.name for one in fields(Usage))
_DAYS = SumsTable("usage", ("day", "model", "name"), Usage, _NAMES)
_MINUTES = SumsTable("usage_minutes", ("minute", "model", "name"), Usage, _NAMES)


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One day of one instance under one name: the role, ensemble or model that was asked for; "" for the instance."""

    day: date
    model: str
    name: str
    usage: Usage


@dataclass(slots=True)
class KeyUsage:
    """Sums over the requests of one API key to one model; the fields are those of `Usage`."""

    requests: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    queued_seconds: float = 0.0
    first_token_seconds: float = 0.0
    first_tokens: int = 0
    swaps: int = 0

    def add(self, other: KeyUsage) -> None:
        """Add what another one counts."""
        for name in _KEY_NAMES:
            setattr(self, name, getattr(self, name) + getattr(other, name))


_KEY_NAMES = tuple(one.name for one in fields(KeyUsage))
_KEY_DAYS = SumsTable("key_usage", ("day", "key", "model"), KeyUsage, _KEY_NAMES)
_KEY_MINUTES = SumsTable("key_usage_minutes", ("minute", "key", "model"), KeyUsage, _KEY_NAMES)


@dataclass(frozen=True, slots=True)
class KeyUsageRow:
    """One day of one API key, by its id, with one model."""

    day: date
    key: str
    model: str
    usage: KeyUsage


_Sums = TypeVar("_Sums", Usage, KeyUsage)


@dataclass(frozen=True, slots=True)
class MinuteRow(Generic[_Sums]):
    """One minute, counted from the epoch, of a pair: model and name, or the id of a key and model."""

    minute: int
    pair: Pair
    usage: _Sums


class UsageBook:
    """Counts, and writes by and by. Used on one event loop; adding to it takes about a microsecond.

    To make one blocks for a moment: it reads the minutes that an earlier run has written.

    Args:
        database: where it is kept; None keeps it in memory alone.
        clock: time; days are those of UTC.
    """

    def __init__(self, database: Database | None, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._open: dict[tuple[int, str, str], Usage] = {}
        self._open_keys: dict[tuple[int, str, str], KeyUsage] = {}
        self._since = clock.monotonic()
        self._minutes: RecentMinutes[Usage] = RecentMinutes()
        self._key_minutes: RecentMinutes[KeyUsage] = RecentMinutes()
        self._started = clock.now()
        if database is not None:
            self._remember(database)
        self._totals: dict[str, Usage] = {}
        self._conversations: Conversations = dict
        self._counted: dict[str, tuple[int, int]] = {}

    def _remember(self, database: Database) -> None:
        """Take over the minutes of earlier runs. While none ran nothing was asked, so they are complete."""
        now = int(self._started // _MINUTE)
        first = now - KEPT_MINUTES + 1
        try:
            rows, key_rows = list(_MINUTES.since(database, first)), list(_KEY_MINUTES.since(database, first))
        except sqlite3.DatabaseError as error:
            # What was counted is no reason not to answer.
            log.warning("usage_minutes_damaged", reason=str(error))
            return
        # A clock that was set back since has minutes that are yet to come; they are counted when they do.
        for minute, pair, usage in rows:
            if minute <= now:
                self._minutes.add(minute, pair, usage)
                self._started = min(self._started, minute * _MINUTE)
        for minute, pair, used in key_rows:
            if minute <= now:
                self._key_minutes.add(minute, pair, used)

    def watch(self, conversations: Conversations) -> None:
        """Read from there, at each write, how many conversations were saved and restored since its start."""
        self._conversations, self._counted = conversations, {}

    def of(self, model: str, name: str = "") -> Usage:
        """The sums of this minute to add to; do not keep it.

        Those of no model ("") are of requests that no instance answered: they count by minute alone.
        """
        monotonic = self._clock.monotonic()
        if monotonic - self._since >= WRITE_EVERY or len(self._open) >= MOST_NAMES:
            self.write()
        key = int(self._clock.now() // _MINUTE), model, name
        found = self._open.get(key)
        if found is None:
            found = self._open[key] = Usage()
        return found

    def of_key(self, key: str, model: str) -> KeyUsage:
        """The sums of this minute of an API key, by its id, to add to; do not keep it."""
        if len(self._open_keys) >= MOST_NAMES:
            self.write()
        place = int(self._clock.now() // _MINUTE), key, model
        found = self._open_keys.get(place)
        if found is None:
            found = self._open_keys[place] = KeyUsage()
        return found

    def totals(self) -> dict[str, Usage]:
        """By model, all that was counted since the start."""
        found: dict[str, Usage] = {}
        for model, usage in self._totals.items():
            found.setdefault(model, Usage()).add(usage)
        for (_, model, _), usage in self._open.items():
            if model:
                found.setdefault(model, Usage()).add(usage)
        return found

    def minutes(self, newest: int) -> list[MinuteRow[Usage]]:
        """The sums of the newest minutes by model and name, this minute included; the oldest first."""
        since = self._first(newest)
        return _minute_rows(self._minutes, self._open, since)

    @property
    def counted_since(self) -> float:
        """Since when the minutes are complete, in seconds since the epoch.

        It is this start, or the oldest minute of an earlier run, or what was not dropped yet.
        """
        return max(self._started, _MINUTE * max(self._minutes.complete_since, self._key_minutes.complete_since))

    def key_minutes(self, newest: int) -> list[MinuteRow[KeyUsage]]:
        """The same by the id of the API key and the model."""
        return _minute_rows(self._key_minutes, self._open_keys, self._first(newest))

    def _first(self, newest: int) -> int:
        return int(self._clock.now() // _MINUTE) - newest + 1

    def write(self) -> None:
        """Write what was counted since the last time. Returns at once; the database's `close` waits for it."""
        self._since = self._clock.monotonic()
        self._take_conversations()
        written, self._open = self._open, {}
        by_key, self._open_keys = self._open_keys, {}
        days: dict[tuple[int, str, str], Usage] = {}
        for (minute, model, name), usage in written.items():
            if model:
                self._totals.setdefault(model, Usage()).add(usage)
                days.setdefault((minute // _MINUTES_A_DAY, model, name), Usage()).add(usage)
            self._minutes.add(minute, (model, name), usage)
        key_days: dict[tuple[int, str, str], KeyUsage] = {}
        for (minute, key, model), used in by_key.items():
            key_days.setdefault((minute // _MINUTES_A_DAY, key, model), KeyUsage()).add(used)
            self._key_minutes.add(minute, (key, model), used)
        if self._database is None or not (written or by_key):
            return
        now = self._clock.now()
        oldest = (datetime.fromtimestamp(now, UTC).date() - timedelta(days=KEPT_DAYS)).isoformat()
        rows = [_DAYS.row(_day(one[0]), one[1:], usage) for one, usage in days.items()]
        key_rows = [_KEY_DAYS.row(_day(one[0]), one[1:], used) for one, used in key_days.items()]
        # Taken here and not in the writer's thread: the next write of the same minute adds to these sums.
        minutes = [_MINUTES.row(one[0], one[1:], usage) for one, usage in written.items()]
        key_minutes = [_KEY_MINUTES.row(one[0], one[1:], used) for one, used in by_key.items()]
        first = int(now // _MINUTE) - KEPT_MINUTES + 1
        since, keys_since = (max(first, one.complete_since) for one in (self._minutes, self._key_minutes))

        def add_days(connection: sqlite3.Connection) -> None:
            _DAYS.add(connection, rows, oldest)
            _KEY_DAYS.add(connection, key_rows, oldest)

        def add_minutes(connection: sqlite3.Connection) -> None:
            _MINUTES.add(connection, minutes, since)
            _KEY_MINUTES.add(connection, key_minutes, keys_since)

        # One after the other: days are kept although their finer copy cannot be.
        self._database.submit(add_days)
        self._database.submit(add_minutes)

    async def keep_writing(self) -> None:
        """Write every `WRITE_EVERY` seconds until it is cancelled: nobody may ask for anything for hours."""
        while True:
            await self._clock.sleep(WRITE_EVERY)
            self.write()

    def _take_conversations(self) -> None:
        counts = dict(self._conversations())
        for model, (saved, restored) in counts.items():
            saved_before, restored_before = self._counted.get(model, (0, 0))
            if (saved, restored) != (saved_before, restored_before):
                used = self._open.setdefault((int(self._clock.now() // _MINUTE), model, ""), Usage())
                used.saved += saved - saved_before
                used.restored += restored - restored_before
        self._counted = counts


def _minute_rows(
    kept: RecentMinutes[_Sums], open_: Mapping[tuple[int, str, str], _Sums], since: int
) -> list[MinuteRow[_Sums]]:
    """The rows of `kept` and of what was not written yet; a minute may stand in both."""
    found = [MinuteRow(minute, pair, usage) for minute, pair, usage in kept.since(since)]
    found += [
        MinuteRow(minute, (one, other), usage) for (minute, one, other), usage in open_.items() if minute >= since
    ]
    return found


def _day(number: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=number)).isoformat()


def read_usage(database: Path, *, since: date) -> tuple[UsageRow, ...]:
    """What was counted since a day, the newest day first. Reads beside a running Ansambl and changes nothing.

    There is nothing where there is no database, or none that can be read, or an older one. Blocks.
    """
    if not database.is_file():
        return ()
    query = f"SELECT day, model, name, {', '.join(_NAMES)} FROM usage WHERE day >= ? ORDER BY day DESC, model, name"  # noqa: S608 - columns are ours
    try:
        return tuple(
            UsageRow(date.fromisoformat(str(day)), str(model), str(name), Usage(*sums))  # type: ignore[arg-type]
            for day, model, name, *sums in _rows(database, query, since)
        )
    except (sqlite3.Error, ValueError):
        return ()


def read_key_usage(database: Path, *, since: date) -> tuple[KeyUsageRow, ...]:
    """What was asked with each API key since a day, the newest day first. As `read_usage` otherwise. Blocks."""
    if not database.is_file():
        return ()
    query = (
        f"SELECT day, key, model, {', '.join(_KEY_NAMES)} FROM key_usage WHERE day >= ? ORDER BY day DESC, key, model"  # noqa: S608 - columns are ours
    )
    try:
        return tuple(
            KeyUsageRow(date.fromisoformat(str(day)), str(key), str(model), KeyUsage(*sums))  # type: ignore[arg-type]
            for day, key, model, *sums in _rows(database, query, since)
        )
    except (sqlite3.Error, ValueError):
        return ()


def _rows(database: Path, query: str, since: date) -> Iterable[tuple[object, ...]]:
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as connection:
        return connection.execute(query, (since.isoformat(),)).fetchall()
