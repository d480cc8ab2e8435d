"""The console asks the admin API, in the name of the browser, for what its pages show.

It asks within the process and over HTTP all the same: the pages know no more than a script with the same key, the admin
API's guard decides who may read and change, and its sentences come in the page's language.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Scope

from ansambl.access.credentials import NAVIGATED, UNTOLD, is_untold, navigates, tells_of_proxy

PREFIX = "/admin/api"

_CONNECTION = ("type", "asgi", "http_version", "scheme", "client", "server", "extensions")
_HANDED_ON = frozenset(
    {b"authorization", b"cookie", b"host", b"origin", b"sec-fetch-site", b"x-api-key", b"api-key"}
)  # fmt: skip
"""What tells who asks, and from where: the guard sees it as if the browser had asked itself. Of what proxies write it
sees all, since it tells that the browser may be somebody else's."""


class AdminError(Exception):
    """The admin API's answer where it is an error: its one line, its code and what it is about."""

    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param


@dataclass(frozen=True, slots=True)
class AdminApi:
    """Questions of one request of a browser. A path is given in parts, which may hold slashes: ``get("roles", name)``.

    Every method raises AdminError where the answer is an error.
    """

    app: ASGIApp
    request: Request
    language: str

    async def get(self, *path: str, **query: object) -> Any:
        """Read something."""
        return await self.ask("GET", *path, query=query)

    async def post(self, *path: str, document: object = None, **query: object) -> Any:
        """Ask or change something."""
        return await self.ask("POST", *path, document=document, query=query)

    async def put(self, *path: str, document: object, **query: object) -> Any:
        """Put something in its place."""
        return await self.ask("PUT", *path, document=document, query=query)

    async def ask(
        self, method: str, *path: str, document: object = None, query: Mapping[str, object] | None = None
    ) -> Any:
        """The document that answers a request; None where the answer has none, text where it is no JSON.

        Raises:
            AdminError: the answer is an error.
        """
        body = b"" if document is None else json.dumps(document, ensure_ascii=False).encode()
        status, headers, answer = await _exchange(self.app, self._scope(method, path, query or {}, len(body)), body)
        kind = headers.get(b"content-type", b"").partition(b";")[0]
        found = answer.decode() if kind != b"application/json" else json.loads(answer) if answer else None
        if status < 400:
            return found or None
        error = found.get("error", {}) if isinstance(found, dict) else {}
        raise AdminError(status, str(error.get("message") or found), error.get("code"), error.get("param"))

    def _scope(self, method: str, path: tuple[str, ...], query: Mapping[str, object], length: int) -> Scope:
        asked = self.request.scope
        decoded = "/".join((PREFIX, *path))
        headers = [one for one in asked["headers"] if one[0] in _HANDED_ON or tells_of_proxy(one[0])]
        headers += [(b"accept-language", self.language.encode()), (b"content-length", b"%d" % length)]
        if length:
            headers.append((b"content-type", b"application/json"))
        given = {name: value for name, value in query.items() if value is not None}
        return {
            **{key: asked[key] for key in _CONNECTION if key in asked},
            "method": method, "path": decoded, "raw_path": quote(decoded).encode(), "root_path": "",
            "query_string": urlencode(given).encode(), "headers": headers,
            # Or who comes by a bookmark or a foreign link would see nothing; it opens reading alone.
            NAVIGATED: navigates(asked), UNTOLD: is_untold(asked),
        }  # fmt: skip


async def _exchange(app: ASGIApp, scope: Scope, body: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
    status, headers, parts, asked = 500, {}, [], False

    async def receive() -> Message:
        nonlocal asked
        if asked:
            # Whoever waits for the browser to leave waits until it is cancelled: the console's own answer decides.
            await asyncio.Event().wait()
        asked = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status, headers = message["status"], dict(message["headers"])
        else:
            parts.append(message.get("body", b""))

    try:
        await app(scope, receive, send)
    except Exception:
        # What answered that it failed raises all the same, for the server's own log; its log has it already.
        if not headers:
            raise
    return status, headers, b"".join(parts)
