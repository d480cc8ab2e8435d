"""The admin API's routes for watching: events as they happen, and logs as they are written, as event streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response

from ansambl.api import PREFIX
from ansambl.api.errors import may_fail
from ansambl.api.leaving import EventStream
from ansambl.api.schemas import LogDocument

Translate = Callable[[str], str]

MOST_LINES = 5000
"""Lines of a log that one answer holds."""

After = Annotated[
    str | None,
    Query(max_length=200, description="As the header Last-Event-ID, for clients that cannot set it."),
]
LastEventId = Annotated[
    str | None,
    Header(alias="last-event-id", description="The id of the last event that was read: the stream goes on after it."),
]
Lines = Annotated[int, Query(ge=1, le=MOST_LINES, description="How many of the newest lines.")]


class WatchControls(Protocol):
    """What can be watched. `closing` is set when all streams end, because Ansambl stops."""

    closing: asyncio.Event

    def events(self, after: str | None, translate: Translate) -> AsyncGenerator[bytes]:
        """What happens from now on, or after the event of this id where that is still known.

        Raises:
            UnavailableError: too many streams are open.
        """
        ...

    async def log_tail(self, model: str | None, lines: int) -> list[str]:
        """The newest lines of the log of an engine, of Ansambl itself where `model` is None.

        Raises:
            UnknownNameError: no instance serves `model`.
        """
        ...

    def log_stream(self, model: str | None, lines: int, after: str | None) -> AsyncGenerator[bytes]:
        """These lines and those that are added, or those after the line of this id where that is still there.

        Raises:
            UnknownNameError: no instance serves `model`.
            NotSupportedError: somebody else runs it, and keeps its log.
            UnavailableError: too many streams are open.
        """
        ...


_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "An event stream. It goes on until the client leaves or Ansambl stops.",
        "content": {"text/event-stream": {"schema": {"$ref": "#/components/schemas/StreamEvent"}}},
    },
    **may_fail(422, 503),
}
"""What a stream may be answered with."""


def add_watch_routes(router: APIRouter, controls: WatchControls, language: Callable[[Request], Translate]) -> None:
    """Add the routes to `router`, which lets requests in; `language` chooses the language of sentences."""

    @router.get(
        f"{PREFIX}/events", tags=["Watching"], operation_id="watch_events", response_class=Response, responses=_STREAM
    )
    async def get_events(request: Request, last_event_id: LastEventId = None, after: After = None) -> Response:
        """What happens, as it happens: a snapshot first, then changes. The kinds are described in the reference."""
        return EventStream(controls.events(last_event_id or after, language(request)), controls.closing)

    @router.get(f"{PREFIX}/logs", tags=["Watching"], operation_id="get_own_log", responses=may_fail(422))
    async def get_own_log(lines: Lines = 200) -> LogDocument:
        """The newest lines of Ansambl's own log."""
        return LogDocument(lines=await controls.log_tail(None, lines))

    @router.get(
        f"{PREFIX}/logs/stream", tags=["Watching"], operation_id="watch_own_log", response_class=Response,
        responses=_STREAM,
    )  # fmt: skip
    async def get_own_log_stream(
        last_event_id: LastEventId = None, after: After = None, lines: Lines = 50
    ) -> Response:  # fmt: skip
        """Ansambl's own log as it is written; each event is one line."""
        return EventStream(controls.log_stream(None, lines, last_event_id or after), controls.closing)

    @router.get(
        f"{PREFIX}/instances/{{model:path}}/logs/stream", tags=["Watching"], operation_id="watch_instance_log",
        response_class=Response, responses={**_STREAM, **may_fail(404, 501)},
    )  # fmt: skip
    async def get_log_stream(
        model: str, last_event_id: LastEventId = None, after: After = None, lines: Lines = 50
    ) -> Response:
        """An engine's log as it is written; each event is one line."""
        return EventStream(controls.log_stream(model, lines, last_event_id or after), controls.closing)

    @router.get(
        f"{PREFIX}/instances/{{model:path}}/logs", tags=["Watching"], operation_id="get_instance_log",
        responses=may_fail(404, 422),
    )  # fmt: skip
    async def get_log(model: str, lines: Lines = 200) -> LogDocument:
        """The newest lines of an engine's log."""
        return LogDocument(lines=await controls.log_tail(model, lines))
