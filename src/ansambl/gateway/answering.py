"""What all answers have in common: a body that is read, a client that may leave, an Ansambl that may stop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

from ansambl.domain.errors import UnavailableError
from ansambl.domain.text import text
from ansambl.gateway.asgi import Receive, Room, Scope, cancelled_when_client_leaves, read_body
from ansambl.gateway.chat import STOPPING
from ansambl.gateway.exchange import Exchange
from ansambl.gateway.observing.metrics import Metrics

_CUT_PATIENCE = 2.0
"""Seconds for the error events of answers that are cut to go out."""
_ROOM = 1 << 30
"""Bytes of bodies that are being received: one of them may have a GiB, and slow ones may not fill the memory."""


class Answering:
    """The answers that are being made. `draining` is set when no new one may begin; `body_limit` is in bytes."""

    def __init__(self, metrics: Metrics, *, body_limit: int) -> None:
        self.draining = False
        self.body_limit = body_limit
        self._room = Room(_ROOM)
        self._metrics = metrics
        self._tasks: set[asyncio.Task[Any]] = set()
        self._cut = False

    @property
    def running(self) -> int:
        """How many requests are being answered."""
        return len(self._tasks)

    async def read(self, exchange: Exchange, scope: Scope, receive: Receive) -> bytes:
        """Read the body of a request that is counted from now on.

        Raises:
            UnavailableError: Ansambl is stopping.
            RequestError, BodyTooLargeError, ClientGoneError, UnavailableError: as `read_body`.
        """
        # Under this name until it is known what was asked for.
        exchange.name = "unresolved"
        exchange.begin()
        self._refuse_when_draining()
        body = await read_body(scope, receive, self.body_limit, self._room)
        exchange.received = len(body)
        # Again, because reading takes as long as the client likes, and only running answers are waited for.
        self._refuse_when_draining()
        return body

    async def while_client_stays(self, receive: Receive, answer: Coroutine[Any, Any, None]) -> None:
        """Make an answer; give it up as soon as its client leaves.

        Raises:
            ClientGoneError: it left.
            UnavailableError: the answer was cut, because Ansambl stops.
            AnsamblError: as `answer`.
        """
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._tasks.add(task)
        self._metrics.requests.running += 1
        try:
            async with cancelled_when_client_leaves(receive):
                await answer
        except asyncio.CancelledError:
            if not self._cut or task.uncancel() > 0:
                raise
            raise _stopping() from None
        finally:
            self._tasks.discard(task)
            self._metrics.requests.running -= 1

    async def cut(self) -> None:
        """End the answers that still run, each with an error that says why."""
        self._cut = True
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CUT_PATIENCE)

    def _refuse_when_draining(self) -> None:
        if self.draining:
            raise _stopping()


def _stopping() -> UnavailableError:
    return UnavailableError(text("Ansambl is stopping; ask again when it is back."), code=STOPPING)
