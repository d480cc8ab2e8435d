"""One call to a model within an ensemble: its words told from its thinking, its limits, and what it cost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

from ansambl.dialects.openai_chat import Delta, Usage
from ansambl.domain.errors import EngineError
from ansambl.domain.text import Text, text
from ansambl.roles.canonical import strip_thinking
from ansambl.roles.ensembles.budget import shown_seconds
from ansambl.roles.ensembles.thinking import Piece, ThinkingSplitter

_CHARACTERS_PER_TOKEN, _CHARACTERS_MORE = 16, 64
"""No ordinary text averages so many characters per token: what is longer is over its limit, though it came at once."""


@dataclass(slots=True)
class Call:
    """What came of one call so far. `begun` and `first` are on the ensemble's clock, `limit` in tokens.

    `first` is when the first word of the answer came, the thinking before it left out.
    """

    role: str
    model: str
    begun: float
    limit: int
    content: str = ""
    thought: bool = False
    first: float | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    out_of_time: bool = False
    over_limit: bool = False
    deltas: int = 0
    characters: int = 0
    splitter: ThinkingSplitter = field(default_factory=ThinkingSplitter)

    @property
    def said(self) -> str:
        """The answer without thinking."""
        return strip_thinking(self.content)

    @property
    def cost(self) -> Usage | None:
        """What the engine reported; where it did not, a token for each piece that came. None when nothing came."""
        if self.usage is not None:
            return self.usage
        return Usage(completion_tokens=self.deltas) if self.deltas else None

    @property
    def cut(self) -> bool:
        """Whether the answer ended at a limit."""
        return self.out_of_time or self.over_limit or self.finish_reason == "length"

    def cut_message(self, seconds: float) -> Text:
        """Where the answer was cut; `seconds` is the whole ensemble's time limit."""
        if self.out_of_time:
            return text(
                "The role '{role}' was cut at the time limit of {limit} seconds; what it had said is used.",
                role=self.role,
                limit=shown_seconds(seconds),
            )
        return text(
            "The role '{role}' was cut at its limit of {limit} tokens; what it had said is used.",
            role=self.role,
            limit=self.limit,
        )

    def silent_message(self, ensemble: str) -> Text:
        """Why there is no answer."""
        if self.out_of_time:
            return text("The role '{role}' said nothing before the time limit.", role=self.role)
        if self.thought and (self.over_limit or self.finish_reason == "length"):
            return text(
                "The role '{role}' used all its tokens for thinking; raise branch_tokens of the ensemble '{ensemble}'.",
                role=self.role,
                ensemble=ensemble,
            )
        return text("The role '{role}' gave an empty answer.", role=self.role)

    def read(self, delta: Delta) -> list[Piece]:
        """What one event adds.

        Raises:
            EngineError: it is an error.
        """
        if delta.error is not None:
            reason = str(delta.error.get("message") or "the engine gave no reason")
            raise EngineError(text("The engine broke off: {reason}", reason=reason))
        self.finish_reason = delta.finish_reason or self.finish_reason
        self.usage = delta.usage or self.usage
        reasoning, content = self._within_limit(delta)
        pieces = [Piece(reasoning, is_thinking=True)] if reasoning else []
        pieces += self.splitter.feed(content) if content else []
        return self._noted(pieces)

    def end(self) -> list[Piece]:
        """What was held back, at the end of the stream."""
        return self._noted(self.splitter.finish())

    def _within_limit(self, delta: Delta) -> tuple[str, str]:
        """The delta's words, as far as the limit allows; engines that ignore the limit are cut here."""
        if not delta.reasoning and not delta.content:
            return "", ""
        if self.deltas >= self.limit:
            self.over_limit = True
            return "", ""
        self.deltas += 1
        room = self.limit * _CHARACTERS_PER_TOKEN + _CHARACTERS_MORE - self.characters
        reasoning = delta.reasoning[:room]
        content = delta.content[: room - len(reasoning)]
        self.characters += len(reasoning) + len(content)
        self.over_limit = len(reasoning) < len(delta.reasoning) or len(content) < len(delta.content)
        return reasoning, content

    def _noted(self, pieces: list[Piece]) -> list[Piece]:
        for piece in pieces:
            if piece.is_thinking:
                self.thought = True
            else:
                self.content += piece.text
        return pieces


async def listen(
    call: Call, deltas: AsyncGenerator[Delta, None], *, deadline: float, clock: Callable[[], float]
) -> AsyncGenerator[Piece, None]:
    """Yield what the model says, until its end, the deadline or the call's limit; closes `deltas` in any case.

    Raises:
        AnsamblError: what reading `deltas` raises.
    """
    async with aclosing(deltas):
        while not call.over_limit:
            delta = await _next(call, deltas, deadline - clock())
            if delta is None:
                break
            for piece in call.read(delta):
                if call.first is None and not piece.is_thinking and piece.text.strip():
                    call.first = clock()
                yield piece
    for piece in call.end():
        yield piece


async def _next(call: Call, deltas: AsyncGenerator[Delta, None], left: float) -> Delta | None:
    if left <= 0:
        call.out_of_time = True
        return None
    try:
        # The limit stands around the waiting only: a limit around a `yield` would fire in the caller's code.
        async with asyncio.timeout(left):
            return await anext(deltas)
    except StopAsyncIteration:
        return None
    except TimeoutError:
        call.out_of_time = True
        return None
