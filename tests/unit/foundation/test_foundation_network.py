"""Ports: taken, given back, and who has them. Addresses: which can only be this machine's own."""

import os
import socket

import psutil
import pytest

from ansambl.foundation.network import bound_socket, free_port, is_loopback_address, port_owner


def test_a_free_port_can_be_taken_and_then_has_an_owner():
    port = free_port()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        assert port_owner(port) == (os.getpid(), psutil.Process().name())
    assert port_owner(port) is None


def test_a_port_that_a_program_listens_on_cannot_be_bound_until_it_is_given_back():
    with bound_socket("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        first.listen()
        with pytest.raises(OSError, match="in use"):
            bound_socket("127.0.0.1", port)
    bound_socket("127.0.0.1", port).close()


@pytest.mark.parametrize("address", ["127.0.0.1", "127.255.0.3", "::1"])
def test_loopback_addresses(address):
    assert is_loopback_address(address)


@pytest.mark.parametrize("address", ["", "localhost", "[::1]", "10.0.0.1", "127.1", "127.0.0.1.example"])
def test_everything_else_is_not_a_loopback_address(address):
    assert not is_loopback_address(address)
