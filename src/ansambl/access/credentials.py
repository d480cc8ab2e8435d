"""What a request brings to the door: a key in one of the headers that clients use, or the cookie of a session."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import Any

from ansambl.access.door import Credentials
from ansambl.access.sessions import LONGEST

Scope = MutableMapping[str, Any]

NAVIGATED = "ansambl.navigated"
"""True in the scope of what the console asks of the admin API for a page that a browser goes to: by an address that was
typed, a bookmark, or a link on a page of anybody. No other page can read the answer, and no header can claim it."""

UNTOLD = "ansambl.untold"
"""True beside it where the browser is one of which `is_untold` is true."""

_PROXYS = (
    b"forwarded", b"via", b"x-forwarded-", b"x-real-ip", b"x-client-ip", b"x-cluster-client-ip", b"client-ip",
    b"true-client-ip", b"x-original-", b"x-envoy-", b"cdn-loop", b"cf-", b"fastly-", b"fly-", b"tailscale-",
)  # fmt: skip
"""What the headers begin with that proxies, tunnels and content networks write, and browsers never do."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_TOLD = frozenset({b"sec-fetch-mode", b"sec-fetch-dest", b"sec-fetch-site", b"origin"})
_PLAIN_PORTS = {"http": b":80", "https": b":443"}


def credentials_of(scope: Scope, *, local: bool, reads: bool = False) -> Credentials:
    """Read what an HTTP request brings; `local` is whether it comes from this machine.

    `reads` says that a request changes nothing though its method could: it counts as GET where a page asks it that a
    browser goes to (`NAVIGATED`).

    A key stands in ``Authorization: Bearer`` (OpenAI's clients), else in ``x-api-key`` (Anthropic's), else in
    ``api-key`` (Azure's). The cookie counts where nothing is changed, and where the browser says that a page of this
    very address makes the request: other sites and other ports of this machine can make it, too.
    """
    bearer = own = azure = cookie = b""
    for name, value in scope["headers"]:
        if name == b"authorization":
            kind, _, rest = value.partition(b" ")
            bearer = bearer or (rest.strip() if kind.lower() == b"bearer" else b"")
        elif name == b"x-api-key":
            own = own or value.strip()
        elif name == b"api-key":
            azure = azure or value.strip()
        elif name == b"cookie":
            cookie = cookie or _value(value, cookie_name(scope))
    secret = bearer or own or azure
    safe = scope["method"] in _SAFE or (reads and scope.get(NAVIGATED) is True)
    if cookie and not safe and not is_same_origin(scope):
        cookie = b""
    return Credentials(secret.decode("latin-1") or None, cookie.decode("latin-1") or None, local)


def tells_of_proxy(name: bytes) -> bool:
    """Whether a header of this name is one that only those write who hand on what others ask."""
    return name.startswith(_PROXYS)


def is_handed_on(scope: Scope) -> bool:
    """Whether something between its sender and us handed a request on, as far as that shows.

    No browser of today speaks HTTP/1.0; a proxy that adds no header at all may do so.
    """
    return scope.get("http_version") == "1.0" or any(tells_of_proxy(name) for name, _ in scope["headers"])


def navigates(scope: Scope) -> bool:
    """Whether somebody goes to a page, as a whole and not within another one: a browser that says so, or no browser.

    A request without any of the headers by which browsers tell of pages comes from a program, or from a browser that
    sends none (`is_untold`). What such a browser shows of an answer to a foreign page is nothing: it may not be framed,
    read or run.
    """
    found = _told(scope)
    return scope["method"] in _SAFE and (
        not found or (found.get(b"sec-fetch-mode") == b"navigate" and found.get(b"sec-fetch-dest") == b"document")
    )


def is_untold(scope: Scope) -> bool:
    """Whether somebody goes to a page with a browser that does not tell of pages.

    So do Safari before 16.4, and all browsers on plain HTTP to another machine. Of what a page then asks for nobody can
    say that it is the page that asks, so whoever brings nothing else has to sign in.
    """
    return (
        navigates(scope)
        and not _told(scope)
        and any(name == b"accept" and b"text/html" in value for name, value in scope["headers"])
    )


def is_same_origin(scope: Scope) -> bool:
    """Whether a browser says that a page of this address makes a request.

    Both headers are written by browsers alone. ``Sec-Fetch-Site`` is missing in old ones and on plain HTTP to other
    machines, so ``Origin`` does as well; where both are there both must say so, and where none is it is not known.
    """
    site = origin = None
    host = b""
    for name, value in scope["headers"]:
        if name == b"sec-fetch-site":
            site = value
        elif name == b"origin":
            origin = value
        elif name == b"host":
            host = value
    if site is not None and site != b"same-origin":
        return False
    if origin is None:
        return site is not None
    scheme, found, authority = origin.partition(b"://")
    plain = _PLAIN_PORTS.get(scheme.decode("latin-1").lower(), b"")
    return bool(found) and bool(host) and _bare(authority, plain) == _bare(host, plain)


def _told(scope: Scope) -> dict[bytes, bytes]:
    return {name: value for name, value in scope["headers"] if name in _TOLD}


def _bare(authority: bytes, plain_port: bytes) -> bytes:
    low = authority.strip().lower()
    return low.removesuffix(plain_port) if plain_port else low


def cookie_name(scope: Scope) -> bytes:
    """The name of the session's cookie. Browsers keep cookies by host, so two Ansambls on one need two names."""
    server = scope.get("server")
    return b"ansambl_session_%d" % (server[1] or 0) if server else b"ansambl_session"


def cookie_header(scope: Scope, value: str | None) -> tuple[bytes, bytes]:
    """The header that gives a browser the cookie, or takes it away (None). No script can read it."""
    age = int(LONGEST) if value is not None else 0
    parts = [b"%b=%b" % (cookie_name(scope), (value or "").encode()), b"Path=/", b"Max-Age=%d" % age, b"HttpOnly",
             b"SameSite=Strict"]  # fmt: skip
    if scope.get("scheme") == "https":
        parts.append(b"Secure")
    return b"set-cookie", b"; ".join(parts)


def _value(header: bytes, name: bytes) -> bytes:
    pairs: Iterable[tuple[bytes, bytes, bytes]] = (one.strip().partition(b"=") for one in header.split(b";"))
    return next((value for key, _, value in pairs if key == name), b"")
