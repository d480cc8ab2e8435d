"""What every request passes before a face gets it: where it comes from, and what its answer says of that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from ansambl.domain.errors import AnsamblError
from ansambl.foundation.logging import get_logger
from ansambl.gateway.asgi import Receive, Scope, Send, headers_of_error, send_json
from ansambl.gateway.dialect_routes import error_object_of
from ansambl.gateway.exchange import speaker_of_scope
from ansambl.gateway.front.guard import Guard, Headers, preflight_headers

log = get_logger(__name__)

App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Entrance:
    """Stands before an application."""

    def __init__(self, application: App, guard: Guard) -> None:
        self._application = application
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        try:
            allowed = self._guard.check(scope)
            preflight = preflight_headers(scope, allowed)
        except AnsamblError as error:
            log.info("request_refused", code=error.code, reason=str(error), path=scope["path"][:200])
            payload = error_object_of(scope["path"])(error, error.message.render(speaker_of_scope(scope)))
            await send_json(send, error.status, payload, headers_of_error(error))
            return
        if preflight is not None:
            await send({"type": "http.response.start", "status": 204, "headers": list(preflight)})
            await send({"type": "http.response.body"})
            return
        await self._application(scope, receive, adding(send, allowed) if allowed else send)


def adding(send: Send, headers: Headers) -> Send:
    """A `send` that adds headers to the answer, but those that it has already."""

    async def send_with(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            found = list(message.get("headers", ()))
            names = {name.lower() for name, _ in found if name.lower() != b"vary"}
            message["headers"] = [*found, *(one for one in headers if one[0] not in names)]
        await send(message)

    return send_with
