"""The bell that rings when the state of an instance may have changed."""

from __future__ import annotations

import asyncio
import threading

from ansambl.domain.text import text
from ansambl.runtime.changes import Changes
from ansambl.runtime.events import EventLog


async def test_who_waits_is_woken_from_any_thread():
    changes = Changes()
    waiting = [asyncio.create_task(changes.after(0, 20)) for _ in range(3)]
    await asyncio.sleep(0)
    thread = threading.Thread(target=changes.tell)
    thread.start()
    assert await asyncio.gather(*waiting) == [1, 1, 1]
    thread.join()


async def test_what_rang_before_is_not_missed_and_silence_ends():
    changes = Changes()
    changes.tell()
    changes.tell()
    assert await changes.after(0, 20) == 2
    assert await changes.after(2, 0.001) == 2


async def test_every_event_rings():
    events = EventLog()
    events.add("big", "ready", text("it was stopped"))
    assert events.changes.count == 1
