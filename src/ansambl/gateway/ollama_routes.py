"""Ollama's API, for clients that know nothing else. Every role, ensemble and model is one of its models."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import ansambl
from ansambl.dialects import openai_chat
from ansambl.dialects.ollama import listing as lists
from ansambl.dialects.ollama.answers import Moments, residence_object, silence_line
from ansambl.dialects.ollama.requests import AskedOllama, parse_chat, parse_generate
from ansambl.dialects.ollama.vectors import AskedVectors, parse_vectors
from ansambl.domain.access import Endpoint
from ansambl.domain.errors import AnsamblError, EngineError, NotSupportedError, UnknownNameError
from ansambl.domain.instance import InstanceStatus
from ansambl.domain.model_details import NOTHING_KNOWN
from ansambl.domain.serving import Operation
from ansambl.domain.text import Text, text
from ansambl.gateway.answering import Answering
from ansambl.gateway.asgi import Receive, Scope, header
from ansambl.gateway.chat import ChatHandler
from ansambl.gateway.exchange import Exchange
from ansambl.gateway.handing_on import Outgoing, hand_on
from ansambl.gateway.listing import Listing
from ansambl.gateway.loading import Loading
from ansambl.gateway.operations import cannot, says_cannot
from ansambl.gateway.route import Route
from ansambl.gateway.standing import standing_of
from ansambl.gateway.stream_shapes import JSON_LINES, StreamShape
from ansambl.gateway.translating import broken_before_an_answer
from ansambl.roles.availability import Availabilities, Presence, models_of
from ansambl.roles.records import NO_OPTIONS, EnsembleTarget, ModelTarget, RoleTarget, Target
from ansambl.roles.resolver import Resolver
from ansambl.roles.service import RoleService
from ansambl.runtime.abilities import serving
from ansambl.runtime.coordinator import Coordinator
from ansambl.runtime.scheduling.records import RAM

PREFIX = "/api/"
GREETING = b"Ollama is running"
_TEXT = (b"content-type", b"text/plain; charset=utf-8")


_INSTEAD: dict[str, Text] = {
    "pull": text("Models are not fetched over this API; use: ansambl models pull NAME"),
    "push": text("Models are not published by Ansambl; use the tools of the hub."),
    "create": text("Models are not made over this API; a role with its own instruction is made with: ansambl roles "
                   "edit NAME"),
    "copy": text("Models are not copied over this API; another name for one is 'aliases' in ansambl.toml."),
    "delete": text("Models are not deleted over this API; use: ansambl models remove NAME"),
    "blobs": text("Files of models are not taken over this API; use: ansambl models pull NAME"),
}  # fmt: skip
_METHODS = {"delete": "DELETE"}


class OllamaRoutes:
    """Everything under ``/api/``, and the greeting of Ollama."""

    def __init__(
        self, resolver: Resolver, service: RoleService, coordinator: Coordinator, answering: Answering,
        chat: ChatHandler, listing: Listing, loading: Loading,
    ) -> None:  # fmt: skip
        self._resolver = resolver
        self._service = service
        self._coordinator = coordinator
        self._answering = answering
        self._chat = chat
        self._listing = listing
        self._loading = loading
        self.greeting = Route("GET", self._get_greeting, public=True)
        """What answers under ``/`` to Ollama's clients."""
        self._blobs = Route("POST", partial(self._refuse, "blobs"))

    def routes(self) -> dict[str, Route]:
        """What answers, by its path."""
        return {
            "/api/chat": Route("POST", partial(self._post, parse_chat), Endpoint.CHAT),
            "/api/generate": Route("POST", partial(self._post, parse_generate), Endpoint.CHAT),
            "/api/embed": Route("POST", partial(self._post_vectors, single=False), Endpoint.EMBEDDINGS),
            "/api/embeddings": Route("POST", partial(self._post_vectors, single=True), Endpoint.EMBEDDINGS),
            "/api/tags": Route("GET", self._get_tags),
            "/api/ps": Route("GET", self._get_ps),
            "/api/show": Route("POST", self._post_show),
            "/api/version": Route("GET", self._get_version, public=True),
            **{
                f"/api/{name}": Route(_METHODS.get(name, "POST"), partial(self._refuse, name))
                for name in _INSTEAD
            },
        }  # fmt: skip

    def find(self, path: str) -> Route | None:
        """What answers below a path that has no route of its own."""
        return self._blobs if path.startswith("/api/blobs/") else None

    # --- answers ------------------------------------------------------------------------------------------------------

    async def _post(
        self, parse: Callable[[bytes], AskedOllama], exchange: Exchange, scope: Scope, receive: Receive
    ) -> None:
        body = await self._answering.read(exchange, scope, receive)
        await self._answering.while_client_stays(receive, self._answer(exchange, parse(body), body))

    async def _answer(self, exchange: Exchange, asked: AskedOllama, body: bytes) -> None:
        target = self._target(asked.model)
        if asked.empty:
            await self._move(exchange, asked, target, body)
            return
        chat = asked.chat.changed({"model": target.name})
        exchange.asked = asked = replace(asked, chat=chat, moments=partial(_moments, exchange))
        exchange.error_events = broken_before_an_answer(exchange, asked)
        exchange.shape = StreamShape(
            JSON_LINES, (b"\n",), lambda _: silence_line(asked.model, time.time(), generates=asked.generates)
        )
        await self._chat.answer(exchange, chat, body)

    async def _move(self, exchange: Exchange, asked: AskedOllama, target: Target, body: bytes) -> None:
        """A request that asks nothing: it loads its model, or unloads it."""
        caller = exchange.visit.caller
        exchange.name = target.name
        caller.require_name(target.name)
        if asked.unloads:
            self._loading.begin_unload(target, caller)
        else:
            await self._loading.load(target, standing_of(exchange.scope, body, NO_OPTIONS, caller, None))
        found = residence_object(asked.model, time.time(), generates=asked.generates, unloaded=asked.unloads)
        await exchange.send_object(200, found)

    def _target(self, name: str) -> Target:
        """What `name` means: as it is, else without the tag that Ollama puts behind every name.

        Raises:
            UnknownNameError: nothing.
        """
        try:
            return self._resolver.resolve(name)
        except UnknownNameError:
            if not name.endswith(lists.TAG):
                raise
            return self._resolver.resolve(name.removesuffix(lists.TAG))

    async def _post_vectors(self, exchange: Exchange, scope: Scope, receive: Receive, *, single: bool) -> None:
        body = await self._answering.read(exchange, scope, receive)
        asked = parse_vectors(body, single=single)
        await self._answering.while_client_stays(receive, self._answer_vectors(exchange, asked, body))

    async def _answer_vectors(self, exchange: Exchange, asked: AskedVectors, body: bytes) -> None:
        target, caller = self._target(asked.model), exchange.visit.caller
        exchange.name = target.name
        caller.require_name(target.name)
        models = [] if isinstance(target, EnsembleTarget) else models_of(target, self._service.catalog)
        if not models or not (await serving(self._coordinator, models[0])).may(Operation.EMBEDDINGS):
            raise await cannot(self._coordinator, caller, Operation.EMBEDDINGS, target.name)
        standing = standing_of(exchange.scope, body, NO_OPTIONS, caller, None)
        if not asked.texts:
            await self._loading.load(target, standing)
            await exchange.send_object(200, asked.result([], _moments(exchange)))
            return
        outgoing = Outgoing(
            models[0], "/embeddings", asked.encode, standing, meaning=_meaning, raises_refusals=True,
            lora=target.lora.name if isinstance(target, ModelTarget) and target.lora is not None else None,
            whole=lambda found: asked.answer(found, _moments(exchange)),
        )  # fmt: skip
        try:
            await hand_on(exchange, self._coordinator, outgoing)
        except _NotThereError:
            raise await cannot(self._coordinator, caller, Operation.EMBEDDINGS, target.name) from None

    # --- lists --------------------------------------------------------------------------------------------------------

    async def _get_tags(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:  # noqa: ARG002 - one signature for all routes
        await exchange.send_object(
            200, lists.tags_object([self._listed(one) for one in self._listing.entries(exchange)])
        )

    async def _get_ps(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:  # noqa: ARG002 - one signature for all routes
        available = Availabilities(self._coordinator, self._service.catalog)
        there = [
            self._listed(one, available)
            for one in self._listing.entries(exchange)
            if one["status"]["value"] == Presence.LOADED.value
        ]
        await exchange.send_object(200, lists.ps_object(there))

    async def _post_show(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:
        request = openai_chat.parse_request(await self._answering.read(exchange, scope, receive))
        found = request.value("model") or request.value("name")
        target = self._target(found if isinstance(found, str) else "")
        exchange.visit.caller.require_name(target.name)
        entry = self._listing.entry(exchange, target.name)
        sampling = target.role.sampling if isinstance(target, RoleTarget) else {}
        await exchange.send_object(200, lists.show_object(replace(self._listed(entry), sampling=sampling)))

    async def _get_version(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:  # noqa: ARG002 - one signature for all routes
        await exchange.send_object(200, lists.version_object(ansambl.__version__))

    def _listed(self, entry: dict[str, Any], available: Availabilities | None = None) -> lists.Listed:
        models = entry["models"]
        details = (self._service.details(models[0]) if len(models) == 1 else None) or NOTHING_KNOWN
        if available is None:
            return lists.Listed(entry, details)
        # The entries may be a second older than the instances.
        statuses = [available.statuses[one] for one in models if one in available.statuses]
        rests = [one.rests_at for one in statuses]
        known = [one for one in rests if one is not None]
        return lists.Listed(
            entry, details, sum(one.memory or 0 for one in statuses), sum(_on_gpu(one, available) for one in statuses),
            min(known) if known else None,
        )  # fmt: skip

    # --- the rest -----------------------------------------------------------------------------------------------------

    async def _refuse(self, what: str, exchange: Exchange, scope: Scope, receive: Receive) -> None:  # noqa: ARG002 - one signature for all routes
        raise NotSupportedError(_INSTEAD[what], code="endpoint_not_supported")

    async def _get_greeting(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:  # noqa: ARG002 - one signature for all routes
        await exchange.send_whole(200, GREETING, [_TEXT])


def is_ollama_client(scope: Scope) -> bool:
    """Whether who asks for ``/`` wants to know whether Ollama is there, and no page.

    Its official clients name themselves (``ollama-python/…``, ``ollama-js/…``, ``ollama/…``).
    """
    agent = header(scope, b"user-agent") or b""
    return agent.lower().startswith(b"ollama")


class _NotThereError(EngineError):
    """The engine makes no vectors, or not of this model."""


def _meaning(status: int, body: bytes) -> AnsamblError | None:
    return _NotThereError(text("The engine makes no vectors.")) if says_cannot(status, body) else None


def _moments(exchange: Exchange) -> Moments:
    return Moments(time.perf_counter() - exchange.began, exchange.queued)


def _on_gpu(status: InstanceStatus, available: Availabilities) -> int:
    view = available.views.get(status.model)
    reserved = view.reserved if view is not None else {}
    return sum(size for device, size in reserved.items() if device != RAM)
