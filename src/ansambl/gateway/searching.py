"""What a chat does with knowledge: searching before the answer, remembering after it."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from functools import partial

from ansambl.dialects.openai_chat import Answer, ChatRequest, Envelope
from ansambl.domain.instance import InstanceState
from ansambl.domain.role import ModelName, Role
from ansambl.domain.text import text
from ansambl.gateway.citing import Citing, is_open_webui, searching_event
from ansambl.gateway.exchange import Exchange
from ansambl.roles.knowledge.in_use import KnowledgeInUse
from ansambl.roles.knowledge.reading import Gathering
from ansambl.roles.knowledge.records import Given, Query
from ansambl.roles.records import RequestOptions
from ansambl.roles.rewriting import rewritten
from ansambl.roles.service import RoleService
from ansambl.roles.sharing import SharedEngines
from ansambl.runtime.coordinator import Coordinator

_UNTOLD = 0.4
"""Seconds that a search may take before Open WebUI is told of it. Until then nothing is sent, so that an error has a
status of its own."""


class Searching:
    """Searches for chats, and remembers them."""

    def __init__(self, knowledge: KnowledgeInUse, coordinator: Coordinator, engines: SharedEngines) -> None:
        self._knowledge = knowledge
        self._coordinator = coordinator
        self._engines = engines

    def gathering(
        self, service: RoleService, request: ChatRequest, key: str, options: RequestOptions
    ) -> Gathering:  # fmt: skip
        """What searches for one request."""

        async def asked(role: Role, _: Query) -> str | None:
            if not self._is_free(service.model_of(role).name):
                return None
            return await rewritten(service, self._engines, request, role, key=key, options=options)

        earlier = partial(service.given_before, request, key=key, options=options)
        return Gathering(self._knowledge.reader, request, key, options, asked, earlier)

    def _is_free(self, model: str) -> bool:
        """Whether a model is in memory and nobody waits for it: a query is worth neither a swap nor a wait."""
        statuses = self._coordinator.statuses()
        return any(one.model == model and one.state is InstanceState.READY and not one.waiting for one in statuses)

    async def given(
        self, exchange: Exchange, gathering: Gathering, role: Role, model: ModelName
    ) -> Given | None:  # fmt: skip
        """What the role's collections hold for the newest message; None where it reads none."""
        if not role.collections or not gathering.collections_of(role):
            return None
        exchange.outlook = lambda: text("the documents are searched")
        searching = asyncio.ensure_future(gathering.for_role(role, model))
        try:
            if gathering.request.stream and is_open_webui(exchange.scope):
                done, _ = await asyncio.wait({searching}, timeout=_UNTOLD)
                if not done:
                    envelope = Envelope(f"chatcmpl-{uuid.uuid4().hex}", int(time.time()), exchange.name)
                    await exchange.progress(searching_event(envelope, exchange.scope))
            given = await searching
        finally:
            # The client may have left.
            searching.cancel()
        if given is not None:
            name, count = citing_of(exchange, gathering).header()
            exchange.headers.append((name, count))
            if exchange.started:
                await exchange.comment(f"{name.decode()}: {count.decode()}")
        return given

    def noting(self, name: str, gathering: Gathering) -> Callable[[Answer], None] | None:
        """What remembers a conversation with `name` after its answer; None where it is not to be remembered."""
        memory, key = self._knowledge.memory, gathering.key
        if gathering.options.memory is False or not memory.wants(name, key):
            return None

        def note(answer: Answer) -> None:
            memory.note(gathering.request.messages(), answer, name=name, key=key)

        return note


def citing_of(exchange: Exchange, gathering: Gathering) -> Citing:
    """What tells a client of what was found for its request."""
    return Citing(exchange.scope, lambda: gathering.given)
