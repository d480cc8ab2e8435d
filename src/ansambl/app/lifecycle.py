"""The life of a running Ansambl, from taking its port to leaving no process behind."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
from collections.abc import Iterator
from typing import Any

from ansambl.domain.errors import AnsamblError
from ansambl.domain.text import text
from ansambl.foundation import processes


class PortTakenError(AnsamblError):
    """Another program listens on the port."""


def bind(host: str, port: int) -> socket.socket:
    """Take the address before anything else is started.

    Raises:
        PortTakenError: another program listens there, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken = socket.socket(family, socket.SOCK_STREAM)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((host, port))
        # Listening now, because two sockets with SO_REUSEADDR may both bind, and only the second listen fails.
        taken.listen(2048)
    except OSError as error:
        taken.close()
        raise _port_error(host, port, error) from error
    taken.set_inheritable(False)
    return taken


def _port_error(host: str, port: int, error: OSError) -> PortTakenError:
    if error.errno != errno.EADDRINUSE:
        return PortTakenError(
            text(
                "Cannot listen on {host} port {port} ({reason}). Choose another with --host and --port.",
                host=host,
                port=port,
                reason=error.strerror or error,
            )
        )
    owner = processes.port_owner(port)
    if owner is None:
        return PortTakenError(text("Port {port} is taken by another program. Choose another with --port.", port=port))
    return PortTakenError(
        text(
            "Port {port} is taken by {program} (process {pid}). Stop it, or choose another with --port.",
            port=port,
            program=owner[1],
            pid=owner[0],
        )
    )


class StopSignal:
    """Set by SIGINT, SIGTERM, SIGHUP or the admin API; `urgent` after the second one: do not wait for answers."""

    def __init__(self) -> None:
        self.requested = asyncio.Event()
        self.urgent = asyncio.Event()

    def set(self) -> None:
        """Ask to stop, or to hurry when that was asked already."""
        if self.requested.is_set():
            self.urgent.set()
        self.requested.set()

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Listen to the process's signals while the context lasts."""
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in numbers:
            loop.add_signal_handler(number, self.set)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)


async def wait_quietly(condition: Any, limit: float, hurry: asyncio.Event) -> bool:
    """Wait until `condition()` holds, at most `limit` seconds or until `hurry`; return whether it holds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + limit
    while not condition():
        if loop.time() >= end or hurry.is_set():
            return False
        await asyncio.sleep(0.02)
    return True
