"""Who really sent a request: the other end of its connection, or the client that a trusted proxy tells of.

Whatever stands in ``Forwarded`` and ``X-Forwarded-*`` is written by whoever likes, so it is believed only where the
connection comes from a configured proxy. It is always enough to doubt that a request is this machine's own.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from ansambl.foundation.network import Network, network_of
from ansambl.gateway.asgi import Scope, header

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

UNKNOWN = "unknown"
"""The address of a client that nobody can name."""

_LONGEST = 200
"""Characters of an address with its zone; what is longer is none."""
_HOPS = 50
"""More proxies than that stand in no real chain."""
_PORT = re.compile(r"\[(?P<six>[^\[\]]*)\](?::\d+)?|(?P<four>[0-9.]+):\d+")
_PAIR = re.compile(r'([A-Za-z-]+)="?([^"]*)"?')
"""One pair of ``Forwarded``, without blanks around it: with those in the pattern, a header of 60 KB took a minute."""
_SCHEMES = frozenset({"http", "https"})


def address_of(said: str) -> Address | None:
    """An IP address as proxies write it: perhaps with a port, in brackets, with a zone, or IPv4 within IPv6."""
    return _read(said) if len(said) <= _LONGEST else None


@lru_cache(1024)
def _read(said: str) -> Address | None:
    found = _PORT.fullmatch(said.strip())
    bare = said.strip() if found is None else found["six"] or found["four"] or ""
    try:
        address = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


@lru_cache(1024)
def _is_loopback(address: Address) -> bool:
    return address.is_loopback


def client_address(scope: Scope) -> str:
    """The address of whoever sent a request, without its port; `UNKNOWN` where nobody can tell.

    It is the client that the proxies told of, if `Proxies.seen_through` has looked at the request.
    """
    client = scope.get("client")
    address = address_of(client[0]) if client else None
    return str(address) if address is not None else UNKNOWN


def is_local(scope: Scope) -> bool:
    """Whether a request comes from this machine: over loopback, and nothing in it tells of a sender elsewhere.

    A proxy on this machine comes over loopback, too. So it is asked of every hop that a header names, believed or not.
    """
    client = scope.get("client")
    sender = address_of(client[0]) if client else None
    if sender is None or not _is_loopback(sender):
        return False
    return all(one is not None and _is_loopback(one) for one in map(address_of, _all_hops(scope)))


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies that are believed, by address."""

    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, written: Iterable[str]) -> Proxies:
        """Read addresses and networks.

        Raises:
            ValueError: one is neither.
        """
        return cls(tuple(map(network_of, written)))

    def trusts(self, address: Address) -> bool:
        """Whether what comes from an address is believed."""
        return any(address.version == one.version and address in one for one in self.networks)

    def seen_through(self, scope: Scope) -> None:
        """Put the real client, scheme and host into a request that trusted proxies handed on.

        The client is the rightmost hop that is no trusted proxy: what stands left of it may be that client's words.
        """
        if not self.networks:
            return
        client = scope.get("client")
        sender = address_of(client[0]) if client else None
        if sender is None or not self.trusts(sender):
            return
        hops, forwarded = _hops(scope), _forwarded(scope)
        if hops:
            scope["client"] = (self._real(hops), 0)
        scheme = _last(scope, b"x-forwarded-proto") or _named(forwarded, "proto")
        if scheme in _SCHEMES:
            scope["scheme"] = scheme
        host = _last(scope, b"x-forwarded-host") or _named(forwarded, "host")
        if host:
            others = [(name, value) for name, value in scope["headers"] if name != b"host"]
            scope["headers"] = [(b"host", host.encode("latin-1", "replace")), *others]

    def _real(self, hops: list[str]) -> str:
        address = None
        for hop in reversed(hops):
            address = address_of(hop)
            if address is None or not self.trusts(address):
                break
        return str(address) if address is not None else UNKNOWN


def _values(scope: Scope, name: bytes) -> list[str]:
    """All values of a header that may come several times, in their order."""
    lines = [value.decode("latin-1") for key, value in scope["headers"] if key == name]
    return [one.strip() for one in ",".join(lines).split(",")] if lines else []


def _last(scope: Scope, name: bytes) -> str:
    """What the nearest proxy wrote."""
    found = _values(scope, name)
    return found[-1].lower() if found else ""


def _forwarded(scope: Scope) -> list[tuple[str, str]]:
    lines = [value.decode("latin-1") for key, value in scope["headers"] if key == b"forwarded"]
    found = []
    for part in ",".join(lines).replace(";", ",").split(","):
        pair = _PAIR.fullmatch(part.strip())
        if pair is not None:
            found.append((pair[1].lower(), pair[2]))
        elif part.strip().lower().startswith("for"):
            # A hop that we cannot read is a hop all the same.
            found.append(("for", UNKNOWN))
    return found


def _named(forwarded: list[tuple[str, str]], name: str) -> str:
    return next((value.lower() for key, value in reversed(forwarded) if key == name), "")


def _hops(scope: Scope) -> list[str]:
    """Who a request went through, from its client on. ``X-Forwarded-For`` is the one that all proxies write."""
    found = _values(scope, b"x-forwarded-for") or _forwarded_hops(scope)
    return found[-_HOPS:]


def _forwarded_hops(scope: Scope) -> list[str]:
    if header(scope, b"forwarded") is None:
        return []
    # One that is written in a way that we do not read still says that somebody handed the request on.
    return [value for name, value in _forwarded(scope) if name == "for"] or [UNKNOWN]


def _all_hops(scope: Scope) -> list[str]:
    return [*_values(scope, b"x-forwarded-for"), *_forwarded_hops(scope), *_values(scope, b"x-real-ip")]
