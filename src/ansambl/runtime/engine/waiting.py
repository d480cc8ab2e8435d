"""Waiting for the first of several things."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any


async def first_of(*waits: Awaitable[object]) -> None:
    """Return when the first of `waits` is over; the others are cancelled."""
    tasks = [asyncio.ensure_future(one) for one in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            await cancel(task)


async def cancel(task: asyncio.Future[Any]) -> None:
    """Cancel and wait until it ended, whatever it says."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()
