"""The few ASGI helpers that the request path needs; no framework between a client and its bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, cast

import msgspec

from ansambl.domain.errors import AnsamblError, BodyTooLargeError, EngineError, RequestError, UnavailableError
from ansambl.domain.text import text
from ansambl.domain.units import format_bytes
from ansambl.gateway.wire import send_together, tell_when_client_leaves

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

JSON_TYPE = (b"content-type", b"application/json")
NO_CACHE: Headers = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
"""A stream is shown as it comes, also behind a proxy."""

_LENGTH_DIGITS = 18
_DISCARD_LIMIT = 512 * 2**20
_DISCARD_PATIENCE = 30.0
_DISCARD_PAUSE = 2.0


class ClientGoneError(Exception):
    """The client closed the connection; nobody is left to answer."""


def header(scope: Scope, name: bytes) -> bytes | None:
    """The first value of a request header; `name` in lower case."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return None


class Room:
    """Memory for the bodies of requests that are being received, all together, in bytes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.taken = 0

    def take(self, size: int) -> None:
        """Count what was received.

        Raises:
            UnavailableError: there is no more room.
        """
        if self.taken + size > self.size:
            raise UnavailableError(
                text("Too many large requests are being received at once; send this one again in a moment."),
                code="too_many_bodies", retry_after=2,
            )  # fmt: skip
        self.taken += size


async def read_body(scope: Scope, receive: Receive, limit: int, room: Room | None = None) -> bytes:
    """Read a request's body.

    A body over the limit is read to its end and thrown away, because a client that is still sending would otherwise see
    a closed connection instead of the reason.

    Raises:
        RequestError: its declared length is not a number.
        BodyTooLargeError: it is over `limit` bytes.
        ClientGoneError: the client left before it was whole.
        UnavailableError: there is no `room` for it now.
    """
    declared = header(scope, b"content-length")
    if declared is not None and not declared.isdigit():
        raise RequestError(text("The header Content-Length is not a number."), code="invalid_content_length")
    # Compared by digits first, because Python refuses to read a number of thousands of them.
    if declared is not None and (len(declared.lstrip(b"0")) > _LENGTH_DIGITS or int(declared) > limit):
        # One that waits for leave to send has sent nothing, and shall not.
        if header(scope, b"expect") is None:
            await _discard(receive)
        raise _too_large(limit)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGoneError
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        if len(body) > limit:
            raise _too_large(limit)
        return body
    room = room or Room(limit)
    parts, size = [body], len(body)
    held = 0
    try:
        while message.get("more_body", False):
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > limit:
                if message.get("more_body", False):
                    await _discard(receive)
                raise _too_large(limit)
            room.take(len(part))
            held += len(part)
            parts.append(part)
    finally:
        room.taken -= held
    return b"".join(parts)


async def _discard(receive: Receive) -> None:
    size = 0
    try:
        async with asyncio.timeout(_DISCARD_PATIENCE):
            while size <= _DISCARD_LIMIT:
                # One that sends nothing waits for its answer.
                async with asyncio.timeout(_DISCARD_PAUSE):
                    message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGoneError
                size += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
    except TimeoutError:
        return


def _too_large(limit: int) -> BodyTooLargeError:
    return BodyTooLargeError(
        text(
            "The request's body is over the limit of {limit}; raise 'max_body' under [gateway] if it must be larger.",
            limit=format_bytes(limit),
        )
    )


def cancelled_when_client_leaves(receive: Receive) -> AbstractAsyncContextManager[None]:
    """Cancel what runs inside as soon as the client closes the connection.

    Raises:
        ClientGoneError: it did.
    """
    return _WhileClientStays(receive)


class _WhileClientStays(AbstractAsyncContextManager[None]):
    """A class, and no task where the server tells by a call: both are made for each request."""

    __slots__ = ("_end", "_gone", "_receive", "_task")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._gone = False

    async def __aenter__(self) -> None:
        self._task = cast("asyncio.Task[None]", asyncio.current_task())
        end: Callable[[], object] | None = tell_when_client_leaves(self._receive, self._left)
        self._end = end or asyncio.get_running_loop().create_task(self._watch()).cancel

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        if self._gone and kind is asyncio.CancelledError and self._task.uncancel() == 0:
            raise ClientGoneError from None

    def _left(self) -> None:
        self._gone = True
        self._task.cancel()

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left()


async def send_json(send: Send, status: int, payload: Any, headers: Headers | None = None) -> None:
    """Answer with a JSON document."""
    await send_bytes(send, status, msgspec.json.encode(payload), [JSON_TYPE, *(headers or [])])


async def send_bytes(send: Send, status: int, body: bytes, headers: Headers) -> None:
    """Answer with a whole body."""
    headers = [*headers, (b"content-length", b"%d" % len(body))]
    head = {"type": "http.response.start", "status": status, "headers": headers}
    await send_together(send, head, {"type": "http.response.body", "body": body})


def headers_of_error(error: AnsamblError) -> Headers:
    """What an error adds to the headers of its answer."""
    if isinstance(error, (UnavailableError, EngineError)) and error.retry_after is not None:
        return [(b"retry-after", b"%d" % error.retry_after)]
    if isinstance(error, BodyTooLargeError):
        return [(b"connection", b"close")]
    if isinstance(error, MethodError):
        return [(b"allow", error.allowed.encode("ascii"))]
    return []


class MethodError(RequestError):
    """A route does not have this method; `allowed` is the one that it has."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(text("{method} is not possible here; use {allowed}.", method=method, allowed=allowed))
        self.allowed = allowed


def route_error(method: str, path: str) -> RequestError:
    """The error for a path that does not exist."""
    error = RequestError(
        text("There is no {method} {path}; the chat is at POST /v1/chat/completions.", method=method, path=path[:200])
    )
    error.status = 404
    error.code = "unknown_url"
    return error
