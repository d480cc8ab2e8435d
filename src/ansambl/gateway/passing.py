"""One call to an engine whose answer is passed on byte for byte; a route may add why it chose whoever answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from ansambl.dialects import openai_chat
from ansambl.dialects.citing import chat_annotations
from ansambl.dialects.openai_chat import Answer, ChatRequest, Usage
from ansambl.dialects.openai_chat.accounts import usage_of_answer, usage_of_stream
from ansambl.dialects.openai_chat_additions import (
    FIELD,
    before_finish,
    envelope_of,
    split_end,
    stream_of,
    with_account,
    with_additions,
)
from ansambl.domain.errors import AnsamblError, EngineError
from ansambl.domain.scheduling import Standing
from ansambl.domain.text import Text, text
from ansambl.gateway.asgi import JSON_TYPE
from ansambl.gateway.citing import Citing, is_open_webui
from ansambl.gateway.engine_refusals import noted_refusal
from ansambl.gateway.exchange import Exchange, speaker_of_scope
from ansambl.gateway.streaming import EventRelay
from ansambl.roles.asking import hint_of, open_chat, refusal_of
from ansambl.roles.service import Prepared
from ansambl.runtime.carrying import Lease
from ansambl.runtime.coordinator import Coordinator
from ansambl.runtime.upstream import BROKE_OFF, ConnectionLostError, UpstreamAnswer

_SHOWN = 100
Remember = Callable[[Answer], None]


@dataclass(frozen=True, slots=True)
class Chosen:
    """Why whoever answers was chosen: `words` come before the answer as reasoning.

    `account` gives our object in the answer, from the answer's usage; `spent` is what choosing cost, None if nothing.
    """

    words: str
    account: Callable[[Usage | None], Mapping[str, Any]]
    spent: Usage | None = None

    def total(self, answer: Usage | None) -> Usage | None:
        """The usage of choosing and answering; None where the answer's is not known or choosing cost nothing."""
        return None if answer is None or self.spent is None else self.spent + answer


@dataclass(frozen=True, slots=True)
class Call:
    """A prepared request. `remember` is None for a plain model, `clearer` says more of an engine's refusal.

    `citing` tells of the documents that it was made from, None where none were searched. `passes_refusals` is False
    where an engine's refusal is raised, and not handed on to the client as it is.
    """

    prepared: Prepared
    remembers: bool = True
    chosen: Chosen | None = None
    clearer: Callable[[AnsamblError], AnsamblError] | None = None
    passes_refusals: bool = True
    citing: Citing | None = None

    @property
    def remember(self) -> Remember | None:
        """What is told of the answer."""
        return self.prepared.remember if self.remembers else None


async def pass_through(exchange: Exchange, coordinator: Coordinator, call: Call) -> None:
    """Ask the engine and hand its answer on as it comes.

    Raises:
        AnsamblError: nothing was sent yet and the request cannot be answered; or the stream broke.
    """
    request = call.prepared.request
    async with leased(exchange, coordinator, call) as lease, open_chat(coordinator, lease, request) as answer:
        if answer.status >= 400:
            body = await answer.body()
            if not call.passes_refusals:
                raise refusal_of(answer, body)
            await _refuse(exchange, call, answer, body)
        elif answer.streams:
            lease.cached = _cached(await _relay_stream(exchange, call, request, answer))
        else:
            lease.cached = _cached(await _relay_whole(exchange, call, answer))


def _cached(usage: Usage | None) -> int | None:
    return usage.cached_tokens if usage is not None else None


async def _refuse(exchange: Exchange, call: Call, answer: UpstreamAnswer, body: bytes) -> None:
    payload = openai_chat.engine_error_object(answer.status, body)
    if call.clearer is not None:
        found = payload["error"]
        plain = EngineError(text("{reason}", reason=found["message"]), code=found["code"])
        clearer = call.clearer(plain)
        found["message"] = clearer.message.render(speaker_of_scope(exchange.scope))
    refused = noted_refusal(exchange, answer, body, payload)
    await exchange.settle()
    if exchange.started:
        exchange.status = refused
        await exchange.end(openai_chat.event(payload))
    else:
        await exchange.send_object(refused, payload)


async def _relay_whole(exchange: Exchange, call: Call, answer: UpstreamAnswer) -> Usage | None:
    """Hand an answer on that is no stream; returns the engine's own usage."""
    body = await answer.body()
    if not body.lstrip().startswith(b"{"):
        raise EngineError(
            text(
                "The engine's answer is not a chat completion but: {start}",
                start=body[:_SHOWN].decode("utf-8", "replace"),
            ),
            code="engine_garbage",
        )
    chosen, citing = call.chosen, call.citing
    if chosen is not None or citing is not None:
        asked = openai_chat.read_answer(body)
        body = with_additions(
            body, reasoning=chosen.words if chosen is not None else "",
            additions=_account(chosen, citing, asked),
            usage=chosen.total(asked.usage) if chosen is not None else None,
            annotations=chat_annotations(citing.cited(asked.content)) if citing is not None else (),
        )  # fmt: skip
    await exchange.settle()
    if exchange.started:
        # An engine that does not stream, of whose answer the client was told already that it would come as a stream.
        await exchange.end(stream_of(body))
    else:
        kind = (b"content-type", answer.content_type.encode("latin-1")) if answer.content_type else JSON_TYPE
        await exchange.send_whole(answer.status, body, [kind])
    # After it was sent: nobody has to wait for our books.
    if call.remember is None:
        usage = usage_of_answer(body)
    else:
        found = openai_chat.read_answer(body)
        usage = found.usage
        if found.error is None:
            call.remember(found)
    exchange.count_usage(usage)
    return usage


async def _relay_stream(
    exchange: Exchange, call: Call, request: ChatRequest, answer: UpstreamAnswer
) -> Usage | None:  # fmt: skip
    """Hand a stream on; returns the engine's own usage."""
    remember = call.remember
    relay = EventRelay(keep_all=remember is not None)
    adds = call.chosen is not None or call.citing is not None
    additions = _StreamAdditions(call, request, exchange, relay) if adds else None
    waiting = b""

    def take(piece: bytes) -> bool:
        nonlocal waiting
        if not exchange.answering:
            exchange.first_byte()
        passed = relay.feed(piece)
        if passed and additions is not None:
            passed = additions.around(passed)
        if not passed or exchange.write(passed):
            return True
        waiting = passed
        return False

    await exchange.start_stream()
    broken = True
    try:
        while not await answer.pour(take):
            await exchange.send_event(waiting)
        exchange.first_byte()
        rest = relay.finish()
        if not openai_chat.stream_ended(relay.kept):
            raise ConnectionLostError(BROKE_OFF, answered=True)
        if additions is not None:
            rest = additions.around(rest) + additions.end(relay.kept)
        await exchange.end(rest)
        broken = False
    except asyncio.CancelledError:
        # The client stopped the answer: it may send back what it has seen, so that much is worth remembering.
        broken = False
        raise
    finally:
        if not broken:
            kept = relay.kept
            if remember is None or not relay.complete:
                usage = usage_of_stream(kept)
            else:
                found = openai_chat.read_stream(kept)
                usage = found.usage
                if found.error is None:
                    remember(found)
            total = call.chosen.total(usage) if call.chosen is not None else None
            exchange.count_usage(total or usage)
    return usage


def _account(chosen: Chosen | None, citing: Citing | None, answer: Answer) -> dict[str, Any]:
    """Our own object in an answer."""
    found = dict(chosen.account(answer.usage)) if chosen is not None else {}
    return {**found, **(citing.account(answer.content) if citing is not None else {})}


class _StreamAdditions:
    """Events before an engine's first one, citations before the one that ends its answer, and our account at the end.

    All between is the engine's own. Open WebUI is told of the sources before the answer, and by nothing else: of
    citations with an address it would ask another service for the site's picture.
    """

    def __init__(self, call: Call, request: ChatRequest, exchange: Exchange, relay: EventRelay) -> None:
        self._chosen = call.chosen
        self._citing = call.citing
        self._shows_events = call.citing is not None and is_open_webui(exchange.scope)
        self._cites = call.citing is not None and not self._shows_events and bool(call.citing.sources)
        self._includes_usage = request.includes_usage
        self._name = exchange.name
        self._relay = relay
        self._envelope: openai_chat.Envelope | None = None
        self._begun = False
        self._held = b""

    def around(self, events: bytes) -> bytes:
        """What is sent for `events` of the engine."""
        events, self._held = split_end(self._held + events)
        if self._cites and events:
            events = self._with_citations(events)
        if self._begun or not events:
            return events
        self._begun = True
        self._envelope = self._envelope or envelope_of(events, model=self._name)
        if self._envelope is None:
            return events
        before = b""
        if self._citing is not None and self._shows_events:
            before = self._citing.events(self._envelope)
        if self._chosen is not None:
            delta = {"role": "assistant", "content": "", "reasoning_content": self._chosen.words}
            before += openai_chat.event(openai_chat.chunk(self._envelope, delta))
        return before + events

    def _with_citations(self, events: bytes) -> bytes:
        """The events, with those that cite before the one that ends the answer."""
        place = before_finish(events)
        if place is None or self._citing is None or not self._relay.complete:
            return events
        self._cites = False
        self._envelope = self._envelope or envelope_of(events, model=self._name)
        cited = self._citing.cited(openai_chat.read_stream(self._relay.kept).content)
        if not cited or self._envelope is None:
            return events
        delta = {"content": "", "annotations": chat_annotations(cited)}
        return events[:place] + openai_chat.event(openai_chat.chunk(self._envelope, delta)) + events[place:]

    def end(self, stream: bytes) -> bytes:
        """The last events, after which the stream is over; `stream` is what the engine sent."""
        if self._envelope is None:
            return self._held
        answer = openai_chat.read_stream(stream)
        usage = answer.usage
        account = _account(self._chosen, self._citing if self._relay.complete else None, answer)
        total = self._chosen.total(usage) if self._chosen is not None else None
        found = with_account(self._held, account, total)
        if found is not None:
            return found
        last = openai_chat.chunk(self._envelope, {})
        if self._includes_usage and usage is not None:
            last = openai_chat.usage_chunk(self._envelope, total or usage)
        return openai_chat.event({**last, FIELD: dict(account)}) + self._held


def leased(exchange: Exchange, coordinator: Coordinator, call: Call) -> AbstractAsyncContextManager[Lease]:
    """As `leased_place`, for a prepared chat."""
    request = call.prepared.request
    return leased_place(
        exchange, coordinator, call.prepared.model, hint_of(request), lora=request.lora, standing=request.standing
    )


@asynccontextmanager
async def leased_place(
    exchange: Exchange, coordinator: Coordinator, model: str, hint: bytes, *, lora: str | None, standing: Standing
) -> AsyncIterator[Lease]:  # fmt: skip
    """Hold a place for the request; while it waits, and while its prompt is read, the exchange knows what for.

    How long it waited is counted, and said in the headers of its answer; where the stream began before, in a comment.

    Raises:
        AnsamblError: as `Coordinator.lease`.
    """
    exchange.outlook = partial(coordinator.outlook, model)
    async with coordinator.lease(model, hint, lora=lora, standing=standing) as lease:
        exchange.outlook = partial(_reading, lease.model)
        exchange.metrics.count_lease(lease)
        exchange.model, exchange.queued, exchange.swaps = lease.model, lease.queued, lease.swaps
        facts = [
            (b"x-ansambl-instance", lease.model.encode("ascii", "xmlcharrefreplace")),
            (b"x-ansambl-queued-ms", b"%d" % round(lease.queued * 1000)),
            (b"x-ansambl-swaps", b"%d" % lease.swaps),
        ]
        exchange.headers += facts
        if exchange.started:
            await exchange.comment("; ".join(f"{name.decode()}: {value.decode()}" for name, value in facts))
        yield lease


def _reading(model: str) -> Text:
    return text("'{model}' reads the prompt", model=model)
