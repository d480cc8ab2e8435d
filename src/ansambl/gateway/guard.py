"""Who may come in while no key exists: programs on this machine, and no web page from elsewhere."""

from __future__ import annotations

import re
from functools import lru_cache

from ansambl.domain.errors import AnsamblError, UsageError
from ansambl.domain.text import text
from ansambl.foundation.network import is_loopback_address
from ansambl.gateway.asgi import Scope, header

# Only plain authorities: no user part, nothing behind the port. What a lenient parser makes of the rest is an attack.
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]*)?")
_ORIGIN = re.compile(rf"[A-Za-z][A-Za-z0-9+.-]*://{_AUTHORITY.pattern}")
_LOCAL_NAMES = frozenset({"localhost", "ip6-localhost"})


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


@lru_cache(maxsize=256)
def _is_local(value: bytes, shape: re.Pattern[str]) -> bool:
    found = shape.fullmatch(value.decode("latin-1").strip())
    return found is not None and is_loopback(found[1])


def check_request(scope: Scope) -> None:
    """Refuse a request that a foreign web page makes through the user's browser.

    A page that rebinds its name to 127.0.0.1 is known by its Host, a page that posts across sites by its Origin.

    Raises:
        NotAllowedError: it does.
    """
    host = header(scope, b"host")
    if host is not None and not _is_local(host, _AUTHORITY):
        raise NotAllowedError(
            text(
                "The Host '{host}' is not this machine's own address; open http://127.0.0.1 instead.",
                host=host.decode("latin-1")[:100],
            )
        )
    origin = header(scope, b"origin")
    if origin is not None and not _is_local(origin, _ORIGIN):
        raise NotAllowedError(
            text("Web pages of {origin} may not use this address.", origin=origin.decode("latin-1")[:100])
        )
