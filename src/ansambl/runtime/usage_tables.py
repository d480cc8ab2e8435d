"""Tables of sums that are added to: what was counted by day, and by minute for as long as minutes are told."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

from ansambl.foundation.sqlite import Database
from ansambl.runtime.recent_minutes import Pair

_Sums = TypeVar("_Sums")

Row: TypeAlias = tuple[object, ...]


class SumsTable(Generic[_Sums]):
    """A table whose rows are named by a time and a pair of words, and hold the fields of one kind of sums.

    Args:
        table: its name.
        keys: the columns of the time and of the pair.
        make: the sums, from the values of `names`.
        names: the sums' fields, which are the columns' names.
    """

    def __init__(
        self, table: str, keys: tuple[str, str, str], make: Callable[..., _Sums], names: Sequence[str]
    ) -> None:
        time, columns, marks = keys[0], ", ".join((*keys, *names)), ", ".join("?" * (len(keys) + len(names)))
        sums = ", ".join(f"{one} = {one} + excluded.{one}" for one in names)
        self._make = make
        self._names = tuple(names)
        self._add = (
            f"INSERT INTO {table} ({columns}) VALUES ({marks}) "  # noqa: S608 - names are ours
            f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {sums}"
        )
        self._bound = f"DELETE FROM {table} WHERE {time} < ?"  # noqa: S608 - names are ours
        self._since = f"SELECT {columns} FROM {table} WHERE {time} >= ? ORDER BY {time}"  # noqa: S608 - names are ours

    def row(self, time: str | int, pair: Pair, sums: _Sums) -> Row:
        """One row as `add` takes it, with the sums as they are now."""
        return time, *pair, *(getattr(sums, one) for one in self._names)

    def add(self, connection: sqlite3.Connection, rows: Iterable[Row], oldest: str | int) -> None:
        """Add rows to what stands there, and drop what is older than `oldest`."""
        connection.executemany(self._add, rows)
        connection.execute(self._bound, (oldest,))

    def since(self, database: Database, time: int) -> Iterator[tuple[int, Pair, _Sums]]:
        """The rows from a time on, the oldest first. Blocks."""
        found: Any
        for found in database.read(self._since, (time,)):
            when, one, other, *sums = tuple(found)
            yield int(when), (str(one), str(other)), self._make(*sums)
