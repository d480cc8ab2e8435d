"""Answers in the dialects that are not the engines' own: deltas in, one object or events out."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from ansambl.dialects.openai_chat import Delta, Usage
from ansambl.dialects.openai_chat_additions import FIELD
from ansambl.dialects.translation import Asked, Frame, Rendering
from ansambl.domain.errors import AnsamblError, EngineError
from ansambl.domain.text import text
from ansambl.gateway.citing import Citing
from ansambl.gateway.exchange import Exchange
from ansambl.gateway.passing import Call, leased
from ansambl.roles.asking import ask_leased
from ansambl.runtime.coordinator import Coordinator


class TranslatedAnswer:
    """Sends one answer in the dialect of its request, as it comes or at its end."""

    def __init__(self, exchange: Exchange, asked: Asked) -> None:
        self._exchange = exchange
        self._stream = asked.chat.stream
        self._opened = False
        frame = Frame(uuid.uuid4().hex, int(time.time()), exchange.name)
        self.rendering: Rendering = asked.rendering(frame)
        # A stream that has begun ends with an error of this answer.
        exchange.error_events = self._broken

    async def feed(self, delta: Delta) -> None:
        """Send what the model said.

        Raises:
            EngineError: the parts of the answer come in an order that cannot be said.
        """
        opening = self._opening()
        await self._send(opening + self.rendering.feed(delta))

    async def reasoning(self, words: str, *, ours: bool = False) -> None:
        """Send what is shown of the work; `ours` is what no model said."""
        opening = self._opening()
        await self._send(opening + self.rendering.progress(words), ours=ours)

    async def content(self, words: str) -> None:
        """Send a piece of the answer."""
        await self.feed(Delta(content=words))

    async def sources(self, citing: Citing) -> None:
        """Nothing: what is cited is told at the end."""

    async def end(
        self, finish_reason: str, usage: Usage, account: Mapping[str, Any], citing: Citing | None = None
    ) -> None:  # fmt: skip
        """Send the end: why it ends, what it cost, what it cites, and our account of it."""
        await self.feed(Delta(finish_reason=finish_reason, usage=usage))
        if citing is not None:
            await self.cite(citing)
            account = {**account, **citing.account(self.rendering.answer.content)}
        await self.finish({FIELD: account})

    async def cite(self, citing: Citing) -> None:
        """Send what the answer cites."""
        opening = self._opening()
        await self._send(opening + self.rendering.cite(citing.cited(self.rendering.answer.content)))

    async def finish(self, additions: Mapping[str, Any] | None = None) -> None:
        """Send the end, or all of an answer that is not streamed."""
        if not self._stream:
            await self._exchange.send_object(200, self.rendering.whole(additions))
            return
        opening = self._opening()
        await self._send(opening + self.rendering.finish(additions))
        await self._exchange.end()

    def _broken(self, error: AnsamblError, sentence: str) -> bytes:
        return self._opening() + self.rendering.broken(error, sentence)

    def _opening(self) -> bytes:
        """The first events, once; they count before all others."""
        if self._opened or not self._stream:
            return b""
        self._opened = True
        return self.rendering.start()

    async def _send(self, events: bytes, *, ours: bool = False) -> None:
        if not events or not self._stream:
            return
        await self._exchange.start_stream()
        if ours:
            self._exchange.begin_answer()
        else:
            self._exchange.first_byte()
        await self._exchange.send_event(events)


def broken_before_an_answer(exchange: Exchange, asked: Asked) -> Callable[[AnsamblError, str], bytes]:
    """The events of a stream that comments began and that ends with an error instead of an answer."""

    def events(error: AnsamblError, sentence: str) -> bytes:
        rendering = asked.rendering(Frame(uuid.uuid4().hex, int(time.time()), exchange.name))
        return rendering.start() + rendering.broken(error, sentence)

    return events


async def translate(exchange: Exchange, asked: Asked, coordinator: Coordinator, call: Call) -> None:
    """Ask the engine and hand its answer on in the dialect of the request.

    Raises:
        AnsamblError: nothing was sent yet and the request cannot be answered; or the stream broke.
    """
    request = call.prepared.request
    answer = TranslatedAnswer(exchange, asked)
    async with leased(exchange, coordinator, call) as lease:
        usage: Usage | None = None
        said = told = False
        try:
            async with aclosing(ask_leased(coordinator, lease, request)) as deltas:
                async for delta in deltas:
                    if not told and call.chosen is not None:
                        told = True
                        await answer.reasoning(call.chosen.words, ours=True)
                    said = said or delta != Delta()
                    usage = delta.usage or usage
                    counted = delta
                    if call.chosen is not None and delta.usage is not None:
                        counted = replace(delta, usage=call.chosen.total(delta.usage) or delta.usage)
                    await answer.feed(counted)
            if not said:
                raise EngineError(text("The engine's answer is not a chat completion."), code="engine_garbage")
            account = dict(call.chosen.account(usage)) if call.chosen is not None else {}
            if call.citing is not None:
                await answer.cite(call.citing)
                account |= call.citing.account(answer.rendering.answer.content)
            await answer.finish({FIELD: account} if account else None)
        except asyncio.CancelledError:
            # The client stopped the answer: it may send back what it has seen, so that much is worth remembering.
            if exchange.streaming and said:
                _account(exchange, call, answer, usage)
            raise
        except AnsamblError as error:
            clearer = error if call.clearer is None or exchange.started else call.clearer(error)
            if clearer is error:
                raise
            raise clearer from error
        _account(exchange, call, answer, usage)


def _account(exchange: Exchange, call: Call, answer: TranslatedAnswer, usage: Usage | None) -> None:
    total = call.chosen.total(usage) if call.chosen is not None else None
    exchange.count_usage(total or usage)
    if call.remember is not None:
        call.remember(answer.rendering.answer)
