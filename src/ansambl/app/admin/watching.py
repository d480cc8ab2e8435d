"""What the admin API lets people watch: events of the run, and the logs of Ansambl and its engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from ansambl.app.admin.event_board import EventBoard
from ansambl.app.admin.log_following import LogFollower, newest_lines
from ansambl.app.wiring import Product
from ansambl.domain.errors import NotSupportedError, UnavailableError
from ansambl.domain.text import text
from ansambl.foundation.redaction import redact
from ansambl.runtime.log_buffer import engine_log

MOST_STREAMS = 100
"""Streams that are open at once: each holds a connection, and nobody watches with more."""
OWN_LOG = "ansambl.log"

Translate = Callable[[str], str]


class ProductWatching:
    """Implements `ansambl.api.watching.WatchControls` on a product, whose logs lie in `logs`."""

    def __init__(self, product: Product, logs: Path, board: EventBoard) -> None:
        self.closing = asyncio.Event()
        self._product = product
        self._logs = logs
        self._board = board
        self._following = 0

    def events(self, after: str | None, translate: Translate) -> AsyncGenerator[bytes]:
        """What happens from now on, or after the event of this id."""
        self._check_number()
        return self._board.listen(after, translate)

    async def log_tail(self, model: str | None, lines: int) -> list[str]:
        """The newest lines of a log."""
        if model is None:
            return await asyncio.to_thread(newest_lines, self._logs / OWN_LOG, lines)
        return [redact(one) for one in self._product.coordinator.instance(model).log_tail(lines)]

    def log_stream(self, model: str | None, lines: int, after: str | None) -> AsyncGenerator[bytes]:
        """The newest lines of a log, and those that are added."""
        path = self._logs / OWN_LOG
        if model is not None:
            instance = self._product.coordinator.instance(model)
            if instance.status().attached:
                raise NotSupportedError(
                    text(
                        "'{model}' is not Ansambl's to start, so its log is where whoever runs it keeps it.",
                        model=model,
                    )
                )
            path = engine_log(self._logs, model)
        self._check_number()
        return self._followed(path, lines, after)

    async def _followed(self, path: Path, lines: int, after: str | None) -> AsyncGenerator[bytes]:
        self._following += 1
        stream = LogFollower(path).stream(lines, after)
        try:
            async for part in stream:
                yield part
        finally:
            self._following -= 1
            await stream.aclose()

    def _check_number(self) -> None:
        if self._following + self._board.readers >= MOST_STREAMS:
            raise UnavailableError(
                text("{count} streams are open already; close some of them.", count=MOST_STREAMS), code="busy"
            )

    def close(self) -> None:
        """Tell that Ansambl stops, and end all streams."""
        self._board.close()
        # The last event goes out first.
        asyncio.get_running_loop().call_later(_LAST_WORDS, self.closing.set)


_LAST_WORDS = 0.05
