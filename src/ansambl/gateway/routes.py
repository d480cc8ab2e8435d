"""The gateway's routes, as one plain ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, cast

from ansambl.dialects.openai_chat import ChatRequest
from ansambl.domain.errors import AnsamblError, UnavailableError, UnknownNameError
from ansambl.domain.instance import InstanceState
from ansambl.domain.text import text
from ansambl.foundation.logging import get_logger
from ansambl.gateway.asgi import (
    ClientGoneError,
    MethodError,
    Receive,
    Scope,
    Send,
    cancelled_when_client_leaves,
    read_body,
    route_error,
    send_bytes,
)
from ansambl.gateway.chat import STOPPING, ChatHandler
from ansambl.gateway.dialect_routes import DIALECTS, Dialect
from ansambl.gateway.exchange import LEFT, Exchange, speaker_of_scope
from ansambl.gateway.guard import check_request
from ansambl.gateway.metrics import Metrics, Observed
from ansambl.gateway.standing import Caller
from ansambl.gateway.translating import broken_before_an_answer
from ansambl.roles.resolver import Resolver
from ansambl.roles.service import RoleService
from ansambl.runtime.coordinator import Coordinator
from ansambl.runtime.usage import UsageBook

log = get_logger(__name__)

OWNER = Caller()
"""Who asks without a key: there are no keys yet, all callers are the owner."""

_CUT_PATIENCE = 2.0
"""Seconds for the error events of answers that are cut to go out."""

_METRICS_TYPE = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
Handler = Callable[[Exchange, Scope, Receive], Awaitable[None]]


class InternalError(AnsamblError):
    """Something failed that should not be able to; the log has the traceback."""

    code = "internal_error"


class Gateway:
    """`/v1`, `/health`, `/ready` and `/metrics`. `draining` is set when no new request may begin.

    `recognises_tasks` tells whether by-products of chats are known by their shape, too, and not by a header alone.
    `observed` and `usage` are those of `Metrics`.
    """

    def __init__(
        self, resolver: Resolver, service: RoleService, coordinator: Coordinator, *, body_limit: int,
        recognises_tasks: bool = True, observed: Observed | None = None, usage: UsageBook | None = None,
    ) -> None:  # fmt: skip
        self._service = service
        self._resolver = resolver
        self._coordinator = coordinator
        self._chat = ChatHandler(resolver, service, coordinator, recognises_tasks=recognises_tasks)
        self._body_limit = body_limit
        self.metrics = Metrics(coordinator.statuses, observed, usage)
        self.draining = False
        self._answering: set[asyncio.Task[Any]] = set()
        self._cut = False
        self._routes: dict[str, tuple[str, Handler]] = {
            **{one.path: ("POST", partial(self._post_chat, one)) for one in DIALECTS},
            **{
                f"{one.path}/count_tokens": ("POST", partial(self._post_count, one))
                for one in DIALECTS
                if one.count is not None
            },
            "/v1/models": ("GET", self._get_models),
            "/health": ("GET", self._get_health),
            "/ready": ("GET", self._get_ready),
            "/metrics": ("GET", self._get_metrics),
        }

    def use(self, *, body_limit: int, recognises_tasks: bool) -> None:
        """Read requests by other settings from the next one on."""
        self._body_limit = body_limit
        self._chat.recognises_tasks = recognises_tasks

    def owns(self, path: str) -> bool:
        """Whether a path is the gateway's, existing or not."""
        return path in self._routes or path.startswith("/v1/") or path == "/v1"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        exchange = Exchange(scope, send, self.metrics)
        try:
            check_request(scope)
            await self._find(scope)(exchange, scope, receive)
        except ClientGoneError:
            # One that has its whole answer may leave before we are done with our own books.
            if not exchange.ended:
                exchange.status = LEFT
                self.metrics.cancelled.labels(exchange.name).inc()
                log.info("client_left", name=exchange.name)
        except AnsamblError as error:
            await exchange.fail(error)
        except Exception:
            log.exception("request_crashed", path=scope["path"])
            await exchange.fail(
                InternalError(text("Something failed inside Ansambl; its log says more: ansambl logs."))
            )
        finally:
            if exchange.name != "-":
                exchange.count()

    def _find(self, scope: Scope) -> Handler:
        path, method = scope["path"], scope["method"]
        if path.startswith("/v1/models/"):
            allowed: str = "GET"
            handler: Handler = self._get_model
        elif path in self._routes:
            allowed, handler = self._routes[path]
        else:
            raise route_error(method, path)
        if method != allowed and not (method == "HEAD" and allowed == "GET"):
            raise MethodError(method, allowed)
        return handler

    async def _post_chat(self, dialect: Dialect, exchange: Exchange, scope: Scope, receive: Receive) -> None:
        body = await self._read(exchange, scope, receive)
        await self._while_client_stays(receive, self._answer_chat(dialect, exchange, body))

    async def _answer_chat(self, dialect: Dialect, exchange: Exchange, body: bytes) -> None:
        asked = dialect.parse(body)
        if isinstance(asked, ChatRequest):
            await self._chat.answer(exchange, asked, body, OWNER)
        else:
            exchange.asked = asked
            exchange.error_events = broken_before_an_answer(exchange, asked)
            await self._chat.answer(exchange, asked.chat, body, OWNER)

    async def _post_count(self, dialect: Dialect, exchange: Exchange, scope: Scope, receive: Receive) -> None:
        body = await self._read(exchange, scope, receive)
        await self._while_client_stays(receive, self._answer_count(dialect, exchange, body))

    async def _answer_count(self, dialect: Dialect, exchange: Exchange, body: bytes) -> None:
        asked = dialect.parse(body)
        request = asked if isinstance(asked, ChatRequest) else asked.chat
        tokens = await self._chat.count(exchange, request, body, OWNER)
        if dialect.count is not None:
            await exchange.send_object(200, dialect.count(tokens))

    async def _read(self, exchange: Exchange, scope: Scope, receive: Receive) -> bytes:
        # Counted from here on, under this name until it is known what was asked for.
        exchange.name = "unresolved"
        self._refuse_when_draining()
        body = await read_body(scope, receive, self._body_limit)
        # Again, because reading takes as long as the client likes, and only running answers are waited for.
        self._refuse_when_draining()
        return body

    async def _while_client_stays(self, receive: Receive, answer: Coroutine[Any, Any, None]) -> None:
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._answering.add(task)
        self.metrics.running.inc()
        try:
            async with cancelled_when_client_leaves(receive):
                await answer
        except asyncio.CancelledError:
            if not self._cut or task.uncancel() > 0:
                raise
            raise self._stopping() from None
        finally:
            self._answering.discard(task)
            self.metrics.running.dec()

    @property
    def running(self) -> int:
        """How many requests are being answered."""
        return len(self._answering)

    async def cut(self) -> None:
        """End the answers that still run, each with an error that says why."""
        self._cut = True
        tasks = tuple(self._answering)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CUT_PATIENCE)

    def _refuse_when_draining(self) -> None:
        if self.draining:
            raise self._stopping()

    @staticmethod
    def _stopping() -> UnavailableError:
        return UnavailableError(text("Ansambl is stopping; ask again when it is back."), code=STOPPING)

    async def _get_models(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:  # noqa: ARG002 - one signature for all routes
        await exchange.send_object(200, {"object": "list", "data": self._listed(scope)})

    async def _get_model(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:  # noqa: ARG002 - one signature for all routes
        wanted = scope["path"].removeprefix("/v1/models/")
        name = self._resolver.resolve(wanted).name
        for one in self._listed(scope):
            if one["id"] == name:
                await exchange.send_object(200, one)
                return
        raise UnknownNameError(text("There is no model '{name}'; GET /v1/models lists the names.", name=wanted))

    def _listed(self, scope: Scope) -> list[dict[str, Any]]:
        return self._service.models_list(speaker_of_scope(scope))

    async def _get_health(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:  # noqa: ARG002 - one signature for all routes
        await exchange.send_object(200, {"status": "ok"})

    async def _get_ready(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:  # noqa: ARG002 - one signature for all routes
        states = {one.model: one.state for one in self._coordinator.statuses()}
        ready = not self.draining and any(state is InstanceState.READY for state in states.values())
        await exchange.send_object(
            200 if ready else 503, {"ready": ready, "instances": {name: state.value for name, state in states.items()}}
        )

    async def _get_metrics(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:  # noqa: ARG002 - one signature for all routes
        await send_bytes(exchange.send, 200, self.metrics.page(), [_METRICS_TYPE])
