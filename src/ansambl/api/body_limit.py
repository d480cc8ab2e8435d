"""Refuses bodies that are larger than what they are for needs, before anything is read into memory as a whole."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import Request
from fastapi.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ansambl.domain.errors import AnsamblError, BodyTooLargeError
from ansambl.domain.text import text


class BodyLimit:
    """Answers with 413 where a body under one of `prefixes` is longer than `limit` bytes, announced or not.

    Those of the paths `streamed` are passed on as they come: whoever takes them keeps them out of memory, and counts.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limit: int,
        prefixes: tuple[str, ...],
        answer: Callable[[Request, AnsamblError], Response],
        streamed: frozenset[str] = frozenset(),
    ) -> None:
        self._app = app
        self._limit = limit
        self._prefixes = prefixes
        self._answer = answer
        self._streamed = streamed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or refuse it."""
        path = scope.get("path", "")
        if scope["type"] != "http" or not path.startswith(self._prefixes) or path in self._streamed:
            await self._app(scope, receive, send)
            return
        messages: list[Message] = []
        size = 0
        while True:
            message = await receive()
            messages.append(message)
            size += len(message.get("body", b""))
            if size > self._limit:
                error = BodyTooLargeError(
                    text("The body is larger than {limit} bytes; send less at once.", limit=self._limit)
                )
                await self._answer(Request(scope), error)(scope, receive, send)
                return
            if message["type"] != "http.request" or not message.get("more_body"):
                break
        waiting = iter(messages)

        async def replay() -> Message:
            found = next(waiting, None)
            return found if found is not None else await receive()

        await self._app(scope, replay, send)
