"""Whose the other end of a loopback connection is, asked of the real system, by both ways that it tells."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys

import pytest

from ansambl.foundation import socket_owner
from ansambl.foundation.socket_owner import _end_of, holds_other_end, user_by_netlink, user_by_tables

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells it to everybody")
READERS = [user_by_netlink, user_by_tables]
OTHER = 54321


@contextlib.contextmanager
def connected(host="127.0.0.1", listen=None):
    family = socket.AF_INET6 if ":" in (listen or host) else socket.AF_INET
    with socket.create_server((listen or host, 0), family=family, dualstack_ipv6=listen == "::") as listener:
        port = listener.getsockname()[1]
        with socket.create_connection((host, port), timeout=10) as client:
            accepted, peer = listener.accept()
            with accepted:
                yield client, accepted.getsockname()[:2], peer[:2]


@pytest.fixture(params=READERS)
def reader(request, monkeypatch):
    """One of the ways alone."""
    if request.param is user_by_netlink:
        with connected() as (_, local, peer):
            try:
                user_by_netlink(_end_of(peer), _end_of(local))
            except OSError:
                pytest.skip("this system has no netlink that tells of sockets")
    else:
        monkeypatch.setattr(socket_owner, "user_by_netlink", _without)
    return request.param


def _without(near, far):
    raise PermissionError("no netlink")


@pytest.mark.parametrize(("host", "listen"), [("127.0.0.1", None), ("::1", None), ("127.0.0.1", "::")])
def test_an_own_connection_is_one_s_own(reader, host, listen):
    try:
        stage = connected(host, listen)
        found = stage.__enter__()
    except OSError:
        pytest.skip("no IPv6 here")
    client, local, peer = found
    assert reader(_end_of(peer), _end_of(local)) == os.geteuid()
    assert holds_other_end(local, peer)
    # The other way round it is ours as well; with another port there is nobody.
    assert holds_other_end(peer, local)
    assert not holds_other_end(local, (peer[0], local[1]))
    assert not holds_other_end((local[0], 1), peer)
    client.close()
    # Whoever begins to close is nobody, though the system would count what is left as root's.
    assert not holds_other_end(local, peer)
    stage.__exit__(None, None, None)


def test_what_cannot_be_an_address_is_nobody(reader):
    for wrong in ("unix:/tmp/x", "", "localhost", "999.0.0.1", "127.0.0.1.example"):
        assert not holds_other_end(("127.0.0.1", 80), (wrong, 4000))
        assert not holds_other_end((wrong, 80), ("127.0.0.1", 4000))
    assert not holds_other_end(("::1", 80), ("127.0.0.1", 4000))


def test_where_the_system_says_nothing_nobody_is_the_owner(monkeypatch, tmp_path):
    monkeypatch.setattr(socket_owner, "user_by_netlink", _without)
    monkeypatch.setattr(socket_owner, "_TABLES", tmp_path)
    with connected() as (_, local, peer):
        assert not holds_other_end(local, peer)
        (tmp_path / "tcp").write_text("a table\nof another kind\n", encoding="ascii")
        assert not holds_other_end(local, peer)


def test_the_socket_of_another_user_is_not_one_s_own(reader):
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root with setpriv can start a program of another user")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        port = listener.getsockname()[1]
        # A shell that holds the connection until it is told to end: Python of a virtual environment may be unreadable.
        program = f"exec 3<>/dev/tcp/127.0.0.1/{port}; read -r _"
        argv = ["setpriv", f"--reuid={OTHER}", f"--regid={OTHER}", "--clear-groups", "bash", "-c", program]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, cwd="/") as other:
            accepted, peer = listener.accept()
            with accepted:
                local = accepted.getsockname()
                assert reader(_end_of(peer), _end_of(local)) == OTHER
                assert not holds_other_end(local, peer)
            other.communicate(b"\n", timeout=20)
