"""The requests that are being answered for each key, so that they can be ended with it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from ansambl.domain.errors import AnsamblError

_PATIENCE = 2.0
"""Seconds for answers that are ended to say so."""


class Visits:
    """Which tasks answer for which key. Used on one event loop; each request is a task of its own."""

    def __init__(self) -> None:
        self._tasks: dict[str, set[asyncio.Task[Any]]] = {}
        self._reasons: dict[asyncio.Task[Any], AnsamblError] = {}

    def begin(self, key: str) -> None:
        """The task that runs now answers for a key, until `over`."""
        self._tasks.setdefault(key, set()).add(_this())

    def over(self, key: str) -> None:
        """It does no more."""
        task, tasks = _this(), self._tasks.get(key, set())
        self._reasons.pop(task, None)
        tasks.discard(task)
        if not tasks:
            self._tasks.pop(key, None)

    def answering(self) -> tuple[str, ...]:
        """The keys for which something is being answered, by their ids."""
        return tuple(self._tasks)

    def running(self, key: str) -> int:
        """How many requests are being answered for a key."""
        return len(self._tasks.get(key, ()))

    async def end(self, key: str, reason: AnsamblError, spared: asyncio.Task[Any] | None = None) -> None:
        """Cancel all that is being answered for a key but `spared`, and wait a moment until it has ended.

        Each finds `reason`.
        """
        tasks = tuple(one for one in self._tasks.get(key, ()) if one is not spared)
        for task in tasks:
            self._reasons[task] = reason
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_PATIENCE)

    def reason(self) -> AnsamblError | None:
        """Why the task that runs now was cancelled; None where it was not from here. It may go on to say so."""
        task = _this()
        found = self._reasons.pop(task, None)
        if found is not None:
            task.uncancel()
        return found


def _this() -> asyncio.Task[Any]:
    return cast("asyncio.Task[Any]", asyncio.current_task())
