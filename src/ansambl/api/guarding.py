"""Lets requests in to the admin API: reading and changing are two rights, and which one is needed the method tells.

It stands before all routes, so that none can be forgotten: whatever is no reading needs the right to change. While
there are no keys it takes the token of the run: every program of this machine reaches the port, but only the owner's
can read the token. A browser of the owner needs no token where the system says whose it is, and the browser says that
the console's own page asks: pages of others ask through the same browser.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fastapi import Request
from fastapi.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ansambl.access.credentials import NAVIGATED, UNTOLD, credentials_of, is_same_origin
from ansambl.access.door import Door
from ansambl.api import PREFIX
from ansambl.domain.access import Caller, Endpoint, UnauthorizedError
from ansambl.domain.errors import AnsamblError
from ansambl.domain.text import text

OPENAPI = f"{PREFIX}/openapi.json"
ME = f"{PREFIX}/me"

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_READING_POSTS = frozenset(
    f"{PREFIX}/{one}"
    for one in (
        "explain",
        "plan",
        "plan/page",
        "plan/preview",
        "fit",
        "review",
        "compat",
        "simulate",
        "roles/export",
        "ensembles/export",
        "knowledge/search",
        "models/find",
        "models/announce",
        "engines/announce",
    )
)
"""What is asked with a body and changes nothing."""
_FREE = frozenset({OPENAPI, f"{PREFIX}/state"})
"""What programs of this machine may read while there are no keys."""


def needed(method: str, path: str) -> Endpoint | None:
    """What a key must allow for a request; None where any key will do."""
    if path == OPENAPI or (path == ME and method in _READS):
        return None
    return Endpoint.ADMIN_READ if method in _READS or path in _READING_POSTS else Endpoint.ADMIN


def caller_of(request: Request) -> Caller:
    """Who sent a request that was let in.

    Raises:
        KeyError: nobody has let it in; that it came from the owner must not be guessed.
    """
    caller: Caller = request.scope["visit"].caller
    return caller


class Guard:
    """Asks the door. `is_local` tells whether a request comes from this machine, `answer` writes errors.

    `is_own_user` tells whether it comes from the user of this machine that Ansambl runs as; it is asked only while
    there are no keys, and nothing else shows the owner.
    """

    def __init__(
        self, app: ASGIApp, *, door: Door, is_local: Callable[[Scope], bool],
        answer: Callable[[Request, AnsamblError], Response], is_own_user: Callable[[Scope], bool] = lambda _: False,
    ) -> None:  # fmt: skip
        self._app = app
        self._door = door
        self._is_local = is_local
        self._is_own_user = is_own_user
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or refuse it."""
        if scope["type"] != "http" or not scope["path"].startswith(f"{PREFIX}/"):
            await self._app(scope, receive, send)
            return
        method, path = scope["method"], scope["path"]
        right = needed(method, path)
        reads = right is not Endpoint.ADMIN
        credentials = credentials_of(scope, local=self._is_local(scope), reads=reads)
        try:
            visit = self._door.admit(credentials, right)
            is_free = self._door.has_keys or (method in _READS and path in _FREE)
            if not is_free and not self._door.is_proven(credentials) and not self._is_owners(scope, reads=reads):
                raise UnauthorizedError(
                    text("This needs the admin token, which stands in state.json in the data folder."),
                    code="invalid_token",
                )
        except AnsamblError as error:
            await self._answer(Request(scope), error)(scope, receive, send)
            return
        scope["visit"] = visit
        started = False

        async def send_on(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        visit.begin()
        try:
            await self._app(scope, receive, send_on)
        except asyncio.CancelledError:
            ended = visit.ended()
            if ended is None:
                raise
            if started:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            else:
                await self._answer(Request(scope), ended)(scope, receive, send)
        finally:
            visit.over()

    def _is_owners(self, scope: Scope, *, reads: bool) -> bool:
        # A browser that never tells of pages would show this one, and then get nothing that it asks for.
        navigated = scope.get(NAVIGATED) is True and scope.get(UNTOLD) is not True
        by_page = is_same_origin(scope) or (reads and navigated)
        return by_page and self._is_own_user(scope)
