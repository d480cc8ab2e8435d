"""Who is taken for the owner: loopback, a loopback name, no proxy, the same user; all of them."""

from __future__ import annotations

import pytest

from ansambl.gateway.front import own_user
from ansambl.gateway.front.own_user import is_own_user


def scope(*headers, client=("127.0.0.1", 40_000), server=("127.0.0.1", 8484), host="localhost:8484"):
    lines = [(name.encode(), value.encode()) for name, value in headers]
    return {"client": client, "server": server, "headers": [(b"host", host.encode()), *lines]}


@pytest.fixture(autouse=True)
def same_user(monkeypatch):
    """The system says yes, so that what else is looked at decides."""
    asked = []
    monkeypatch.setattr(own_user, "holds_other_end", lambda local, peer: asked.append((local, peer)) or True)
    return asked


@pytest.mark.parametrize("host", ["localhost:8484", "127.0.0.1", "127.0.0.1:8484", "[::1]:8484", "ansambl.localhost:1"])
def test_a_loopback_name_is_this_machine(host, same_user):
    assert is_own_user(scope(host=host))
    assert same_user == [(("127.0.0.1", 8484), ("127.0.0.1", 40_000))]


@pytest.mark.parametrize(
    "found",
    [
        scope(host="ai.example"), scope(host="host.docker.internal"), scope(host=""), scope(host="["),
        scope(host="localhost.evil.example"), scope(host="127.0.0.1.evil.example"), scope(client=("10.0.0.7", 1)),
        scope(client=None), scope(server=None), scope(client=("127.0.0.1", 0)), scope(server=("/run/socket", None)),
        scope(("x-forwarded-for", "127.0.0.1")), scope(("x-forwarded-for", "203.0.113.9")), scope(("via", "1.1 x")),
        scope(("forwarded", "for=127.0.0.1")), scope(("x-real-ip", "127.0.0.1")), scope(("x-forwarded-proto", "https")),
        # Tunnels and content networks, and a proxy that writes no header but speaks as nothing else does.
        *(scope((name, "203.0.113.9")) for name in (
            "cf-connecting-ip", "cf-ray", "cdn-loop", "true-client-ip", "x-client-ip", "fastly-client-ip",
            "fly-client-ip", "tailscale-user-login", "x-envoy-external-address", "x-original-forwarded-for",
        )), {**scope(), "http_version": "1.0"},
    ],
)  # fmt: skip
def test_what_names_another_host_or_tells_of_a_proxy_is_not(found, same_user):
    assert not is_own_user(found)
    assert same_user == []


def test_another_user_is_not(monkeypatch):
    monkeypatch.setattr(own_user, "holds_other_end", lambda *_: False)
    assert not is_own_user(scope())
