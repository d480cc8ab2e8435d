"""Requests that go to an engine as they came, but for the model's name, and answers that come back as its bytes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass

from ansambl.dialects import openai_chat
from ansambl.dialects.openai_chat import DONE_EVENT, Usage
from ansambl.dialects.usage_reading import HEAD, usage_of_answer, usage_of_stream
from ansambl.domain.errors import AnsamblError, EngineError
from ansambl.domain.scheduling import Standing
from ansambl.domain.text import text
from ansambl.gateway.asgi import JSON_TYPE
from ansambl.gateway.engine_refusals import noted_refusal
from ansambl.gateway.exchange import Exchange
from ansambl.gateway.passing import leased_place
from ansambl.gateway.streaming import EventRelay
from ansambl.roles.asking import refusal_of
from ansambl.runtime.coordinator import Coordinator
from ansambl.runtime.upstream import BROKE_OFF, JSON, Body, ConnectionLostError, UpstreamAnswer

_LARGEST = 2**29
"""Bytes of a whole answer: a thousand vectors of 4,096 numbers, written out, are some 90 MB."""
_AT_ONCE = 2**18
_TAIL = 256
"""Bytes at the end of what arrived among which the mark of an end may begin that is not whole yet."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request for the engine of `model`, under `path` of its API.

    `body` makes the body, given the name that the model has there. `hint` chooses the slot, `lora` is the LoRA adapter.
    `ends` is found at the end of every whole stream, None where nobody knows a mark. `whole` is what becomes of a whole
    answer; `meaning` may say what a refusal means. `raises_refusals` where the dialect's errors are not OpenAI's: an
    engine's refusal is then said by whoever tells errors there.
    """

    model: str
    path: str
    body: Callable[[str], Body]
    standing: Standing
    hint: bytes = b""
    lora: str | None = None
    content_type: str = JSON
    ends: re.Pattern[bytes] | None = None
    whole: Callable[[bytes], bytes] | None = None
    meaning: Callable[[int, bytes], AnsamblError | None] | None = None
    raises_refusals: bool = False


async def hand_on(exchange: Exchange, coordinator: Coordinator, outgoing: Outgoing) -> None:
    """Ask the engine and hand its answer on as it comes.

    Raises:
        AnsamblError: nothing was sent yet and the request cannot be answered; or the answer broke off.
    """
    place = leased_place(
        exchange, coordinator, outgoing.model, outgoing.hint, lora=outgoing.lora, standing=outgoing.standing
    )
    async with place as lease:
        body = outgoing.body(lease.endpoint.name or lease.model)
        async with coordinator.open(lease, outgoing.path, body, outgoing.content_type) as answer:
            usage: Usage | None = None
            if answer.status >= 400:
                await _refuse(exchange, outgoing, answer)
            elif answer.streams:
                usage = await _stream(exchange, outgoing, answer)
            elif answer.content_type.startswith(JSON):
                usage = await _whole(exchange, outgoing, answer)
            else:
                await _bytes(exchange, answer)
            lease.cached = usage.cached_tokens if usage is not None else None


async def _refuse(exchange: Exchange, outgoing: Outgoing, answer: UpstreamAnswer) -> None:
    body = await answer.body()
    meant = outgoing.meaning(answer.status, body) if outgoing.meaning is not None else None
    if meant is not None:
        raise meant
    await exchange.settle()
    if exchange.started or outgoing.raises_refusals:
        raise refusal_of(answer, body)
    payload = openai_chat.engine_error_object(answer.status, body)
    await exchange.send_object(noted_refusal(exchange, answer, body, payload), payload)


async def _whole(exchange: Exchange, outgoing: Outgoing, answer: UpstreamAnswer) -> Usage | None:
    body = await answer.body(_LARGEST)
    sent = body
    if outgoing.whole is not None:
        # Numbers of thousands of texts take long to write in another way, and others are answered meanwhile.
        sent = outgoing.whole(body) if len(body) < _AT_ONCE else await asyncio.to_thread(outgoing.whole, body)
    await exchange.settle()
    if exchange.started:
        # An engine that does not stream, of whose answer the client was told already that it would come as a stream.
        await exchange.end(b"data: %b\n\n%b" % (b" ".join(sent.split(b"\n")), DONE_EVENT))
    else:
        await exchange.send_whole(answer.status, sent, [_type_of(answer)])
    usage = usage_of_answer(body)
    exchange.count_usage(usage)
    return usage


async def _stream(exchange: Exchange, outgoing: Outgoing, answer: UpstreamAnswer) -> Usage | None:
    relay, head, ended, last = EventRelay(), b"", outgoing.ends is None, b""
    usage: Usage | None = None
    await exchange.start_stream()
    try:
        chunk = await answer.chunk()
        exchange.first_byte()
        while chunk is not None:
            if len(head) < HEAD:
                head += chunk[: HEAD - len(head)]
            if not ended and outgoing.ends is not None:
                ended = outgoing.ends.search(last + chunk) is not None
                last = chunk[-_TAIL:]
            passed = relay.feed(chunk)
            if passed:
                await exchange.send_event(passed)
            chunk = await answer.chunk()
        rest = relay.finish()
        if not ended:
            raise ConnectionLostError(BROKE_OFF, answered=True)
        await exchange.end(rest)
    finally:
        # Also of an answer that its client stopped: what was read for it was read.
        usage = usage_of_stream(head, relay.kept)
        exchange.count_usage(usage)
    return usage


async def _bytes(exchange: Exchange, answer: UpstreamAnswer) -> None:
    """Hand on what is neither JSON nor a stream of events: sound, say. Sending waits for a client that reads slowly.

    One that breaks off is left without its end, so that nobody takes it for whole.
    """
    await exchange.settle()
    if exchange.started:
        raise EngineError(
            text("The engine's answer is not a stream of events but {kind}.", kind=answer.content_type or "?"),
            code="engine_garbage",
        )
    exchange.started, exchange.status = True, answer.status
    head = {"type": "http.response.start", "status": answer.status, "headers": [_type_of(answer), *exchange.headers]}
    await exchange.send(head)
    exchange.first_byte()
    while (chunk := await answer.chunk()) is not None:
        await exchange.send_event(chunk)
    await exchange.end()


def _type_of(answer: UpstreamAnswer) -> tuple[bytes, bytes]:
    return (b"content-type", answer.content_type.encode("latin-1")) if answer.content_type else JSON_TYPE
