"""One request and its answer: who asked for what, what was sent so far, how it ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ansambl.access.door import OWNERS_VISIT, Visit
from ansambl.dialects import openai_chat
from ansambl.dialects.openai_chat import Usage
from ansambl.dialects.translation import Asked
from ansambl.domain.errors import AnsamblError, UnavailableError
from ansambl.domain.text import Text
from ansambl.foundation.locales import speaker_of_header
from ansambl.foundation.logging import RunningRequest, begin_request, get_logger
from ansambl.foundation.redaction import redact
from ansambl.gateway.asgi import (
    JSON_TYPE,
    NO_CACHE,
    Headers,
    Scope,
    Send,
    header,
    headers_of_error,
    send_bytes,
)
from ansambl.gateway.dialect_routes import ErrorObject, error_object_of
from ansambl.gateway.observing.metrics import Metrics
from ansambl.gateway.observing.recent_requests import RequestRecord
from ansambl.gateway.observing.request_log import request_id, shown_path
from ansambl.gateway.refusals import headers_of_refusal
from ansambl.gateway.stream_shapes import SERVER_SENT_EVENTS, StreamShape
from ansambl.gateway.wire import Wire

log = get_logger(__name__)

_OURS = 500
_PROMPT_BYTES, _PIECE_BYTES, _MOST_GUESSED = 4, 150, 10_000
"""What a token is taken for where no engine has counted: bytes of a request, bytes of a stream, and the most of a
request, because pictures have many bytes and few tokens."""

LEFT = 499
"""The status under which a request is counted whose client left; nobody gets it."""


def speaker_of_scope(scope: Scope) -> Callable[[str], str]:
    """The translator for whoever sent a request."""
    asked = header(scope, b"accept-language")
    return speaker_of_header(asked.decode("latin-1") if asked is not None else None)


def _error_object(scope: Scope) -> ErrorObject:
    return error_object_of(scope["path"], anthropic=header(scope, b"anthropic-version") is not None)


def _chat_error_event(error: AnsamblError, sentence: str) -> bytes:
    return openai_chat.event(openai_chat.error_object(error, sentence))


@dataclass(slots=True)
class Exchange:
    """Accompanies one request from its first byte to the end of its answer.

    `started` tells whether the answer's status line is out: from then on an error can only be an event of the stream.
    `answering` tells whether anything of the answer itself is, and not only comments; `ended` whether all of it is.
    `asked` is the request as its dialect translated it, None in chat completions. `error_events` is how the last events
    of its stream tell an error. `outlook` says what the answer waits for, None where nobody knows. `sent_at` is when
    something was sent last, on the clock of ``time.perf_counter``. `model` is the one whose instance answers, "" before
    it is known; `queued` and `first` are seconds until its place and until the first byte of a stream that a model
    said: an ensemble's headings before it are ours. `visit` is of whoever asks. `record` is what the admin API tells of
    it, None for what no model answers. `shape` is how it streams.
    `id` is the request's, which its answer tells, `code` that of the error that it ended with. `request_class` is how
    urgent it is, "" before that is known. `left` tells that its client left before the answer was whole, `received`
    are the bytes of the request's body, `sent` those of the answer's so far. `output_tokens` are those of the answer,
    None where they are not known.
    """

    scope: Scope
    send: Send
    metrics: Metrics
    began: float = field(default_factory=time.perf_counter)
    name: str = "-"
    status: int = 0
    started: bool = False
    streaming: bool = False
    answering: bool = False
    ended: bool = False
    headers: Headers = field(default_factory=list)
    asked: Asked | None = None
    error_events: Callable[[AnsamblError, str], bytes] | None = None
    outlook: Callable[[], Text] | None = None
    sent_at: float = field(default_factory=time.perf_counter)
    model: str = ""
    queued: float = 0.0
    swaps: int = 0
    first: float | None = None
    visit: Visit = OWNERS_VISIT
    record: RequestRecord | None = None
    id: str = ""
    code: str | None = None
    request_class: str = ""
    left: bool = False
    received: int = 0
    sent: int = 0
    output_tokens: int | None = None
    shape: StreamShape = SERVER_SENT_EVENTS
    _within_event: bool = False
    _settled: bool = False
    _begun: bool = False
    _clearing: bytes = b""
    _sending: asyncio.Lock = field(default_factory=asyncio.Lock)
    _running: RunningRequest | None = None
    _wire: Wire | None = None

    def __post_init__(self) -> None:
        """Give the request its id, by which its answer, its log lines and its record are found."""
        self.id = request_id(self.scope)
        told = self.id.encode("ascii")
        self.headers.append((b"x-request-id", told))
        if self.scope["path"].startswith("/v1/messages"):
            # Anthropic's name of the same.
            self.headers.append((b"request-id", told))
        self._running = begin_request(self.id)

    async def start_stream(self) -> None:
        """Send the status line of a stream, once."""
        # Comments are sent by another task, which may be about to do the same.
        async with self._sending:
            if not self.started:
                headers = [(b"content-type", self.shape.content_type), *NO_CACHE, *self.headers]
                await self.send({"type": "http.response.start", "status": 200, "headers": headers})
                self.started = self.streaming = True
                self.status = 200
                self._wire = Wire.of(self.send)

    def write(self, piece: bytes) -> bool:
        """Send bytes of the stream at once, where that can be. False: send them by `send_event`, which waits."""
        if self._wire is None or not self._wire.write(self._clearing + piece if self._clearing else piece):
            return False
        self._clearing, self._begun = b"", True
        self.sent_at = time.perf_counter()
        self.sent += len(piece)
        self._within_event = not piece.endswith(self.shape.ends)
        return True

    async def send_event(self, event: bytes) -> None:
        """Send bytes of the stream, which need not end with an event."""
        event, self._clearing, self._begun = self._clearing + event, b"", True
        await self._emit(event)

    async def _emit(self, event: bytes) -> None:
        self.sent_at = time.perf_counter()
        self.sent += len(event)
        self._within_event = not event.endswith(self.shape.ends)
        await self.send({"type": "http.response.body", "body": event, "more_body": True})

    async def comment(self, words: str) -> None:
        """Send a line that every client passes over, between two events; begins the stream where nothing else has."""
        if self._settled or self._within_event:
            return
        await self.start_stream()
        await self._emit(self.shape.silence(words))

    async def progress(self, event: bytes, clearing: bytes = b"") -> None:
        """Send an event that tells how far the answer is, which has not begun; may begin the stream.

        `clearing` is the event that takes it away again; it is sent right before whatever comes first of the answer.
        """
        if self._is_over:
            return
        await self.start_stream()
        # Another task may have begun the answer meanwhile.
        if not self._is_over:
            self._clearing = clearing
            await self._emit(event)

    async def settle(self) -> None:
        """From now on no comment begins the stream: afterwards `started` stays what it is until its owner acts."""
        self._settled = True
        async with self._sending:
            return

    async def end(self, last: bytes = b"") -> None:
        """End the stream, with these bytes before its end."""
        self._settled = True
        last, self._clearing = self._clearing + last, b""
        self.sent_at = time.perf_counter()
        self.sent += len(last)
        await self.send({"type": "http.response.body", "body": last, "more_body": False})
        self.ended = True

    async def send_object(self, status: int, payload: Any, headers: Headers | None = None) -> None:
        """Answer with a JSON document."""
        await self.send_whole(status, msgspec.json.encode(payload), [JSON_TYPE, *(headers or [])])

    async def send_whole(self, status: int, body: bytes, headers: Headers) -> None:
        """Answer with a whole body."""
        self._settled = self.started = True
        self.status = status
        self.sent += len(body)
        await send_bytes(self.send, status, body, [*headers, *self.headers])
        self.ended = True

    async def fail(self, error: AnsamblError) -> None:
        """Say what went wrong: as the answer, or as the last event of a stream that has begun."""
        # What an engine said may hold the key that we gave it.
        sentence = redact(error.message.render(speaker_of_scope(self.scope)))
        self.code = error.code
        if error.status >= _OURS and not isinstance(error, UnavailableError):
            # What a client did wrong, or was told to wait for, stands in the log of requests: any number of such
            # requests must not rotate away here what went wrong with us.
            log.info("request_failed", name=self.name, status=error.status, code=error.code, reason=str(error))
        await self.settle()
        if not self.started:
            payload = _error_object(self.scope)(error, sentence)
            headers = [*headers_of_error(error), *headers_of_refusal(error, self.scope["path"])]
            await self.send_object(error.status, payload, headers)
        elif self.streaming:
            self.status = error.status
            events = self.error_events or _chat_error_event
            await self.send_event(events(error, sentence))
            await self.end()

    def begin(self) -> None:
        """A request that counts begins: its body is about to be read."""
        self.record = self.metrics.recent.begin(self.scope["path"], self.visit.caller.key, self.id)

    def count(self) -> None:
        """Add the finished request to the metrics. One whose client left is neither answered nor failed."""
        if self.output_tokens is None and self.model and (self.answering or self.left):
            self.spend_guessed(self.sent // _PIECE_BYTES)
        if (record := self.record) is not None:
            self._fill(record)
            self.metrics.recent.end(record)
        self.metrics.count_request(
            self.name, self.model, status=self.status, seconds=time.perf_counter() - self.began, queued=self.queued,
            first=self.first, swaps=self.swaps, last=self.sent_at - self.began, tokens=self.output_tokens,
            key=self.visit.caller.key,
        )  # fmt: skip

    def spend_guessed(self, tokens: int) -> None:
        """Count on the caller's account what was asked, and `tokens` of an answer that no engine has counted.

        Whoever leaves before the engine counts would else have it for nothing.
        """
        self.visit.spend(min(self.received // _PROMPT_BYTES, _MOST_GUESSED) + tokens)

    def finished(self, endpoint: str, key: str | None = None) -> RequestRecord:
        """The record of the finished request, also of one that asked for no model, which is not among the newest.

        `endpoint` is the path of its route; `key` the id of an API key that was refused. From now on nothing is
        logged in its name.
        """
        if (record := self.record) is None:
            # A path that is ours holds nothing of the client's.
            path = self.scope["path"]
            record = RequestRecord(
                0, path if path == endpoint else shown_path(path), key or self.visit.caller.key, id=self.id
            )
            self._fill(record)
            record.time = time.time() - (record.seconds or 0.0)
        record.method = self.scope["method"]
        if self._running is not None:
            self._running.over = True
        return record

    def _fill(self, record: RequestRecord) -> None:
        record.seconds = time.perf_counter() - self.began
        record.name, record.model, record.status = self.name, self.model, self.status
        record.queued, record.first, record.swaps = self.queued, self.first, self.swaps
        record.code, record.streamed, record.left, record.sent = self.code, self.streaming, self.left, self.sent
        record.request_class = self.request_class

    def count_usage(self, usage: Usage | None) -> None:
        """Add what the answer cost to the metrics and to the caller's account."""
        self.metrics.count_usage(self.name, usage, self.model, self.visit.caller.key)
        if usage is not None:
            self.output_tokens = (self.output_tokens or 0) + usage.completion_tokens
            if self.record is not None:
                self.record.use(usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens)
            self.visit.spend(usage.prompt_tokens + usage.completion_tokens)

    @property
    def _is_over(self) -> bool:
        """Whether it is too late to tell how far the answer is."""
        return self._settled or self._begun

    @property
    def begun(self) -> bool:
        """Whether anything of a streamed answer was sent, and not only comments and how far it is."""
        return self._begun

    def begin_answer(self) -> None:
        """The answer is about to begin, perhaps with what no model said: nothing is counted yet."""
        self.answering = True

    def first_byte(self) -> None:
        """The first bytes that a model said in a streamed answer are about to go out; counted once."""
        self.answering = True
        if self.first is None:
            self.first = time.perf_counter() - self.began
            self.metrics.count_first_byte(self.name, self.first)
