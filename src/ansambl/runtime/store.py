"""What the runtime keeps over a restart: handles of running engines, and what happened to them."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from ansambl.domain.instance import InstanceEvent, InstanceHandle, ProcessIdentity
from ansambl.domain.text import Text
from ansambl.foundation.sqlite import Database

KEPT_EVENTS = 500
"""How many events stay in the database."""


def text_to_json(message: Text) -> str:
    """A text as JSON, texts inside it included; other values as JSON has them, else as words."""
    return json.dumps(_plain(message), ensure_ascii=False, default=str)


def _plain(value: Any) -> Any:
    if isinstance(value, Text):
        return {"template": value.template, "values": {name: _plain(one) for name, one in value.values.items()}}
    return value


def text_from_json(content: str) -> Text:
    """The text that `text_to_json` wrote."""
    made = _text(json.loads(content))
    return made if isinstance(made, Text) else Text(str(made))


def _text(value: Any) -> Any:
    if isinstance(value, dict) and value.keys() == {"template", "values"}:
        return Text(value["template"], {name: _text(one) for name, one in value["values"].items()})
    return value


def _read_handle(content: str) -> InstanceHandle | None:
    """A stored handle; None when it was written in a shape that this version does not know."""
    try:
        fields = json.loads(content)
        handle = InstanceHandle(**{**fields, "process": ProcessIdentity(**fields["process"])})
    except (ValueError, TypeError, KeyError):
        return None
    return handle if handle.version == InstanceHandle.VERSION else None


class RuntimeStore:
    """Handles and events in Ansambl's database. Handles are written before their instance is used."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save_handle(self, handle: InstanceHandle) -> None:
        """Keep the handle of a process that just started; returns when it is on the disk."""
        content = json.dumps(dataclasses.asdict(handle))
        query = "INSERT OR REPLACE INTO instances (model, version, handle) VALUES (?, ?, ?)"
        await self._write(query, (handle.model, handle.version, content))

    async def remove_handle(self, model: str) -> None:
        """Forget the process of `model`; it has ended."""
        await self._write("DELETE FROM instances WHERE model = ?", (model,))

    async def handles(self) -> dict[str, InstanceHandle | None]:
        """The stored handles by model; None for one that another version of Ansambl wrote."""

        def work(connection: sqlite3.Connection) -> dict[str, InstanceHandle | None]:
            rows = connection.execute("SELECT model, handle FROM instances ORDER BY model").fetchall()
            return {row["model"]: _read_handle(row["handle"]) for row in rows}

        return await self._database.run(work)

    def add_event(self, event: InstanceEvent) -> None:
        """Keep an event; written later, in order. Only the newest `KEPT_EVENTS` stay."""
        values = (event.time, event.model, event.kind, text_to_json(event.message))

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO events (time, model, kind, message) VALUES (?, ?, ?, ?)", values)
            connection.execute(
                "DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?", (KEPT_EVENTS,)
            )  # fmt: skip

        self._database.submit(work)

    def events(self, limit: int = KEPT_EVENTS) -> list[InstanceEvent]:
        """The newest events, oldest first. Blocks."""
        rows = self._database.read("SELECT * FROM events ORDER BY id DESC LIMIT ?", (limit,))
        return [
            InstanceEvent(row["time"], row["model"], row["kind"], text_from_json(row["message"]))
            for row in reversed(rows)
        ]

    async def _write(self, query: str, values: Sequence[object]) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute(query, values)

        await self._database.run(work)
