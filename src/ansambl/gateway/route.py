"""One route of the gateway: what answers, and what a caller must be allowed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ansambl.domain.access import Endpoint
from ansambl.gateway.asgi import Receive, Scope
from ansambl.gateway.exchange import Exchange

Handler = Callable[[Exchange, Scope, Receive], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Route:
    """What answers `method` at a path. `endpoint` is what a caller's key must allow, None where any key will do.

    `public` ones ask for no key at all: they tell nothing but that Ansambl is there.
    """

    method: str
    handler: Handler
    endpoint: Endpoint | None = None
    public: bool = False
