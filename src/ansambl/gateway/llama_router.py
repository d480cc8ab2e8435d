"""The paths of llama.cpp's router: which models are in memory, changes as they come, load and unload.

Open WebUI with the provider "llama.cpp" reads them, and so do programs made for ``llama-server`` without a model.
Every role, ensemble and model is one of the router's models.
"""

from __future__ import annotations

from typing import Any

import ansambl
from ansambl.dialects import openai_chat
from ansambl.domain.access import Endpoint
from ansambl.domain.text import text
from ansambl.gateway.answering import Answering
from ansambl.gateway.asgi import Receive, Scope, cancelled_when_client_leaves
from ansambl.gateway.exchange import Exchange
from ansambl.gateway.listing import Listing, query_of
from ansambl.gateway.loading import Loading
from ansambl.gateway.route import Route
from ansambl.roles.records import Target
from ansambl.roles.resolver import Resolver
from ansambl.runtime.coordinator import Coordinator

KEPT_ALIVE = 15.0
"""Seconds without an event after which a comment is sent: connections that say nothing are closed after 30 or more."""

_States = dict[str, dict[str, Any]]


class LlamaRouter:
    """`/models`, `/models/load`, `/models/unload`, `/models/sse` and `/props`."""

    def __init__(
        self, resolver: Resolver, listing: Listing, loading: Loading, coordinator: Coordinator, answering: Answering
    ) -> None:
        self._resolver = resolver
        self._listing = listing
        self._loading = loading
        self._coordinator = coordinator
        self._answering = answering

    def routes(self) -> dict[str, Route]:
        """What answers, by its path."""
        return {
            "/models": Route("GET", self._get_models),
            "/models/load": Route("POST", self._post_load, Endpoint.CHAT),
            "/models/unload": Route("POST", self._post_unload, Endpoint.ADMIN),
            "/models/sse": Route("GET", self._get_events),
            "/props": Route("GET", self._get_props),
        }

    async def _get_models(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:  # noqa: ARG002 - one signature for all routes
        await exchange.send_object(
            200, {"object": "list", "data": [_router_entry(one) for one in self._entries(exchange)]}
        )

    async def _post_load(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:
        self._loading.begin_load(await self._asked(exchange, scope, receive))
        await exchange.send_object(200, {"success": True})

    async def _post_unload(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:
        self._loading.begin_unload(await self._asked(exchange, scope, receive), exchange.visit.caller)
        await exchange.send_object(200, {"success": True})

    async def _asked(self, exchange: Exchange, scope: Scope, receive: Receive) -> Target:
        request = openai_chat.parse_request(await self._answering.read(exchange, scope, receive))
        target = self._resolver.resolve(request.model)
        exchange.name = target.name
        exchange.visit.caller.require_name(target.name)
        return target

    async def _get_props(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:  # noqa: ARG002 - one signature for all routes
        """What the router says of itself, or of the model that the address names."""
        named = query_of(scope).get("model")
        found: dict[str, Any] = {
            "role": "router", "models_autoload": True, "model_alias": "ansambl", "model_path": "none",
            "build_info": f"ansambl-{ansambl.__version__}", "default_generation_settings": {"params": {}, "n_ctx": 0},
        }  # fmt: skip
        if named:
            name = self._resolver.resolve(named).name
            exchange.visit.caller.require_name(name)
            entry = self._listing.entry(exchange, name)
            seen = entry["architecture"]["input_modalities"]
            del found["role"], found["models_autoload"]
            found |= {
                "model_alias": name,
                "default_generation_settings": {"params": {}, "n_ctx": entry.get("context_length") or 0},
                "modalities": {"vision": "image" in seen, "audio": "audio" in seen},
            }
        await exchange.send_object(200, found)

    async def _get_events(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:  # noqa: ARG002 - one signature for all routes
        # No answer that a stop waits for: it ends as soon as Ansambl drains.
        async with cancelled_when_client_leaves(receive):
            await self._tell_changes(exchange)

    async def _tell_changes(self, exchange: Exchange) -> None:
        """One event for each name whose state changed since the last one that was sent.

        Only the last states are kept, so that a slow reader misses those between and costs no memory.
        """
        changes = self._coordinator.changes
        seen, told = changes.count, self._states(exchange)
        await exchange.comment(text("watching").render())
        while not self._answering.draining:
            count = await changes.after(seen, KEPT_ALIVE)
            rang, seen = count != seen, count
            now = self._states(exchange)
            events = _events(told, now)
            told = now
            if events:
                await exchange.send_event(b"".join(map(openai_chat.event, events)))
            elif not rang:
                await exchange.comment(text("watching").render())
        await exchange.end()

    def _states(self, exchange: Exchange) -> _States:
        return {one["id"]: one["status"] for one in self._entries(exchange)}

    def _entries(self, exchange: Exchange) -> list[dict[str, Any]]:
        return self._listing.entries(exchange)


def _router_entry(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry with the fields that the router's have beyond it: nothing is removed or started anew over this API."""
    return {**entry, "tags": [entry["kind"]], "can_remove": False, "status": {**entry["status"], "args": []}}


def _events(before: _States, now: _States) -> list[dict[str, Any]]:
    found = [
        {"model": name, "event": "status_change", "data": _told(status)}
        for name, status in now.items()
        if name in before and before[name] != status
    ]
    if before.keys() != now.keys():
        found.append({"model": "*", "event": "models_reload", "data": {}})
    return found


def _told(status: dict[str, Any]) -> dict[str, Any]:
    told = {"status": status["value"], **{name: value for name, value in status.items() if name != "value"}}
    if status.get("failed"):
        # By this, programs that know the router tell a model that failed from one that was unloaded.
        told["exit_code"] = 1
    return told
