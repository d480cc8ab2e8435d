"""Ask an engine on this machine whether it is ready: one small HTTP request, no client library."""

from __future__ import annotations

import asyncio
import contextlib

from ansambl.domain.engine import ProbeSpec
from ansambl.foundation.clock import Clock

_MAX_STATUS_LINE = 4096
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0
_LATE = 0.05
"""The part of a start by which its end may be noticed late: in a swap people wait for it. One look takes a ms."""


async def ask(
    port: int, path: str, *, key: str | None = None, host: str = "127.0.0.1", patience: float = 5.0
) -> int | None:
    """The status that GET `path` answers; None when nobody answers in HTTP within `patience` seconds."""
    with contextlib.suppress(OSError, ValueError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection(host, port, limit=_MAX_STATUS_LINE)
            try:
                authorization = f"Authorization: Bearer {key}\r\n" if key else ""
                writer.write(
                    f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n{authorization}"
                    "Accept: */*\r\nConnection: close\r\n\r\n".encode("latin-1")
                )
                await writer.drain()
                protocol, status, *_ = (await reader.readuntil(b"\n")).split(None, 2)
                return int(status) if protocol.startswith(b"HTTP/") else None
            finally:
                writer.close()
    return None


async def listens(port: int, *, host: str = "127.0.0.1", patience: float = 5.0) -> bool:
    """Whether anybody takes connections on `port`."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(patience):
            _, writer = await asyncio.open_connection(host, port)
        writer.close()
        return True
    return False


async def wait_until_ready(probe: ProbeSpec, port: int, *, key: str, clock: Clock, host: str = "127.0.0.1") -> bool:
    """Return True as soon as the engine answers as `probe` says, False when its patience is over."""
    began = clock.monotonic()
    while (waited := clock.monotonic() - began) < probe.patience:
        if await ask(port, probe.path, key=key, host=host) == probe.status:
            return True
        await clock.sleep(min(LONGEST_PAUSE, max(FIRST_PAUSE, waited * _LATE)))
    return False
