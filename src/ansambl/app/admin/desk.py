"""Work for the admin API that takes long: in threads, a few at a time, within a time, and never queued without end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from ansambl.domain.errors import UnavailableError
from ansambl.domain.text import text
from ansambl.domain.units import Seconds

AT_ONCE = 2
"""Questions that are worked on at the same time; more would only share the processors with the gateway."""
WAITING = 8
"""Questions that wait for their turn; the next one is sent away."""
LONGEST = Seconds(60.0)
"""Seconds for one answer, its wait included."""

_Result = TypeVar("_Result")


class Desk:
    """Answers questions in threads of its own.

    A thread cannot be ended from outside: a question whose answer took too long keeps its place until it is done, so
    what is asked must be bounded by itself, too.
    """

    def __init__(self, *, at_once: int = AT_ONCE, waiting: int = WAITING, longest: float = LONGEST) -> None:
        self._executor = ThreadPoolExecutor(at_once, thread_name_prefix="desk")
        self._most = at_once + waiting
        self._longest = longest
        self._open = 0

    async def answer(self, work: Callable[[], _Result]) -> _Result:
        """Do `work` in a thread. Where the caller is cancelled before it began it is not begun.

        Raises:
            UnavailableError: too many questions wait already, or the answer takes too long.
            Exception: what `work` raises.
        """
        if self._open >= self._most:
            raise UnavailableError(
                text("Ansambl is answering as many such questions as it can; ask again in a moment."), code="busy"
            )
        loop = asyncio.get_running_loop()
        future = self._executor.submit(work)
        self._open += 1
        future.add_done_callback(lambda _: self._ended(loop))
        try:
            return await asyncio.wait_for(_wrapped(future), self._longest)
        except TimeoutError:
            if future.done() and not future.cancelled() and isinstance(future.exception(), TimeoutError):
                raise
            raise UnavailableError(
                text("The answer takes longer than {seconds} s; ask for less at once.", seconds=round(self._longest)),
                code="too_long", retry_after=None,
            ) from None  # fmt: skip

    def _ended(self, loop: asyncio.AbstractEventLoop) -> None:
        # Called in the thread, or where it was cancelled; at the end of the program nobody counts any more.
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._count_down)

    def _count_down(self) -> None:
        self._open -= 1

    def close(self) -> None:
        """Begin nothing any more."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def _wrapped(future: Future[_Result]) -> asyncio.Future[_Result]:
    return asyncio.wrap_future(future)
