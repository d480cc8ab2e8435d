"""The routes of knowledge without a model: ``/mcp`` and ``/v1/knowledge/…``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from ansambl.domain.access import Endpoint
from ansambl.domain.errors import RequestError
from ansambl.domain.text import text
from ansambl.gateway.answering import Answering
from ansambl.gateway.asgi import JSON_TYPE, Receive, Scope
from ansambl.gateway.exchange import Exchange
from ansambl.gateway.knowledge.asked import ReadDocument, ReadPassage, Search, convert
from ansambl.gateway.knowledge.desk import KnowledgeDesk, about_json, citation_of, hit_json, sound
from ansambl.gateway.knowledge.server import CALLER, ToolServer
from ansambl.gateway.route import Route
from ansambl.roles.knowledge.records import passage_id

MCP = "/mcp"
SEARCH = "/v1/knowledge/search"
DOCUMENT = "/v1/knowledge/document"
PASSAGE = "/v1/knowledge/passage"

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
            SEARCH: Route("POST", self._answering_with(self._answer_search), Endpoint.KNOWLEDGE),
            DOCUMENT: Route("POST", self._answering_with(self._answer_document), Endpoint.KNOWLEDGE),
            PASSAGE: Route("POST", self._answering_with(self._answer_passage), Endpoint.KNOWLEDGE),
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

    def _answering_with(
        self, answer: Callable[[Exchange, dict[str, Any]], Awaitable[None]]
    ) -> Callable[[Exchange, Scope, Receive], Awaitable[None]]:
        async def post(exchange: Exchange, scope: Scope, receive: Receive) -> None:
            body = await self._answering.read(exchange, scope, receive)
            exchange.name = "knowledge"

            async def work() -> None:
                await answer(exchange, _object_of(body))

            await self._answering.while_client_stays(receive, work())

        return post

    async def _answer_search(self, exchange: Exchange, asked: dict[str, Any]) -> None:
        found = await self._desk.search(exchange.visit.caller, convert(asked, Search))
        await exchange.send_object(
            200,
            {
                "object": "list",
                "data": [hit_json(one, sound) for one in found.hits],
                "by_meaning": found.vectors,
                "without_vectors": found.pending,
            },
        )

    async def _answer_document(self, exchange: Exchange, asked: dict[str, Any]) -> None:
        part = await self._desk.document(exchange.visit.caller, convert(asked, ReadDocument))
        await exchange.send_object(
            200,
            {
                "object": "document",
                "document_id": part.document.id,
                "text": sound(part.text),
                "start": part.start,
                "next": part.end if part.end < part.whole else None,
                "characters": part.whole,
                **about_json(part.document),
            },
        )

    async def _answer_passage(self, exchange: Exchange, asked: dict[str, Any]) -> None:
        read = await self._desk.passage(exchange.visit.caller, convert(asked, ReadPassage))
        await exchange.send_object(
            200,
            {
                "object": "list",
                "data": [
                    {
                        "id": passage_id(read.document.id, one.number),
                        "document_id": read.document.id,
                        "citation": citation_of(read.document, one),
                        "asked": one.number == read.number,
                        "text": sound(one.text),
                        **about_json(read.document, one),
                    }
                    for one in read.passages
                ],
            },
        )

    async def close(self) -> None:
        """End what is being answered."""
        await self._tools.close()
        self._desk.close()


def _object_of(body: bytes) -> dict[str, Any]:
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise RequestError(text("The body is not JSON.")) from None
    if not isinstance(decoded, dict):
        raise RequestError(text("The body must be a JSON object."))
    return decoded
