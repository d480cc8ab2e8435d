"""The gateway's routes, as one plain ASGI application."""

from __future__ import annotations

import asyncio
from functools import partial

from ansambl.access.credentials import credentials_of
from ansambl.access.door import Door, OpenDoor
from ansambl.dialects.openai_chat import ChatRequest
from ansambl.domain.access import Endpoint
from ansambl.domain.errors import AnsamblError
from ansambl.domain.text import text
from ansambl.foundation.logging import get_logger
from ansambl.gateway.answering import Answering
from ansambl.gateway.asgi import ClientGoneError, MethodError, Receive, Scope, Send, route_error, send_bytes
from ansambl.gateway.chat import ChatHandler
from ansambl.gateway.dialect_routes import DIALECTS, Dialect
from ansambl.gateway.exchange import LEFT, Exchange
from ansambl.gateway.guard import check_request
from ansambl.gateway.listing import Listing
from ansambl.gateway.metrics import Metrics, Observed
from ansambl.gateway.peers import is_local
from ansambl.gateway.refusals import style_of
from ansambl.gateway.route import Route
from ansambl.gateway.translating import broken_before_an_answer
from ansambl.roles.resolver import Resolver
from ansambl.roles.service import RoleService
from ansambl.runtime.coordinator import Coordinator
from ansambl.runtime.usage import UsageBook

log = get_logger(__name__)

_METRICS_TYPE = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")


class InternalError(AnsamblError):
    """Something failed that should not be able to; the log has the traceback."""

    code = "internal_error"


class Gateway:
    """`/v1`, `/health`, `/ready` and `/metrics`. `answering` are the answers that are being made.

    `door` lets requests in, `recognises_tasks` tells whether by-products of chats are known by their shape, too, and
    not by a header alone. `observed` and `usage` are those of `Metrics`.
    """

    def __init__(
        self, resolver: Resolver, service: RoleService, coordinator: Coordinator, *, body_limit: int,
        recognises_tasks: bool = True, observed: Observed | None = None, usage: UsageBook | None = None,
        door: Door | None = None,
    ) -> None:  # fmt: skip
        self._chat = ChatHandler(resolver, service, coordinator, recognises_tasks=recognises_tasks)
        self.metrics = Metrics(coordinator.statuses, observed, usage)
        self.answering = Answering(self.metrics, body_limit=body_limit)
        self._door: Door = door or OpenDoor()
        self._listing = Listing(resolver, service, coordinator, self.answering, self._door)
        self._routes: dict[str, Route] = {
            **{one.path: Route("POST", partial(self._post_chat, one), Endpoint.CHAT) for one in DIALECTS},
            **{
                f"{one.path}/count_tokens": Route("POST", partial(self._post_count, one), Endpoint.CHAT)
                for one in DIALECTS
                if one.count is not None
            },
            **self._listing.routes(),
            "/metrics": Route("GET", self._get_metrics, Endpoint.METRICS),
        }

    def use(self, *, body_limit: int, recognises_tasks: bool) -> None:
        """Read requests by other settings from the next one on."""
        self.answering.body_limit = body_limit
        self._chat.recognises_tasks = recognises_tasks

    def owns(self, path: str) -> bool:
        """Whether a path is the gateway's, existing or not."""
        return path in self._routes or path.startswith("/v1/") or path == "/v1"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        exchange = Exchange(scope, send, self.metrics)
        try:
            check_request(scope)
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
                exchange.status = LEFT
                self.metrics.cancelled.labels(exchange.name).inc()
                log.info("client_left", name=exchange.name)
        except AnsamblError as error:
            await exchange.fail(error)
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
            if exchange.name != "-":
                exchange.count()

    def _find(self, scope: Scope) -> Route:
        path, method = scope["path"], scope["method"]
        route = self._listing.model if path.startswith("/v1/models/") else self._routes.get(path)
        if route is None:
            raise route_error(method, path)
        if method != route.method and not (method == "HEAD" and route.method == "GET"):
            raise MethodError(method, route.method)
        return route

    async def _post_chat(self, dialect: Dialect, exchange: Exchange, scope: Scope, receive: Receive) -> None:
        body = await self.answering.read(exchange, scope, receive)
        await self.answering.while_client_stays(receive, self._answer_chat(dialect, exchange, body))

    async def _answer_chat(self, dialect: Dialect, exchange: Exchange, body: bytes) -> None:
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

    async def _get_metrics(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:  # noqa: ARG002 - one signature for all routes
        await send_bytes(exchange.send, 200, self.metrics.page(), [_METRICS_TYPE])
