"""Addresses and ports of this machine: what is loopback, binding a port, who holds it."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_HOST_NAME = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]+)?")


def is_loopback_address(address: str) -> bool:
    """Whether an IP address (no name, no brackets) can only be this machine's own."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def network_of(written: str) -> Network:
    """A network such as ``10.0.0.0/8``, or one address as a network of its own.

    Raises:
        ValueError: it is neither.
    """
    return ipaddress.ip_network(written.strip(), strict=False)


def host_name_of(written: str) -> str:
    """A host name in lower case; ``*.example.org`` stands for every name below one.

    Raises:
        ValueError: it is none, or has a scheme, a port or a path.
    """
    found = written.strip().lower().removesuffix(".")
    if not _HOST_NAME.fullmatch(found):
        raise ValueError(written)
    return found


def origin_of(written: str) -> str:
    """A web origin as browsers write it, such as ``https://chat.example``.

    Raises:
        ValueError: it is none, or has a path.
    """
    found = written.strip().lower().removesuffix("/")
    if not _ORIGIN.fullmatch(found):
        raise ValueError(written)
    return found


def bound_socket(host: str, port: int) -> socket.socket:
    """A TCP socket bound to an address; 0 takes a free port. Close it to give the port back.

    Raises:
        OSError: another program has it, or the address is not this machine's.
    """
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        # A port whose last connections have just closed counts as free; one that a program listens on does not.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except BaseException:
        bound.close()
        raise
    return bound


def free_port() -> int:
    """A TCP port of the loopback interface that is free at this moment."""
    # Without SO_REUSEADDR, with which the system may hand out a port that another program has just bound.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_owner(port: int) -> tuple[int, str] | None:
    """Process id and name of who listens on a TCP port; None when the system does not tell."""
    import psutil

    try:
        connections = psutil.net_connections(kind="tcp")
    except (psutil.Error, OSError):
        return None
    for connection in connections:
        address = connection.laddr
        if connection.status == psutil.CONN_LISTEN and address and address.port == port and connection.pid:
            with contextlib.suppress(psutil.Error):
                return connection.pid, psutil.Process(connection.pid).name()
    return None
