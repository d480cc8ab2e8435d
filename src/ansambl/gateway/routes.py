"""The gateway's routes, as one plain ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from ansambl.access.credentials import credentials_of
from ansambl.access.door import Door, OpenDoor
from ansambl.dialects.openai_chat import ChatRequest
from ansambl.domain.access import Endpoint
from ansambl.domain.errors import AnsamblError
from ansambl.domain.text import text
from ansambl.foundation.logging import get_logger
from ansambl.gateway.absent import absent
from ansambl.gateway.answering import Answering
from ansambl.gateway.asgi import ClientGoneError, MethodError, Receive, Scope, Send, header
from ansambl.gateway.chat import ChatHandler
from ansambl.gateway.describing import document
from ansambl.gateway.dialect_routes import DIALECTS, Dialect
from ansambl.gateway.engine_routes import EngineRoutes
from ansambl.gateway.exchange import LEFT, Exchange
from ansambl.gateway.front.peers import is_local
from ansambl.gateway.knowledge.desk import KnowledgeDesk
from ansambl.gateway.knowledge.routes import KnowledgeRoutes
from ansambl.gateway.listing import Listing
from ansambl.gateway.llama_router import LlamaRouter
from ansambl.gateway.loading import Loading
from ansambl.gateway.native import NativePassing
from ansambl.gateway.observing.contents_log import ContentsLog, Overheard
from ansambl.gateway.observing.metrics import Metrics
from ansambl.gateway.observing.request_log import RequestLog
from ansambl.gateway.observing.request_metrics import NO_CLASS, OTHER
from ansambl.gateway.observing.runtime_metrics import Observed
from ansambl.gateway.ollama_routes import PREFIX as OLLAMA
from ansambl.gateway.ollama_routes import OllamaRoutes, is_ollama_client
from ansambl.gateway.refusals import style_of, told_to
from ansambl.gateway.route import Route
from ansambl.gateway.translating import broken_before_an_answer
from ansambl.roles.knowledge.in_use import KnowledgeInUse
from ansambl.roles.resolver import Resolver
from ansambl.roles.service import RoleService
from ansambl.roles.trials import Trials
from ansambl.runtime.coordinator import Coordinator
from ansambl.runtime.usage import UsageBook

log = get_logger(__name__)

_MODEL_PATH = "/v1/models/{model}"
_WATCHED = frozenset({"/health", "/ready", "/metrics"})
_EXPECTED = frozenset({200, 503})


class InternalError(AnsamblError):
    """Something failed that should not be able to; the log has the traceback."""

    code = "internal_error"


class Gateway:
    """`/v1`, `/api` (Ollama's), `/models` (llama.cpp's), `/mcp`, `/health`, `/ready` and `/metrics`.

    `answering` are the answers that are being made.

    `door` lets requests in, `recognises_tasks` tells whether by-products of chats are known by their shape, too, and
    not by a header alone. `observed` and `usage` are those of `Metrics`. `requests` is where a line
    of each finished request goes, `contents` where what was said in it goes, if that is wanted.
    `knowledge` is what roles read, and what remembers; `trials` are drafts of roles that their makers may ask.
    """

    def __init__(
        self, resolver: Resolver, service: RoleService, coordinator: Coordinator, *, body_limit: int,
        recognises_tasks: bool = True, observed: Observed | None = None, usage: UsageBook | None = None,
        door: Door | None = None, requests: RequestLog | None = None,
        contents: ContentsLog | None = None, knowledge: KnowledgeInUse | None = None,
        trials: Trials | None = None,
    ) -> None:  # fmt: skip
        self._chat = ChatHandler(
            resolver, service, coordinator, recognises_tasks=recognises_tasks, knowledge=knowledge, trials=trials
        )  # fmt: skip
        self.metrics = Metrics(coordinator.statuses, observed, usage)
        self.requests = requests or RequestLog()
        self.contents = contents or ContentsLog()
        self.metrics.log_dropped = lambda: self.requests.dropped
        self.answering = Answering(self.metrics, body_limit=body_limit)
        self._door: Door = door or OpenDoor()
        self._listing = Listing(resolver, service, coordinator, self.answering, self._door)
        loading = Loading(service, coordinator)
        self._ollama = OllamaRoutes(
            resolver, service, coordinator, self.answering, self._chat, self._listing, loading
        )  # fmt: skip
        self._native = NativePassing(resolver, coordinator)
        known = knowledge.reader.knowledge if knowledge is not None else lambda: None
        self._knowledge = KnowledgeRoutes(KnowledgeDesk(known, lambda: service.catalog), self.answering)
        self._document: dict[str, Any] | None = None
        self._routes: dict[str, Route] = {
            **{one.path: Route("POST", partial(self._post_chat, one), Endpoint.CHAT) for one in DIALECTS},
            **{
                f"{one.path}{one.count_path}": Route("POST", partial(self._post_count, one), Endpoint.CHAT)
                for one in DIALECTS
                if one.count is not None
            },
            **self._listing.routes(),
            **LlamaRouter(resolver, self._listing, loading, coordinator, self.answering).routes(),
            **self._ollama.routes(),
            **EngineRoutes(resolver, service, coordinator, self.answering, self._chat).routes(),
            **self._knowledge.routes(),
            "/metrics": Route("GET", self._get_metrics, Endpoint.METRICS),
            "/openapi.json": Route("GET", self._get_openapi, public=True),
        }

    def use(
        self, *, body_limit: int, recognises_tasks: bool, log_requests: bool = True, log_contents: bool = False
    ) -> None:
        """Read requests by other settings from the next one on."""
        self.requests.writes, self.contents.writes = log_requests, log_contents
        self.answering.body_limit = body_limit
        self._chat.recognises_tasks = recognises_tasks

    async def close(self) -> None:
        """End what is being asked of knowledge. Answers of models are ended by `answering`."""
        await self._knowledge.close()

    def close_logs(self) -> None:
        """Write what waits to be written of finished requests. Blocks for a moment."""
        self.requests.close()
        self.contents.close()

    @property
    def routes(self) -> Mapping[str, Route]:
        """What answers, by its path."""
        return self._routes

    def owns(self, path: str) -> bool:
        """Whether a path is the gateway's, existing or not."""
        return path in self._routes or path.startswith(("/v1/", OLLAMA)) or path == "/v1"

    def greets(self, scope: Scope) -> bool:
        """Whether a request for ``/`` is answered here: Ollama's clients ask whether it is there."""
        return scope["path"] == "/" and is_ollama_client(scope)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        overheard: Overheard | None = None
        if self.contents.writes:
            overheard = Overheard(receive, send)
            receive, send = overheard.receive, overheard.send
        exchange = Exchange(scope, send, self.metrics)
        refused: str | None = None
        try:
            route = self._find(scope)
            if not route.public:
                credentials = credentials_of(scope, local=is_local(scope))
                exchange.visit = self._door.admit(credentials, route.endpoint)
                exchange.headers += exchange.visit.headers(style_of(scope["path"]))
                exchange.visit.begin()
            await route.handler(exchange, scope, receive)
        except ClientGoneError:
            # One that has its whole answer may leave before we are done with our own books.
            if not exchange.ended:
                exchange.status, exchange.left = LEFT, True
                self.metrics.count_left(exchange.name)
        except AnsamblError as error:
            refused = getattr(error, "key", None)
            await exchange.fail(told_to(exchange.visit.caller, error))
        except asyncio.CancelledError:
            ended = exchange.visit.ended()
            if ended is None:
                raise
            await exchange.fail(ended)
        except Exception:
            log.exception("request_crashed", path=scope["path"])
            await exchange.fail(
                InternalError(text("Something failed inside Ansambl; its log says more: ansambl logs."))
            )
        finally:
            exchange.visit.over()
            self._finish(exchange, refused)
            if overheard is not None and exchange.record is not None:
                about = {"id": exchange.id, "path": scope["path"], "name": exchange.name, "status": exchange.status}
                self.contents.write(overheard, about)

    def _finish(self, exchange: Exchange, refused: str | None) -> None:
        """Count a finished request, and have its line written; `refused` is the id of a key that was not let in."""
        if exchange.name != "-":
            exchange.count()
        path, status = exchange.scope["path"], exchange.status
        endpoint = path if path in self._routes else _MODEL_PATH if path.startswith("/v1/models/") else OTHER
        record = exchange.finished(endpoint, refused)
        self.metrics.count_answer(
            endpoint, record.request_class or NO_CLASS, record.key, status=status, code=exchange.code
        )
        # Whoever watches asks every few seconds, and learns nothing from reading that it did.
        if path not in _WATCHED or status not in _EXPECTED:
            self.requests.write(record)

    def _find(self, scope: Scope) -> Route:
        path, method = scope["path"], scope["method"]
        route = self._listing.model if path.startswith("/v1/models/") else self._routes.get(path)
        route = route or (self._ollama.greeting if path == "/" else self._ollama.find(path))
        if route is None:
            raise absent(method, path)
        if method != route.method and not (method == "HEAD" and route.method == "GET"):
            raise MethodError(method, route.method)
        return route

    async def _post_chat(self, dialect: Dialect, exchange: Exchange, scope: Scope, receive: Receive) -> None:
        body = await self.answering.read(exchange, scope, receive)
        await self.answering.while_client_stays(receive, self._answer_chat(dialect, exchange, body))

    async def _answer_chat(self, dialect: Dialect, exchange: Exchange, body: bytes) -> None:
        if await self._native.passed(exchange, body):
            return
        asked = dialect.parse(body)
        if isinstance(asked, ChatRequest):
            await self._chat.answer(exchange, asked, body)
        else:
            exchange.asked = asked
            exchange.error_events = broken_before_an_answer(exchange, asked)
            await self._chat.answer(exchange, asked.chat, body)

    async def _post_count(self, dialect: Dialect, exchange: Exchange, scope: Scope, receive: Receive) -> None:
        body = await self.answering.read(exchange, scope, receive)
        await self.answering.while_client_stays(receive, self._answer_count(dialect, exchange, body))

    async def _answer_count(self, dialect: Dialect, exchange: Exchange, body: bytes) -> None:
        asked = dialect.parse(body)
        request = asked if isinstance(asked, ChatRequest) else asked.chat
        tokens = await self._chat.count(exchange, request, body)
        if dialect.count is not None:
            await exchange.send_object(200, dialect.count(tokens))

    async def _get_openapi(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:  # noqa: ARG002 - one signature for all routes
        if self._document is None:
            self._document = document(self._routes)
        await exchange.send_object(200, self._document)

    async def _get_metrics(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:  # noqa: ARG002 - one signature for all routes
        page, content_type = self.metrics.page_for(header(scope, b"accept"))
        await exchange.send_whole(200, page, [(b"content-type", content_type)])
