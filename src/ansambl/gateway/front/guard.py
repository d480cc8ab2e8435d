"""Which addresses may be listened on, and which requests come from web pages that may not ask.

A browser sends requests wherever a page tells it to, also to the machine that it runs on, which no firewall and no
loopback address keeps away. What it says of the page in Host, Origin and ``Sec-Fetch-*`` cannot be changed by the page.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ansambl.domain.errors import AnsamblError, UsageError
from ansambl.domain.text import text
from ansambl.foundation.network import is_loopback_address
from ansambl.gateway.asgi import Scope, header
from ansambl.gateway.front.peers import Proxies

# Only plain authorities: no user part, nothing behind the port. What a lenient parser makes of the rest is an attack.
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]*)?")
_ORIGIN = re.compile(rf"[A-Za-z][A-Za-z0-9+.-]*://{_AUTHORITY.pattern}")
_HEADER_NAMES = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~, -]+")
_CONTAINER_NAMES = frozenset({"host.docker.internal", "gateway.docker.internal", "host.containers.internal"})
"""What containers call the machine that they run on. No name server outside can say where these lead."""
_LOCAL_NAMES = frozenset({"localhost", "ip6-localhost"})

_ANY = "*"
_SHOWN = 100
_KNOWN_HOSTS = 256
_LONGEST = 300
"""Characters of a Host or an Origin that can be ours; names have 253 at most. Longer ones are not looked at."""

Headers = Sequence[tuple[bytes, bytes]]


class NotAllowedError(AnsamblError):
    """The request comes from somewhere that may not ask."""

    status = 403
    type = "permission_error"
    code = "not_allowed"


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own loopback."""
    name = host.strip("[]").lower().rstrip(".")
    return name in _LOCAL_NAMES or name.endswith(".localhost") or is_loopback_address(name)


def check_binding(host: str, *, has_keys: bool) -> None:
    """Refuse to listen on an address that other machines reach as long as no key lets anybody in.

    Raises:
        UsageError: `host` is not a loopback address, and there is no key.
    """
    if not has_keys and not is_loopback(host):
        raise UsageError(
            text(
                "Listening on {host} would let other machines in, and there is no API key yet. Create one first: "
                "ansambl keys create. Or use --host 127.0.0.1, and a tunnel such as ssh -L from elsewhere.",
                host=host,
            )
        )


@dataclass(frozen=True, slots=True)
class WebRules:
    """Where requests may come from.

    `hosts` are names of this machine beyond its loopback ones, in lower case; ``*.example.org`` is every name below
    one. `origins` are the web pages of others that may ask and read answers: ``scheme://name:port`` or ``*``. `wide` is
    whether other machines reach the address. `proxies` are believed when they tell who asks.
    """

    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    wide: bool = False
    proxies: Proxies = field(default_factory=Proxies)

    def is_own_name(self, name: str) -> bool:
        """Whether a host name is one of the configured ones."""
        return name in self.hosts or any(f"*{name[at:]}" in self.hosts for at, one in enumerate(name) if one == ".")


class Guard:
    """Refuses requests that a foreign web page makes through a user's browser. Rules can be changed at any time.

    A page that rebinds its name to this machine is known by its Host, one that asks across sites by its Origin. An
    address as Host is no such page: it would have to come from that very address. `has_keys` tells whether requests
    need a key; before that no rule lets in every page there is.
    """

    def __init__(self, rules: WebRules | None = None, has_keys: Callable[[], bool] = lambda: True) -> None:
        self.rules = rules or WebRules()
        self._has_keys = has_keys
        self._known_hosts: dict[bytes, bool] = {}

    def use(self, rules: WebRules) -> None:
        """Other rules from the next request on."""
        self.rules = rules
        self._known_hosts = {}

    def check(self, scope: Scope) -> Headers:
        """Let a request in, after what a trusted proxy tells of it was put into it.

        Returns:
            What its answer must say, so that a page of another origin may read it; empty for all others.

        Raises:
            NotAllowedError: it is not let in.
        """
        self.rules.proxies.seen_through(scope)
        host = origin = site = mode = None
        for name, value in scope["headers"]:
            if name == b"host":
                host = value
            elif name == b"origin":
                origin = value
            elif name == b"sec-fetch-site":
                site = value
            elif name == b"sec-fetch-mode":
                mode = value
        if host is not None and not self._is_known(host):
            raise _foreign_host(host, wide=self.rules.wide)
        if origin is not None:
            return self._check_origin(origin, host)
        if site == b"cross-site" and not (mode == b"navigate" and scope["method"] == "GET"):
            # A picture or a script of a foreign page. Browsers send no Origin with those; a link may lead here.
            raise NotAllowedError(text("Web pages of other sites may not use this address."))
        return ()

    def _is_known(self, host: bytes) -> bool:
        known = self._known_hosts.get(host)
        if known is None:
            if len(host) > _LONGEST:
                return False
            found = _AUTHORITY.fullmatch(host.decode("latin-1").strip())
            known = found is not None and self._is_ours(found[1])
            if len(self._known_hosts) < _KNOWN_HOSTS:
                self._known_hosts[host] = known
        return known

    def _is_ours(self, host: str) -> bool:
        name = host.strip("[]").lower().rstrip(".")
        if is_loopback(name) or name in _CONTAINER_NAMES or self.rules.is_own_name(name):
            return True
        return self.rules.wide and _is_address(name)

    def _check_origin(self, value: bytes, host: bytes | None) -> Headers:
        origin = value.decode("latin-1").strip().lower()
        if origin in self.rules.origins or (_ANY in self.rules.origins and self._has_keys()):
            return _cross_origin_headers(origin)
        if not self._is_ours_too(origin, host):
            raise NotAllowedError(
                text("Web pages of {origin} may not use this address. If they shall, add them to 'origins' under "
                     "[gateway].", origin=origin[:_SHOWN])
            )  # fmt: skip
        return ()

    def _is_ours_too(self, origin: str, host: bytes | None) -> bool:
        """Whether the pages of an origin are those of this machine, or of whatever answers under its names."""
        found = _ORIGIN.fullmatch(origin) if len(origin) <= _LONGEST else None
        if found is None:
            return False
        name = found[1].strip("[]").rstrip(".")
        asked = _AUTHORITY.fullmatch("localhost" if host is None else host.decode("latin-1").strip().lower())
        if asked is None:
            return False
        if is_loopback(name) or self.rules.is_own_name(name):
            # Loopback is the browser's own machine: those pages are ours only where it asks its own machine, too.
            return self.rules.is_own_name(name) or is_loopback(asked[1])
        scheme, _, authority = origin.partition("://")
        port = {"http": ":80", "https": ":443"}.get(scheme, "")
        return self.rules.wide and _is_address(name) and authority.removesuffix(port) == asked[0].removesuffix(port)


def preflight_headers(scope: Scope, allowed: Headers) -> Headers | None:
    """What answers a browser that asks what a page of another origin may send; None where it asks nothing.

    `allowed` is what `Guard.check` said of the page.

    Raises:
        NotAllowedError: such pages may send nothing that a browser asks for first.
    """
    if scope["method"] != "OPTIONS" or header(scope, b"access-control-request-method") is None:
        return None
    if not allowed:
        origin = (header(scope, b"origin") or b"").decode("latin-1")
        raise NotAllowedError(
            text("Web pages of {origin} may not read answers. If they shall, add them to 'origins' under [gateway].",
                 origin=origin[:_SHOWN])
        )  # fmt: skip
    wanted = (header(scope, b"access-control-request-headers") or b"").strip()
    found = [
        *allowed,
        (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
        (b"access-control-max-age", b"7200"),
    ]
    if wanted and _HEADER_NAMES.fullmatch(wanted):
        found.append((b"access-control-allow-headers", wanted))
    if header(scope, b"access-control-request-private-network") == b"true":
        found.append((b"access-control-allow-private-network", b"true"))
    return found


def _cross_origin_headers(origin: str) -> Headers:
    # Never with credentials, so a cookie goes to no other origin; hence all headers may be shown by one star.
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", b"*"),
        (b"vary", b"origin"),
    ]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _foreign_host(host: bytes, *, wide: bool) -> NotAllowedError:
    shown = host.decode("latin-1")[:_SHOWN]
    if wide:
        return NotAllowedError(
            text("The Host '{host}' is no name of this machine. If it shall be, add it to 'hosts' under [gateway].",
                 host=shown)
        )  # fmt: skip
    return NotAllowedError(
        text("The Host '{host}' is not this machine's own address; open http://127.0.0.1 instead, or add it to 'hosts' "
             "under [gateway].", host=shown)
    )  # fmt: skip
