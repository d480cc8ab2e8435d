"""An answer as a row of blocks: reasoning, text and tool calls, each of which begins, grows and ends. Pure.

A stream of chat completions says only what was added. The other dialects say where each part of an answer begins and
ends, one after another; this finds the borders.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ansambl.dialects.openai_chat import Answer, Delta, Usage
from ansambl.domain.errors import EngineError
from ansambl.domain.text import text


class Kind(StrEnum):
    """What a block holds. `PROGRESS` is shown as reasoning, and is no thinking of the model that answers."""

    REASONING = "reasoning"
    PROGRESS = "progress"
    TEXT = "text"
    CALL = "call"


class Step(StrEnum):
    """What happens to a block."""

    BEGINS = "begins"
    GROWS = "grows"
    ENDS = "ends"


@dataclass(slots=True)
class Block:
    """One part of an answer. `identifier` and `name` are those of a tool call, whose arguments are its words.

    `logprobs` are the probabilities of a text's tokens, as the engine writes them, where they were asked for; `added`
    those of its last piece.
    """

    kind: Kind
    number: int
    identifier: str = ""
    name: str = ""
    pieces: list[str] = field(default_factory=list)
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    added: Sequence[dict[str, Any]] = ()

    @property
    def words(self) -> str:
        """All that it holds so far."""
        return "".join(self.pieces)


Change = tuple[Step, Block, str]
"""A block begins, grows by some words, or ends."""


@dataclass(slots=True)
class _Waiting:
    """A tool call whose name is not known yet."""

    index: int
    identifier: str = ""
    arguments: str = ""


class Blocks:
    """Finds the blocks of one answer. `identifier` makes the names of tool calls that the engine gave none."""

    def __init__(self, identifier: str) -> None:
        self._identifier = identifier
        self._open: Block | None = None
        self._waiting: _Waiting | None = None
        self._calls: dict[int, Block] = {}
        self.blocks: list[Block] = []
        self.finish_reason: str | None = None
        self.stopped_by: str | None = None
        self.usage: Usage | None = None

    @property
    def open(self) -> Block | None:
        """The block that still grows."""
        return self._open

    def feed(self, delta: Delta) -> Iterator[Change]:
        """The changes that `delta` makes.

        Raises:
            EngineError: it adds to a tool call after something else has begun.
        """
        self.finish_reason = delta.finish_reason or self.finish_reason
        self.stopped_by = delta.stopped_by or self.stopped_by
        self.usage = delta.usage or self.usage
        if delta.reasoning:
            yield from self._say(Kind.REASONING, delta.reasoning)
        if delta.content:
            yield from self._say(Kind.TEXT, delta.content, delta.logprobs)
        for part in delta.tool_calls:
            yield from self._call(part)

    def progress(self, words: str) -> Iterator[Change]:
        """The changes that words about the work make."""
        if words:
            yield from self._say(Kind.PROGRESS, words)

    def finish(self) -> Iterator[Change]:
        """The changes at the end of the answer."""
        yield from self._close()

    @property
    def answer(self) -> Answer:
        """All blocks together, as one answer, without progress."""
        return Answer(
            content="".join(one.words for one in self.blocks if one.kind is Kind.TEXT),
            reasoning="".join(one.words for one in self.blocks if one.kind is Kind.REASONING),
            tool_calls=[
                {
                    "id": one.identifier,
                    "type": "function",
                    "function": {"name": one.name, "arguments": one.words},
                }
                for one in self.blocks
                if one.kind is Kind.CALL
            ],
            finish_reason=self.finish_reason,
            usage=self.usage,
            logprobs=tuple(token for one in self.blocks for token in one.logprobs),
        )

    def _say(self, kind: Kind, words: str, logprobs: Sequence[dict[str, Any]] = ()) -> Iterator[Change]:
        block = self._open
        if block is None or block.kind is not kind or self._waiting is not None:
            yield from self._close()
            block = self._begin(Block(kind, len(self.blocks)))
            yield Step.BEGINS, block, ""
        block.pieces.append(words)
        block.added = logprobs
        block.logprobs += logprobs
        yield Step.GROWS, block, words

    def _call(self, part: dict[str, Any]) -> Iterator[Change]:
        index = part.get("index")
        waiting = self._waiting
        if not isinstance(index, int) or isinstance(index, bool):
            # A call without a number is a whole one.
            index = max((*self._calls, waiting.index if waiting else -1), default=-1) + 1
        function = part.get("function")
        function = function if isinstance(function, dict) else {}
        name, arguments, identifier = (
            _string(function.get("name")), _string(function.get("arguments")), _string(part.get("id")),
        )  # fmt: skip
        known = self._calls.get(index)
        if known is not None:
            if not arguments:
                return
            if known is not self._open or waiting is not None:
                raise EngineError(
                    text("The engine mixed the parts of several tool calls. Send the request again."),
                    code="engine_garbage",
                )
            known.pieces.append(arguments)
            yield Step.GROWS, known, arguments
            return
        if waiting is None or waiting.index != index:
            yield from self._close()
            waiting = self._waiting = _Waiting(index)
        waiting.identifier = identifier or waiting.identifier
        waiting.arguments += arguments
        if name:
            yield from self._name_call(name)

    def _name_call(self, name: str) -> Iterator[Change]:
        waiting = self._waiting
        if waiting is None:
            return
        self._waiting = None
        number = len(self._calls)
        identifier = waiting.identifier or f"call_{self._identifier}_{number}"
        block = self._begin(Block(Kind.CALL, len(self.blocks), identifier, name))
        self._calls[waiting.index] = block
        yield Step.BEGINS, block, ""
        if waiting.arguments:
            block.pieces.append(waiting.arguments)
            yield Step.GROWS, block, waiting.arguments

    def _begin(self, block: Block) -> Block:
        self._open = block
        self.blocks.append(block)
        return block

    def _close(self) -> Iterator[Change]:
        if self._waiting is not None:
            yield from self._name_call("")
        block, self._open = self._open, None
        if block is not None:
            yield Step.ENDS, block, ""


def _string(found: Any) -> str:
    return found if isinstance(found, str) else ""
