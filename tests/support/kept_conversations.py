"""Saved conversations in tests: the parts that keep them, on a data folder of the test's own."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from ansambl.app.data_folder import MIGRATIONS
from ansambl.engines.adapter import EngineCall
from ansambl.foundation.clock import Clock, RealClock
from ansambl.foundation.sqlite import Database, load_migrations
from ansambl.runtime.carrying import Lease
from ansambl.runtime.conversations.conversations import Conversations
from ansambl.runtime.conversations.store import ConversationStore
from ansambl.runtime.engine_calls import send
from ansambl.runtime.events import EventLog

BUDGET = 2**30


class Keeping:
    """The folder, the database and the events of one data folder over several starts of Ansambl."""

    def __init__(self, root: Path, clock: Clock | None = None) -> None:
        root.mkdir(exist_ok=True)
        self.folder = root / "conversations"
        self.clock = clock or RealClock()
        self.events = EventLog(clock=self.clock)
        self._path = root / "test.db"

    @contextlib.asynccontextmanager
    async def opened(self, budget: int = BUDGET, **more: Any) -> AsyncIterator[Conversations]:
        """As one start of Ansambl has them."""
        database = Database(self._path, load_migrations(MIGRATIONS))
        try:
            found = Conversations(
                ConversationStore(database), self.folder, budget, self.clock, self.events, **more
            )  # fmt: skip
            await found.begin()
            yield found
        finally:
            database.close()

    def rows(self) -> list[dict[str, Any]]:
        """What the database says is kept."""
        database = Database(self._path, load_migrations(MIGRATIONS))
        try:
            return [dict(one) for one in database.read("SELECT * FROM conversations ORDER BY name")]
        finally:
            database.close()

    def files(self) -> list[Path]:
        """The states on the disk, and whatever else lies there but the secret."""
        return sorted(one for one in self.folder.iterdir() if one.name != "secret")

    def told(self) -> list[str]:
        """The kinds of events so far."""
        return [one.kind for one in self.events.recent()]


def hint_of(body: Mapping[str, Any]) -> bytes:
    """What a chat request's slot is chosen by, without marks."""
    return json.dumps(body["messages"]).encode()


async def send_leased(lease: Lease, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Send a request to the slot of a lease, as the carrier does, and return its answer."""
    assert lease.calls is not None
    assert lease.slot is not None
    pinned = lease.calls.pinned(json.dumps(body).encode(), lease.slot)
    if lease.alone:
        pinned = lease.calls.unshared(pinned)
    answer: dict[str, Any] = json.loads(await send(lease.endpoint, EngineCall(path, json.loads(pinned)), patience=60))
    return answer
