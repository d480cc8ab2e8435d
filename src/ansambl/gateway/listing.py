"""What answers from memory while every engine is down: the names of all models, and whether Ansambl lives."""

from __future__ import annotations

from typing import Any

from ansambl.access.credentials import credentials_of
from ansambl.access.door import Door
from ansambl.domain.errors import UnknownNameError
from ansambl.domain.instance import InstanceState
from ansambl.domain.text import text
from ansambl.gateway.answering import Answering
from ansambl.gateway.asgi import Receive, Scope
from ansambl.gateway.exchange import Exchange, speaker_of_scope
from ansambl.gateway.peers import is_local
from ansambl.gateway.route import Route
from ansambl.roles.resolver import Resolver
from ansambl.roles.service import RoleService
from ansambl.runtime.coordinator import Coordinator


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
        await exchange.send_object(200, {"object": "list", "data": self._listed(exchange)})

    async def _get_model(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:  # noqa: ARG002 - one signature for all routes
        wanted = scope["path"].removeprefix("/v1/models/")
        name = self._resolver.resolve(wanted).name
        for one in self._listed(exchange):
            if one["id"] == name:
                await exchange.send_object(200, one)
                return
        raise UnknownNameError(text("There is no model '{name}'; GET /v1/models lists the names.", name=wanted))

    def _listed(self, exchange: Exchange) -> list[dict[str, Any]]:
        found = self._service.models_list(speaker_of_scope(exchange.scope))
        return [one for one in found if exchange.visit.caller.may_use(one["id"])]

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
