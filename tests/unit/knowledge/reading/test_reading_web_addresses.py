"""Which addresses count as public, whatever they are wrapped in."""

from __future__ import annotations

import pytest

from ansambl.knowledge.reading.web import is_address, is_public


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "64:ff9b::5db8:d70e"])
def test_public_ones(address: str):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", ".".join("0000"), "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1",
        "fe80::1%eth0", "fc00::1",
        "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1", "2002:7f00:1::", "2001:0:4136:e378:8000:63bf:f5ff:fffe",
        "192.0.0.192", "168.63.129.16", "192.88.99.1", "fec0::1", "3fff::1", "::ffff:168.63.129.16", "64:ff9b::c000:c0",
        "2001:db8::1", "", "localhost", "0x7f.1", "2130706433",
    ],
)  # fmt: skip
def test_those_that_are_not(address: str):
    assert not is_public(address)


def test_what_is_an_address():
    assert is_address("https://example.org/a")
    assert is_address("HTTP://example.org")
    assert not is_address("/srv/http.txt")
    assert not is_address("ftp://example.org/a")
