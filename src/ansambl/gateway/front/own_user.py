"""Whether a request was sent by the user that Ansambl runs as, on this machine."""

from __future__ import annotations

from urllib.parse import urlsplit

from ansambl.access.credentials import is_handed_on
from ansambl.foundation.socket_owner import holds_other_end
from ansambl.gateway.asgi import Scope, header
from ansambl.gateway.front.guard import is_loopback
from ansambl.gateway.front.peers import is_local


def is_own_user(scope: Scope) -> bool:
    """Whether a request comes over loopback, to a loopback name, from a program of the user that Ansambl runs as.

    A program of that user could as well read the run's token; whom it lets in from elsewhere could not. So what names
    another host, or tells of a proxy, is not taken for its own. Root counts only where Ansambl runs as root: proxies of
    containers and of private networks run as root, and what they bring comes from others.
    """
    client, server = scope.get("client"), scope.get("server")
    if not client or not server or not client[1] or not server[1] or not is_local(scope):
        return False
    if is_handed_on(scope):
        return False
    try:
        host = urlsplit(f"//{(header(scope, b'host') or b'').decode('latin-1').strip()}").hostname
    except ValueError:
        return False
    return bool(host and is_loopback(host) and holds_other_end((server[0], server[1]), (client[0], client[1])))
