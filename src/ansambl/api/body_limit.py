"""Refuses bodies that no route can use: too large for what they are for, or with halves of characters in them.

The first is seen before anything is read into memory as a whole. The second, one half of a pair of escapes, is text
that JSON lets one write and nothing can keep: the database, the configuration file and every answer are UTF-8.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from fastapi import Request
from fastapi.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ansambl.domain.errors import AnsamblError, BodyTooLargeError, RequestError
from ansambl.domain.text import text

_HALF = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]|\0")
"""How JSON writes half a character; two of them in the right order are one character. Python's reader takes it as bytes
that are no UTF-8, too, and takes UTF-16 and UTF-32, which no text without a nought byte is."""


class BodyLimit:
    """Answers with 413 where a body under one of `prefixes` is longer than `limit` bytes, announced or not.

    One that holds half a character is answered with 422.
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
        if holds_half_characters(b"".join(one.get("body", b"") for one in messages)):
            await self._answer(Request(scope), _half_character())(scope, receive, send)
            return
        waiting = iter(messages)

        async def replay() -> Message:
            found = next(waiting, None)
            return found if found is not None else await receive()

        await self._app(scope, replay, send)


def holds_half_characters(body: bytes) -> bool:
    """Whether a JSON document has text that cannot be written as UTF-8. What is no JSON is left to who reads it."""
    if not _HALF.search(body):
        return False
    try:
        json.dumps(json.loads(body), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    except (ValueError, RecursionError):
        return False
    return False


def _half_character() -> RequestError:
    error = RequestError(
        text("The body holds half a character (an escape such as \\ud800 alone); send whole characters."), param="body"
    )
    error.status = 422
    return error
