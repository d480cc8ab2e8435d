"""Joins the faces into one ASGI application, and runs it under uvicorn with our own signals."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import cast

import uvicorn

from ansambl.api import PREFIX
from ansambl.domain.errors import AnsamblError
from ansambl.gateway.asgi import Receive, Scope, Send, route_error
from ansambl.gateway.exchange import Exchange
from ansambl.gateway.front.connections import Connections
from ansambl.gateway.front.entrance import Entrance, adding
from ansambl.gateway.front.guard import Guard
from ansambl.gateway.routes import Gateway

App = Callable[[Scope, Receive, Send], Awaitable[None]]

_ADMIN_HEADERS = (
    # Answers hold keys and logs, and none of them is a page.
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
)


class MadeWhenAsked:
    """A face that is made, in a thread, by the first request for it."""

    def __init__(self, make: Callable[[], App]) -> None:
        self._make = make
        self._made: App | None = None
        self._making = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._made is None:
            async with self._making:
                if self._made is None:
                    self._made = await asyncio.to_thread(self._make)
        await self._made(scope, receive, send)


class Application:
    """Sends each request to its face. The gateway's paths are looked up first: they are the request path."""

    def __init__(self, gateway: Gateway, admin_api: App, console: App) -> None:
        self._gateway = gateway
        self._admin_api = admin_api
        self._console = console

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path: str = scope["path"]
        if self._gateway.owns(path) or self._gateway.greets(scope):
            await self._gateway(scope, receive, send)
            return
        try:
            if path.startswith(f"{PREFIX}/"):
                await self._admin_api(scope, receive, adding(send, _ADMIN_HEADERS))
            elif path == "/" or path.startswith("/console/"):
                await self._console(scope, receive, send)
            else:
                raise route_error(scope["method"], path)
        except AnsamblError as error:
            await Exchange(scope, send, self._gateway.metrics).fail(error)


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: stopping means draining and ending engines first, which it cannot know.

    `handshake_timeout` is how many seconds a client may take to agree on TLS.
    """

    def __init__(self, config: uvicorn.Config, handshake_timeout: float) -> None:
        super().__init__(config)
        self._handshake_timeout = handshake_timeout

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        config = self.config
        if config.ssl is None or not sockets:
            await super().startup(sockets)
            return
        # uvicorn leaves a handshake the minute that is asyncio's own, in which nothing else looks at the connection.
        await super().startup([])
        self.started = False
        protocol = partial(
            cast("Callable[..., asyncio.Protocol]", config.http_protocol_class), config=config,
            server_state=self.server_state, app_state=self.lifespan.state,
        )  # fmt: skip
        loop = asyncio.get_running_loop()
        for one in sockets:
            self.servers.append(
                await loop.create_server(
                    protocol, sock=one, ssl=config.ssl, backlog=config.backlog,
                    ssl_handshake_timeout=self._handshake_timeout,
                )
            )  # fmt: skip
        self.started = True


class WebServer:
    """Serves an application on a socket that already listens.

    With `tls` it speaks https, and with `hsts` it tells browsers to come in no other way for so many seconds.
    """

    def __init__(
        self, application: App, listener: socket.socket, connections: Connections | None = None,
        guard: Guard | None = None, *, tls: ssl.SSLContext | None = None, hsts: int = 0,
    ) -> None:  # fmt: skip
        self._connections = connections if connections is not None else Connections()
        headers = [("x-content-type-options", "nosniff")]
        if hsts:
            headers.append(("strict-transport-security", f"max-age={hsts}"))
        config = uvicorn.Config(
            Entrance(application, guard if guard is not None else Guard()), http=self._connections.protocol(),
            loop="none", ws="none", lifespan="off", interface="asgi3",
            # What it says of each request that it cannot parse would fill the log.
            log_config=None, log_level="error", access_log=False, server_header=False, proxy_headers=False,
            timeout_graceful_shutdown=1, headers=headers,
        )  # fmt: skip
        config.load()
        # Loaded by us, so that it can be read again: uvicorn takes names of files, and reads them once.
        config.ssl = tls
        self._server = _Server(config, self._connections.limits.head_timeout)
        self._listener = listener
        self._task: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to answer."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._listener]))
        while not self._server.started and not self._task.done():  # noqa: ASYNC110 - uvicorn has a flag and no event
            await asyncio.sleep(0.005)
        if self._task.done():
            await self._task
        self._watch = asyncio.create_task(self._connections.watch())

    async def stop(self) -> None:
        """Close the listener and the connections; answers still running get one second."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        if self._watch is not None:
            self._watch.cancel()
        self._connections.abort()
