"""Changes of a running configuration come one after another, whoever waits for them."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import pytest

from ansambl.app.roles.controls import ProductRoles
from ansambl.domain.errors import ConfigurationError
from ansambl.domain.text import text


async def test_a_reload_that_nobody_waits_for_any_more_is_ended_before_the_next_one_begins():
    gate, began, story = threading.Event(), asyncio.Event(), []
    loop = asyncio.get_running_loop()

    def reread():
        story.append("begins")
        loop.call_soon_threadsafe(began.set)
        gate.wait(10)
        story.append("ends")
        raise ConfigurationError(text("no"))

    book = SimpleNamespace(loaded=None)
    roles = ProductRoles(SimpleNamespace(service=SimpleNamespace(templates=None)), book, None, reread)
    first = asyncio.create_task(roles.reload_file())
    await began.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = asyncio.create_task(roles.reload_file())
    await asyncio.sleep(0.05)
    assert story == ["begins"]
    gate.set()
    with pytest.raises(ConfigurationError):
        await second
    assert story == ["begins", "ends"] * 2
