"""What answers from memory while every engine is down: the names of all models, and whether Ansambl lives."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from ansambl.access.credentials import credentials_of
from ansambl.access.door import Door
from ansambl.dialects.anthropic_messages import models
from ansambl.domain.errors import UnknownNameError
from ansambl.domain.instance import InstanceState
from ansambl.domain.text import text
from ansambl.gateway.answering import Answering
from ansambl.gateway.asgi import Receive, Scope, header
from ansambl.gateway.exchange import Exchange, speaker_of_scope
from ansambl.gateway.front.peers import is_local
from ansambl.gateway.route import Route
from ansambl.roles.availability import Availabilities
from ansambl.roles.records import RoleCatalog
from ansambl.roles.resolver import Resolver
from ansambl.roles.service import RoleService
from ansambl.runtime.coordinator import Coordinator

FRESH = 1.0
"""Seconds for which entries are kept where nothing rang: what waits for a model changes silently."""
_LANGUAGES = 16
_LONGEST_QUERY = 2_000


@dataclass(frozen=True, slots=True)
class _Kept:
    catalog: RoleCatalog
    count: int
    made: float
    entries: list[dict[str, Any]]


class Listing:
    """`/v1/models`, `/health` and `/ready`.

    `answering` tells whether Ansambl is stopping, `door` who may read more than whether it is ready.
    """

    def __init__(
        self, resolver: Resolver, service: RoleService, coordinator: Coordinator, answering: Answering, door: Door
    ) -> None:
        self._resolver = resolver
        self._service = service
        self._coordinator = coordinator
        self._answering = answering
        self._door = door
        self._kept: dict[Callable[[str], str], _Kept] = {}
        self.model = Route("GET", self._get_model)
        """What answers below `/v1/models/`."""

    def routes(self) -> dict[str, Route]:
        """What answers, by its path."""
        return {
            "/v1/models": Route("GET", self._get_models),
            "/health": Route("GET", self._get_health, public=True),
            "/ready": Route("GET", self._get_ready, public=True),
        }

    async def _get_models(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:  # noqa: ARG002 - one signature for all routes
        # Anthropic's clients say their version in every request, and read another shape.
        listed = self.entries(exchange)
        if header(scope, b"anthropic-version") is not None:
            await exchange.send_object(200, models.list_object(listed, query_of(scope)))
            return
        await exchange.send_object(200, {"object": "list", "data": listed})

    async def _get_model(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:  # noqa: ARG002 - one signature for all routes
        found = self.entry(exchange, self._resolver.resolve(scope["path"].removeprefix("/v1/models/")).name)
        anthropic = header(scope, b"anthropic-version") is not None
        await exchange.send_object(200, models.model_object(found) if anthropic else found)

    def entry(self, exchange: Exchange, name: str) -> dict[str, Any]:
        """The entry of one name, as `entries` gives it.

        Raises:
            UnknownNameError: it is not listed for the caller.
        """
        for one in self.entries(exchange):
            if one["id"] == name:
                return one
        raise UnknownNameError(text("There is no model '{name}'; GET /v1/models lists the names.", name=name))

    def entries(self, exchange: Exchange) -> list[dict[str, Any]]:
        """The entries of all names that the caller may use, from memory alone; they are shared, so change none."""
        caller = exchange.visit.caller
        return [one for one in self._all(speaker_of_scope(exchange.scope)) if caller.may_use(one["id"])]

    def _all(self, speak: Callable[[str], str]) -> list[dict[str, Any]]:
        """The entries of all names. They are made again when something changed, and every second."""
        catalog, count, now = self._service.catalog, self._coordinator.changes.count, time.monotonic()
        kept = self._kept.get(speak)
        if kept is not None and kept.catalog is catalog and kept.count == count and now - kept.made < FRESH:
            return kept.entries
        entries = self._service.models_list(speak, Availabilities(self._coordinator, catalog))
        if len(self._kept) >= _LANGUAGES:
            self._kept.clear()
        self._kept[speak] = _Kept(catalog, count, now, entries)
        return entries

    async def _get_health(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:  # noqa: ARG002 - one signature for all routes
        await exchange.send_object(200, {"status": "ok"})

    async def _get_ready(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:  # noqa: ARG002 - one signature for all routes
        states = {one.model: one.state for one in self._coordinator.statuses()}
        ready = not self._answering.draining and any(state is InstanceState.READY for state in states.values())
        found: dict[str, Any] = {"ready": ready}
        caller = self._door.known(credentials_of(scope, local=is_local(scope)))
        if caller is not None:
            found["instances"] = {name: state.value for name, state in states.items() if caller.may_use(name)}
        await exchange.send_object(200 if ready else 503, found)


def query_of(scope: Scope) -> dict[str, str]:
    """What the address says behind its question mark; of a name that stands there twice the last value counts."""
    return dict(parse_qsl(scope.get("query_string", b"").decode("latin-1")[:_LONGEST_QUERY], keep_blank_values=True))
