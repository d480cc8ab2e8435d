"""The short ways to a client's connection under uvicorn: what ASGI alone makes slow.

ASGI has a message for everything: one more task to learn that a client left, one write for the head of an answer and
one for its body, a coroutine for each piece of a stream. uvicorn hands an application bound methods of the object that
knows all this; under any other server nothing here is found, and the ways of ASGI are taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Self, cast

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


def _cycle_of(method: Callable[..., Awaitable[Any]]) -> RequestResponseCycle | None:
    """The object behind `receive` or `send`."""
    found = getattr(method, "__self__", None)
    return found if isinstance(found, RequestResponseCycle) else None


class _TellingEvent(asyncio.Event):
    """What uvicorn sets when anything happens on a connection."""

    def __init__(self, cycle: RequestResponseCycle, left: Callable[[], None]) -> None:
        super().__init__()
        self._cycle = cycle
        self.left: Callable[[], None] | None = left

    def set(self) -> None:
        """Something happened."""
        super().set()
        if self._cycle.disconnected and self.left is not None:
            left, self.left = self.left, None
            left()


def tell_when_client_leaves(
    receive: Callable[..., Awaitable[Any]], left: Callable[[], None]
) -> Callable[[], None] | None:
    """Have `left` called, once, as soon as the client is gone; returns what ends that. None where it cannot be had.

    The body of the request must have been read.
    """
    cycle = _cycle_of(receive)
    if cycle is None:
        return None
    told = _TellingEvent(cycle, left)
    cycle.message_event = told
    # Who does not read does not notice that the other side closes.
    cycle.flow.resume_reading()
    if cycle.disconnected:
        # Not within this call: a task that cancels itself would go on to its next wait.
        asyncio.get_running_loop().call_soon(told.set)

    def end() -> None:
        told.left = None

    return end


class Wire:
    """The body of one answer in chunked transfer encoding, whose head is out."""

    __slots__ = ("_cycle", "_flow", "_transport")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._flow = cycle.flow
        self._transport = cycle.transport

    @classmethod
    def of(cls, send: Callable[..., Awaitable[Any]]) -> Self | None:
        """The wire of an answer that has begun; None where pieces must go by ASGI."""
        cycle = _cycle_of(send)
        if cycle is None or not cycle.chunked_encoding or cycle.scope["method"] == "HEAD":
            return None
        return cls(cycle)

    def write(self, piece: bytes) -> bool:
        """Send a piece that is not empty. False: nothing was sent, since the client has not yet taken what was sent."""
        if self._flow.write_paused or self._cycle.disconnected or self._cycle.response_complete:
            return False
        self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        return True


class _Joined:
    """Stands for a transport while an answer is written, whose head then goes out with the body."""

    __slots__ = ("_head", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head: bytes | None = None

    def write(self, data: bytes) -> None:
        if self._head is None:
            self._head = data
        else:
            head, self._head = self._head, b""
            self._transport.write(head + data)

    def flush(self) -> None:
        """Send what is still held back: HEAD has no body."""
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()


async def send_together(send: Callable[[Any], Awaitable[None]], head: dict[str, Any], body: dict[str, Any]) -> None:
    """Send the two messages of a whole answer, where that can be with one write."""
    cycle = _cycle_of(send)
    if cycle is None:
        await send(head)
        await send(body)
        return
    transport = cycle.transport
    joined = _Joined(transport)
    cycle.transport = cast("asyncio.Transport", joined)
    try:
        await send(head)
        await send(body)
    finally:
        cycle.transport = transport
        joined.flush()
