"""Telling a client that has only finished sending from one that is gone.

Both end their side of the connection, and the system says the same of both. But the system of a client that is gone
resets the connection as soon as it gets a byte, and that can be seen without writing again.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

_CLOSED = 7
"""TCP_CLOSE, the first byte of Linux's ``struct tcp_info``: what a connection is in that was reset."""
_FIRST_LOOK, _LAST_LOOK = 0.005, 1.0


def abort_when_reset(
    transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, is_over: Callable[[], bool]
) -> bool:  # fmt: skip
    """Abort a connection when its client resets it, from now on until `is_over`. Something was written to it just now.

    Returns:
        False where the system does not tell; then nothing is watched.
    """
    tcp = transport.get_extra_info("socket")
    if tcp is None or not hasattr(socket, "TCP_INFO"):
        return False

    def look(after: float) -> None:
        if transport.is_closing() or is_over():
            return
        if _is_reset(tcp):
            transport.abort()
        else:
            wait(min(2 * after, _LAST_LOOK))

    def wait(after: float) -> None:
        loop.call_later(after, look, after)

    wait(_FIRST_LOOK)
    return True


def _is_reset(tcp: Any) -> bool:
    with contextlib.suppress(OSError):
        return bool(tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _CLOSED)
    return True
