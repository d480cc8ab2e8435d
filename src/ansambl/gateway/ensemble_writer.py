"""Writes an ensemble's events as an answer: progress as reasoning, the result as content, the account at the end."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any, Protocol

from ansambl.dialects import openai_chat
from ansambl.dialects.openai_chat import Answer, ChatRequest, Usage
from ansambl.dialects.openai_chat_additions import FIELD
from ansambl.domain.text import Text
from ansambl.gateway.citing import Citing, annotated, is_open_webui
from ansambl.gateway.exchange import Exchange, speaker_of_scope
from ansambl.roles.ensembles.events import Branch, BranchState, Content, EnsembleEvent, Finished, Progress, Shared


class Output(Protocol):
    """Sends an answer of our own in the dialect of its request."""

    async def reasoning(self, words: str, *, ours: bool = False) -> None:
        """Send what is shown of the work; `ours` is what no model said: a heading, a remark."""
        ...

    async def content(self, words: str) -> None:
        """Send a piece of the answer."""
        ...

    async def sources(self, citing: Citing) -> None:
        """Send what the answer will be made from, where its client shows that before the answer."""
        ...

    async def end(
        self, finish_reason: str, usage: Usage, account: Mapping[str, Any], citing: Citing | None = None
    ) -> None:  # fmt: skip
        """Send the end: why it ends, what it cost, what it cites, and our account of it."""
        ...


class EnsembleWriter:
    """Writes one answer. `about` is what its account says besides calls and sharing; `before` was spent before it.

    `citing` tells of the documents that its members were given.
    """

    def __init__(
        self, exchange: Exchange, output: Output, about: Mapping[str, Any], *, before: Usage | None = None,
        citing: Citing | None = None,
    ) -> None:  # fmt: skip
        self._exchange = exchange
        self._output = output
        self._about = about
        self._before = before or Usage()
        self._pieces = 0
        self._citing = citing
        self._told = False

    async def write(self, event: EnsembleEvent) -> None:
        """Write one event; the last one ends the answer."""
        if isinstance(event, Finished):
            usage = self._before + event.usage
            metrics = self._exchange.metrics
            self._exchange.count_usage(usage)
            for one in event.branches:
                failed = one.state is BranchState.FAILED
                metrics.count_branch(one.role, one.model, one.usage, seconds=one.seconds, failed=failed)
            citing = self._citing if self._citing is not None and self._citing.searched else None
            await self._output.end(event.finish_reason, usage, {**self._about, **account_of(event)}, citing)
        elif isinstance(event, Content):
            self._pieces += 1
            await self._tell_sources()
            await self._output.content(event.text)
        elif isinstance(event, Progress):
            self._pieces += 1
            await self._output.reasoning(event.text, ours=event.is_heading)
        else:
            # What went wrong or was decided is said where the words would have stood.
            await self.write_reasoning(f"\n\n{self._said(event.message)}\n")

    async def _tell_sources(self) -> None:
        """Before the first words of the answer: by then its members have searched."""
        if self._told or self._citing is None:
            return
        self._told = True
        if self._citing.searched:
            if not self._exchange.started:
                self._exchange.headers.append(self._citing.header())
            await self._output.sources(self._citing)

    def left(self) -> None:
        """Nobody waits for the rest: count what there was, a token for each piece."""
        self._exchange.spend_guessed(self._before.prompt_tokens + self._before.completion_tokens + self._pieces)

    async def write_reasoning(self, words: str) -> None:
        """Write progress that no model said."""
        await self._output.reasoning(words, ours=True)

    def _said(self, message: Text) -> str:
        return message.render(speaker_of_scope(self._exchange.scope))


class ChatOutput:
    """Sends an answer of our own as a chat completion."""

    def __init__(self, exchange: Exchange, request: ChatRequest) -> None:
        self._exchange = exchange
        self._stream = request.stream
        self._includes_usage = request.includes_usage
        self._answer = Answer()
        self._begun = False
        self._envelope = openai_chat.Envelope(f"chatcmpl-{uuid.uuid4().hex}", int(time.time()), exchange.name)

    async def reasoning(self, words: str, *, ours: bool = False) -> None:
        """Send what is shown of the work."""
        self._answer.reasoning += words
        await self._delta({"reasoning_content": words}, ours=ours)

    async def content(self, words: str) -> None:
        """Send a piece of the answer."""
        self._answer.content += words
        await self._delta({"content": words})

    async def sources(self, citing: Citing) -> None:
        """Send the sources as events, to Open WebUI alone."""
        if self._stream and is_open_webui(self._exchange.scope):
            await self._begin()
            await self._exchange.send_event(citing.events(self._envelope))

    async def end(
        self, finish_reason: str, usage: Usage, account: Mapping[str, Any], citing: Citing | None = None
    ) -> None:  # fmt: skip
        """Send the end; the account stands in the last chunk, what is cited before it."""
        self._answer.finish_reason, self._answer.usage = finish_reason, usage
        said = self._answer.content
        cited = citing.cited(said) if citing is not None else []
        more = {FIELD: {**account, **(citing.account(said) if citing is not None else {})}}
        if not self._stream:
            found = openai_chat.completion(self._envelope, self._answer)
            found["choices"][0]["message"] = annotated(found["choices"][0]["message"], cited)
            await self._exchange.send_object(200, {**found, **more})
            return
        if not self._begun:
            await self._delta({}, ours=True)
        if cited and not is_open_webui(self._exchange.scope):
            await self._chunk(annotated({"content": ""}, cited))
        await self._chunk({}, finish_reason, None if self._includes_usage else more)
        if self._includes_usage:
            last = openai_chat.usage_chunk(self._envelope, usage)
            await self._exchange.send_event(openai_chat.event({**last, **more}))
        await self._exchange.send_event(openai_chat.DONE_EVENT)
        await self._exchange.end()

    async def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            await self._exchange.start_stream()
            self._exchange.begin_answer()
            await self._chunk({"role": "assistant", "content": ""})

    async def _delta(self, delta: dict[str, str], *, ours: bool = False) -> None:
        if not self._stream:
            return
        await self._begin()
        if not ours:
            self._exchange.first_byte()
        await self._chunk(delta)

    async def _chunk(
        self, delta: Mapping[str, Any], finish_reason: str | None = None, more: Mapping[str, Any] | None = None
    ) -> None:
        found = openai_chat.chunk(self._envelope, delta, finish_reason=finish_reason)
        await self._exchange.send_event(openai_chat.event({**found, **(more or {})}))


def account_of(event: Finished) -> dict[str, Any]:
    """The calls of an ensemble and how they shared their beginning, ready for JSON."""
    return {
        "branches": [branch_object(one) for one in event.branches],
        "sharing": [_shared_object(one) for one in event.sharing],
    }


def branch_object(branch: Branch) -> dict[str, Any]:
    """One call, ready for JSON. `usage` is null where nothing is known of it."""
    return {
        "role": branch.role,
        "model": branch.model,
        "state": branch.state.value,
        "seconds": round(branch.seconds, 3),
        "first_seconds": None if branch.first is None else round(branch.first, 3),
        "usage": branch.usage.as_json() if branch.usage is not None else None,
        "message": branch.message.render() if branch.message is not None else None,
    }


def _shared_object(shared: Shared) -> dict[str, Any]:
    return {
        "model": shared.model,
        "requests": shared.requests,
        "how": shared.sharing.value,
        "reason": shared.reason.render(),
        "usage": shared.usage.as_json() if shared.usage is not None else None,
    }
