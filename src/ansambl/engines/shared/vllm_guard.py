"""A door for vLLM that asks for the key on every path: this file's text is written beside a run and loaded by vLLM.

vLLM's own ``VLLM_API_KEY`` guards ``/v1`` and a few more, and leaves open what other users of the machine must not
reach: ``/invocations`` answers chats, ``/adapters`` loads files, ``/sleep`` and ``/collective_rpc`` are there in its
development mode (seen on 0.32.0). It runs in vLLM's environment, so it imports the standard library only.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Awaitable, Callable
from typing import Any

OPEN = frozenset({"/health", "/ping"})
"""What answers without a key, for whoever watches it: they tell nothing and change nothing."""

_Send = Callable[[dict[str, Any]], Awaitable[None]]


class Guard:
    """ASGI middleware: 401 for every request without the key of the environment; with no key there, all are refused."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app
        self._wanted = f"Bearer {os.environ.get('VLLM_API_KEY', '')}".encode()

    async def __call__(self, scope: dict[str, Any], receive: Callable[..., Any], send: _Send) -> None:
        """Pass on what may pass."""
        if scope["type"] not in {"http", "websocket"} or scope["path"] in OPEN or self._has_key(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": b'{"error": "Unauthorized"}'})

    def _has_key(self, scope: dict[str, Any]) -> bool:
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        return len(self._wanted) > len("Bearer ") and hmac.compare_digest(given, self._wanted)
