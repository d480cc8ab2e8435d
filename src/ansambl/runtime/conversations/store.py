"""Which conversations are saved, in Ansambl's database. A row is written only when its file is whole."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Iterable

from ansambl.foundation.sqlite import Database
from ansambl.runtime.conversations.worth import Saved

_COLUMNS = tuple(one.name for one in dataclasses.fields(Saved))
_INSERT = f"INSERT INTO conversations ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 - columns are ours


class ConversationStore:
    """The rows of saved conversations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[Saved]:
        """All of them, by name."""

        def work(connection: sqlite3.Connection) -> list[Saved]:
            rows = connection.execute("SELECT * FROM conversations ORDER BY name").fetchall()
            return [Saved(**{name: row[name] for name in _COLUMNS}) for row in rows]

        return await self._database.run(work)

    async def replace(self, new: Saved | None, gone: Iterable[Saved]) -> None:
        """Add one and remove others in one transaction."""
        names = [(one.name,) for one in gone]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM conversations WHERE name = ?", names)
            if new is not None:
                connection.execute(_INSERT, [getattr(new, name) for name in _COLUMNS])

        await self._database.run(work)

    def touch(self, saved: Saved) -> None:
        """Note when it was last used; written later."""
        self._database.submit(
            lambda connection: connection.execute(
                "UPDATE conversations SET used = ? WHERE name = ?", (saved.used, saved.name)
            )
        )
