"""The routes of knowledge without a model: ``/mcp`` and ``/v1/knowledge/search``."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from ansambl.domain.access import Endpoint
from ansambl.domain.errors import RequestError
from ansambl.domain.text import text
from ansambl.gateway.answering import Answering
from ansambl.gateway.asgi import JSON_TYPE, Receive, Scope
from ansambl.gateway.exchange import Exchange
from ansambl.gateway.knowledge.asked import Search, convert
from ansambl.gateway.knowledge.desk import KnowledgeDesk, hit_json, sound
from ansambl.gateway.knowledge.server import CALLER, ToolServer
from ansambl.gateway.route import Route

MCP = "/mcp"
SEARCH = "/v1/knowledge/search"

_REFUSED, _SHOWN = 400, 200
_OUR_HEADERS = frozenset({b"content-length", b"transfer-encoding", b"connection"})


class KnowledgeRoutes:
    """Answers on a desk; `answering` counts and bounds what is answered."""

    def __init__(self, desk: KnowledgeDesk, answering: Answering) -> None:
        self._desk = desk
        self._answering = answering
        self._tools = ToolServer(desk)

    def routes(self) -> dict[str, Route]:
        """What answers, by its path."""
        return {
            MCP: Route("POST", self._post_mcp, Endpoint.KNOWLEDGE),
            SEARCH: Route("POST", self._post_search, Endpoint.KNOWLEDGE),
        }

    async def _post_mcp(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:
        body = await self._answering.read(exchange, scope, receive)
        exchange.name = "mcp"
        await self._answering.while_client_stays(receive, self._answer_mcp(exchange, scope, body))

    async def _answer_mcp(self, exchange: Exchange, scope: Scope, body: bytes) -> None:
        unread = [body]

        async def read() -> dict[str, Any]:
            if unread:
                return {"type": "http.request", "body": unread.pop(), "more_body": False}
            # Whether the client leaves is looked at around all this.
            await asyncio.Event().wait()
            return {"type": "http.disconnect"}

        status, headers, parts = 500, [], []

        async def gather(message: Any) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status, headers = message["status"], list(message["headers"])
            elif message["type"] == "http.response.body":
                parts.append(message.get("body", b""))

        await self._tools.handle({**scope, CALLER: exchange.visit.caller}, read, gather)
        content = b"".join(parts)
        if status >= _REFUSED and dict(headers).get(b"content-type", b"").partition(b";")[0] != JSON_TYPE[1]:
            # What the library refuses before it reads JSON it says in plain words.
            reason = content.decode("utf-8", "replace")[:_SHOWN] or str(status)
            error = RequestError(text("This is no request of MCP by streamable HTTP: {reason}", reason=reason))
            error.status = status
            raise error
        kept = [(name, value) for name, value in headers if name.lower() not in _OUR_HEADERS]
        await exchange.send_whole(status, content, kept)

    async def _post_search(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:
        body = await self._answering.read(exchange, scope, receive)
        exchange.name = "knowledge"
        await self._answering.while_client_stays(receive, self._answer_search(exchange, body))

    async def _answer_search(self, exchange: Exchange, body: bytes) -> None:
        try:
            decoded = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise RequestError(text("The body is not JSON.")) from None
        if not isinstance(decoded, dict):
            raise RequestError(text("The body must be a JSON object."))
        found = await self._desk.search(exchange.visit.caller, convert(decoded, Search))
        await exchange.send_object(
            200,
            {
                "object": "list",
                "data": [hit_json(one, sound) for one in found.hits],
                "by_meaning": found.vectors,
                "without_vectors": found.pending,
            },
        )

    async def close(self) -> None:
        """End what is being answered."""
        await self._tools.close()
        self._desk.close()
