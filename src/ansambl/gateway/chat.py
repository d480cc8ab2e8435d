"""POST /v1/chat/completions: a plain model's bytes go through, a role's messages are composed, an ensemble is run."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from ansambl.dialects import openai_chat
from ansambl.dialects.openai_chat import Answer, ChatRequest, Delta
from ansambl.domain.errors import EngineError
from ansambl.domain.text import text
from ansambl.gateway.asgi import JSON_TYPE, STREAM_TYPE, Headers
from ansambl.gateway.exchange import Exchange, speaker_of_scope
from ansambl.gateway.streaming import EventRelay
from ansambl.roles.asking import ask_engine, open_chat
from ansambl.roles.ensembles import council
from ansambl.roles.ensembles.events import BranchFailed, Content, Finished, Progress
from ansambl.roles.resolver import EnsembleTarget, Resolver, RoleTarget
from ansambl.roles.service import RoleService
from ansambl.runtime.coordinator import Coordinator, Lease
from ansambl.runtime.upstream import BROKE_OFF, ConnectionLostError, UpstreamAnswer

_SHOWN = 100
_NO_CACHE: Headers = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
Remember = Callable[[Answer], None]


class ChatHandler:
    """Answers chat completions for every name in the catalog."""

    def __init__(self, resolver: Resolver, service: RoleService, coordinator: Coordinator) -> None:
        self._resolver = resolver
        self._service = service
        self._coordinator = coordinator

    async def answer(self, exchange: Exchange, body: bytes, *, key: str) -> None:
        """Answer one request. `key` is the id of the API key that asks; remembered notes are kept apart by it.

        Raises:
            AnsamblError: nothing was sent yet and the request cannot be answered; or the stream broke.
        """
        request = openai_chat.parse_request(body)
        target = self._resolver.resolve(request.model)
        exchange.name = target.name
        if isinstance(target, EnsembleTarget):
            await self._answer_ensemble(exchange, request, target, key)
        elif isinstance(target, RoleTarget):
            prepared = self._service.prepare(request, target.role, key=key)
            exchange.headers.append((b"x-ansambl-role", target.name.encode("ascii", "xmlcharrefreplace")))
            await self._pass_through(exchange, prepared.request, prepared.model, prepared.remember)
        else:
            plain = self._service.prepare_plain(request, target.model)
            await self._pass_through(exchange, plain.request, plain.model, None)

    # --- one call to an engine, its bytes passed on -----------------------------------------------------------------

    async def _pass_through(
        self, exchange: Exchange, request: ChatRequest, model: str, remember: Remember | None
    ) -> None:
        async with self._coordinator.lease(model) as lease:
            exchange.metrics.queued.observe(lease.queued)
            exchange.headers += _lease_headers(lease)
            async with open_chat(self._coordinator, lease, request) as answer:
                if answer.status >= 400:
                    body = await answer.body()
                    status = openai_chat.engine_status(answer.status, body)
                    await exchange.send_object(status, openai_chat.engine_error_object(answer.status, body))
                elif answer.streams:
                    await self._relay_stream(exchange, answer, remember)
                else:
                    await self._relay_whole(exchange, answer, remember)

    async def _relay_whole(self, exchange: Exchange, answer: UpstreamAnswer, remember: Remember | None) -> None:
        body = await answer.body()
        if not body.lstrip().startswith(b"{"):
            raise EngineError(
                text(
                    "The engine's answer is not a chat completion but: {start}",
                    start=body[:_SHOWN].decode("utf-8", "replace"),
                ),
                code="engine_garbage",
            )
        exchange.started, exchange.status = True, answer.status
        content_type = (b"content-type", answer.content_type.encode("latin-1")) if answer.content_type else JSON_TYPE
        length = (b"content-length", b"%d" % len(body))
        await exchange.send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": [content_type, length, *exchange.headers],
            }
        )
        await exchange.send({"type": "http.response.body", "body": body})
        found = openai_chat.read_answer(body)
        exchange.metrics.count_usage(exchange.name, found.usage)
        if remember is not None and found.error is None:
            remember(found)

    async def _relay_stream(self, exchange: Exchange, answer: UpstreamAnswer, remember: Remember | None) -> None:
        relay = EventRelay(keep_all=remember is not None)
        await exchange.start_stream([STREAM_TYPE, *_NO_CACHE])
        send, broken = exchange.send, True
        try:
            chunk = await answer.chunk()
            exchange.first_byte()
            while chunk is not None:
                passed = relay.feed(chunk)
                if passed:
                    await send({"type": "http.response.body", "body": passed, "more_body": True})
                chunk = await answer.chunk()
            rest = relay.finish()
            if not openai_chat.stream_ended(relay.kept):
                raise ConnectionLostError(BROKE_OFF, answered=True)
            await send({"type": "http.response.body", "body": rest, "more_body": False})
            broken = False
        except asyncio.CancelledError:
            # The client stopped the answer: it may send back what it has seen, so that much is worth remembering.
            broken = False
            raise
        finally:
            if not broken:
                found = openai_chat.read_stream(relay.kept)
                exchange.metrics.count_usage(exchange.name, found.usage)
                if remember is not None and relay.complete and found.error is None:
                    remember(found)

    # --- several calls, one answer ----------------------------------------------------------------------------------

    async def _answer_ensemble(
        self, exchange: Exchange, request: ChatRequest, target: EnsembleTarget, key: str
    ) -> None:
        writer = _EnsembleWriter(exchange, request, target.name)
        exchange.headers.append((b"x-ansambl-role", target.name.encode("ascii", "xmlcharrefreplace")))

        def ask(model: str, call: ChatRequest) -> AsyncGenerator[Delta, None]:
            return ask_engine(self._coordinator, model, call)

        events = council.run(target.ensemble, request, service=self._service, ask=ask, key=key)
        async with aclosing(events):
            async for event in events:
                await writer.write(event)


class _EnsembleWriter:
    """Turns an ensemble's events into an answer of the dialect: progress as reasoning, the result as content."""

    def __init__(self, exchange: Exchange, request: ChatRequest, name: str) -> None:
        self._exchange = exchange
        self._stream = request.stream
        self._includes_usage = request.includes_usage
        self._answer = Answer()
        self._envelope = openai_chat.Envelope(f"chatcmpl-{uuid.uuid4().hex}", int(time.time()), name)

    async def write(self, event: Progress | Content | BranchFailed | Finished) -> None:
        if isinstance(event, Finished):
            await self._finish(event)
        elif isinstance(event, Content):
            self._answer.content += event.text
            await self._delta({"content": event.text})
        else:
            # A role that failed or no longer fitted is said where its words would have stood.
            words = (
                event.text
                if isinstance(event, Progress)
                else f"\n\n{event.message.render(speaker_of_scope(self._exchange.scope))}\n"
            )
            self._answer.reasoning += words
            await self._delta({"reasoning_content": words})

    async def _delta(self, delta: dict[str, str]) -> None:
        if not self._stream:
            return
        if not self._exchange.started:
            await self._exchange.start_stream([STREAM_TYPE, *_NO_CACHE])
            self._exchange.first_byte()
            await self._chunk({"role": "assistant", "content": ""})
        await self._chunk(delta)

    async def _chunk(self, delta: dict[str, str], finish_reason: str | None = None) -> None:
        found = openai_chat.chunk(self._envelope, delta, finish_reason=finish_reason)
        await self._exchange.send_event(openai_chat.event(found))

    async def _finish(self, event: Finished) -> None:
        self._exchange.metrics.count_usage(self._exchange.name, event.usage)
        self._answer.finish_reason, self._answer.usage = event.finish_reason, event.usage
        if not self._stream:
            await self._exchange.send_object(200, openai_chat.completion(self._envelope, self._answer))
            return
        if not self._exchange.started:
            await self._delta({})
        await self._chunk({}, event.finish_reason)
        if self._includes_usage:
            usage = openai_chat.usage_chunk(self._envelope, event.usage)
            await self._exchange.send_event(openai_chat.event(usage))
        await self._exchange.send_event(openai_chat.DONE_EVENT)
        await self._exchange.end()


def _lease_headers(lease: Lease) -> Headers:
    return [
        (b"x-ansambl-instance", lease.model.encode("ascii", "xmlcharrefreplace")),
        (b"x-ansambl-queued-ms", b"%d" % round(lease.queued * 1000)),
        (b"x-ansambl-swaps", b"0"),
    ]
