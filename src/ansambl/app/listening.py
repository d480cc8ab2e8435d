"""The address where Ansambl listens: who may reach it, and taking its port."""

from __future__ import annotations

import contextlib
import errno
import socket
import time

from ansambl.access.store import KeyStore
from ansambl.app.data_folder import open_database
from ansambl.domain.errors import AnsamblError
from ansambl.domain.text import text
from ansambl.foundation import network
from ansambl.foundation.paths import DataPaths
from ansambl.gateway.front.guard import check_binding, is_loopback


def check_address(host: str, paths: DataPaths) -> None:
    """Refuse an address that other machines reach as long as no key lets anybody in.

    Raises:
        UsageError: there is none.
    """
    if is_loopback(host):
        return
    with contextlib.closing(open_database(paths)) as database:
        check_binding(host, has_keys=KeyStore(database).has_usable(time.time()))


class PortTakenError(AnsamblError):
    """Another program listens on the port."""


def bind(host: str, port: int) -> socket.socket:
    """Take the address before anything else is started.

    Raises:
        PortTakenError: another program listens there, or the address is not this machine's.
    """
    try:
        taken = network.bound_socket(host, port)
    except OSError as error:
        raise _port_error(host, port, error) from error
    try:
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
    owner = network.port_owner(port)
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
