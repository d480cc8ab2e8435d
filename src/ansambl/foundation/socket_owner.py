"""Which user of this machine holds the other end of a TCP connection over loopback, as the system says.

Linux answers by netlink (sock_diag(7)) about one socket at once, to everybody. Some containers have no such netlink;
there the tables in /proc/net say the same (proc_pid_net(5)), after a walk through all connections. Other systems tell
it to administrators alone.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

_DIAG_BY_FAMILY, _REQUEST, _ESTABLISHED = 20, 1, 1
_SOCK_DIAG = 4
"""NETLINK_SOCK_DIAG."""
_ANY_COOKIE = 0xFFFFFFFF
_HEADER, _QUERY, _PORTS = struct.Struct("=IHHII"), struct.Struct("=BBBxI"), struct.Struct(">HH")
_FOUND = struct.Struct("=xB2x48x4x4x4xII")
"""Of ``inet_diag_msg``: state, user, inode."""
_PATIENCE = 0.2
"""Seconds; the kernel answers within the call."""
_NOBODY = 65534
"""What a user looks like whom the namespace of this process has no number for."""
_TABLES = Path("/proc/net")
_STATE, _USER, _INODE = 3, 7, 9
"""Columns of the tables."""

Address = tuple[str, int]
_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address
_End = tuple[_Ip, int]


def holds_other_end(local: Address, peer: Address) -> bool:
    """Whether `peer` of a connection to `local` (addresses and ports) belongs to the user that this process runs as.

    False where the system cannot say, and where the peer has begun to close: a socket that nobody holds any more counts
    as root's. It is asked twice for that reason, since the first answer may be put together while the peer closes.
    """
    if sys.platform != "linux" or os.geteuid() == _NOBODY:
        return False
    try:
        near, far = _end_of(peer), _end_of(local)
    except ValueError:
        return False
    return all(_user_of(near, far) == os.geteuid() for _ in range(2))


def _end_of(address: Address) -> _End:
    found = ipaddress.ip_address(address[0].partition("%")[0])
    return getattr(found, "ipv4_mapped", None) or found, address[1]


def _user_of(near: _End, far: _End) -> int | None:
    # No netlink, none of this kind (gVisor, profiles that allow few families of sockets), or no module that answers it.
    for reader in (user_by_netlink, user_by_tables):
        with contextlib.suppress(OSError, ValueError, IndexError):
            found = reader(near, far)
            if found is not None:
                return found
    return None


def user_by_netlink(near: _End, far: _End) -> int | None:
    """The user of the open socket at `near` that is connected with `far`; None where there is none in this namespace.

    Raises:
        OSError: there is no such netlink here.
    """
    family = socket.AF_INET if near[0].version == 4 else socket.AF_INET6
    query = (
        _QUERY.pack(family, socket.IPPROTO_TCP, 0, 1 << _ESTABLISHED)
        + _PORTS.pack(near[1], far[1])
        + b"".join(one.packed.ljust(16, b"\0") for one, _ in (near, far))
        + struct.pack("=III", 0, _ANY_COOKIE, _ANY_COOKIE)
    )
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as asked:
        asked.settimeout(_PATIENCE)
        asked.send(_HEADER.pack(_HEADER.size + len(query), _DIAG_BY_FAMILY, _REQUEST, 0, 0) + query)
        answer = asked.recv(4096)
    if len(answer) < _HEADER.size + _FOUND.size or _HEADER.unpack_from(answer)[1] != _DIAG_BY_FAMILY:
        return None
    state, user, inode = _FOUND.unpack_from(answer, _HEADER.size)
    return int(user) if state == _ESTABLISHED and inode else None


def user_by_tables(near: _End, far: _End) -> int | None:
    """The same from the tables of all connections.

    Raises:
        OSError: they cannot be read.
        ValueError: they are none that we know.
        IndexError: their rows are too short.
    """
    for name, ends in _rows(near, far):
        for line in (_TABLES / name).read_text(encoding="ascii").splitlines()[1:]:
            found = line.split()
            if found[1:3] == ends:
                is_open = int(found[_STATE], 16) == _ESTABLISHED and found[_INODE] != "0"
                return int(found[_USER]) if is_open else None
    return None


def _rows(near: _End, far: _End) -> Iterator[tuple[str, list[str]]]:
    """In which tables a connection may stand, and how: a program may speak IPv4 through a socket of IPv6."""
    yield (
        "tcp" if near[0].version == 4 else "tcp6",
        [_written(near[0].packed, near[1]), _written(far[0].packed, far[1])],
    )
    if near[0].version == far[0].version == 4 and (_TABLES / "tcp6").exists():
        mapped = b"\0" * 10 + b"\xff\xff"
        yield "tcp6", [_written(mapped + one.packed, port) for one, port in (near, far)]


def _written(packed: bytes, port: int) -> str:
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return "".join(f"{word:08X}" for word in words) + f":{port:04X}"
