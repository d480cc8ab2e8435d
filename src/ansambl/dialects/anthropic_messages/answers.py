"""Answers of ``POST /v1/messages``: whole messages, the events of a stream, errors. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ansambl.dialects.blocks import Block, Blocks, Change, Kind, Step
from ansambl.dialects.citing import Cited, by_block, message_citations
from ansambl.dialects.openai_chat import Answer, Delta, Usage
from ansambl.dialects.translation import Frame, sse
from ansambl.domain.errors import AnsamblError

THOUGHTS, PROGRESS = "ansambl", "ansambl-progress"
"""Signatures of thinking blocks: what the model thought, and what an ensemble showed of its work.

Clients send thinking blocks back. The first are the model's to see again; the second were never its own thoughts.
"""

_SIGNATURES = {Kind.REASONING: THOUGHTS, Kind.PROGRESS: PROGRESS}

_STOP_REASONS = {
    "stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "function_call": "tool_use",
    "content_filter": "refusal",
}  # fmt: skip
_ERROR_TYPES = {
    401: "authentication_error", 403: "permission_error", 404: "not_found_error", 413: "request_too_large",
    429: "rate_limit_error", 503: "overloaded_error", 504: "timeout_error",
}  # fmt: skip
_TOO_LONG = "prompt is too long: "
"""How a prompt over the context is known: clients look for these words to shorten a conversation."""

THREAD_NOT_FOUND = "thread_not_found"
"""The code of the error on which the official client sends a conversation anew, whole."""

_UNREADABLE = "INVALID_JSON"
"""The key under which Anthropic's documentation puts arguments that are no JSON object (an answer that was cut)."""


class MessageRendering:
    """One message, as it grows (`translation.Rendering`). Without `shows_reasoning` thinking is left out."""

    def __init__(self, frame: Frame, *, shows_reasoning: bool = True) -> None:
        self._frame = frame
        self._shows_reasoning = shows_reasoning
        self._blocks = Blocks(frame.identifier)
        self._numbers: dict[int, int] = {}
        self._citations: dict[int, list[dict[str, Any]]] = {}

    @property
    def answer(self) -> Answer:
        """What was shown so far, as the client will send it back."""
        return self._blocks.answer

    def start(self) -> bytes:
        """The message without content."""
        message = self._message([], stop_reason=None, usage=_usage(Usage()))
        return sse("message_start", {"message": message})

    def feed(self, delta: Delta) -> bytes:
        """The events for what was added.

        Raises:
            EngineError: the delta belongs to a tool call that has ended already.
        """
        return b"".join(map(self._event, self._blocks.feed(delta)))

    def progress(self, words: str) -> bytes:
        """The events for what is shown of the work: a thinking block of its own."""
        return b"".join(map(self._event, self._blocks.progress(words)))

    def cite(self, cited: Sequence[Cited]) -> bytes:
        """The citations, each in the text block that holds its mark, as far as that has not ended."""
        self._citations = {
            number: message_citations(found) for number, found in by_block(cited, self._blocks.blocks).items()
        }
        grown = self._blocks.open
        if grown is None or grown.number not in self._citations:
            return b""
        number = self._numbers[grown.number]
        return b"".join(
            _delta(number, {"type": "citations_delta", "citation": one}) for one in self._citations[grown.number]
        )

    def finish(self, additions: Mapping[str, Any] | None = None) -> bytes:
        """The end of the last block, why the answer ends, and the usage."""
        ended = b"".join(map(self._event, self._blocks.finish()))
        delta = {"stop_reason": self._stop_reason, "stop_sequence": self._stop_sequence}
        usage = _usage(self._blocks.usage or Usage())
        last = sse("message_delta", {"delta": delta, "usage": usage, **(additions or {})})
        return ended + last + sse("message_stop", {})

    def broken(self, error: AnsamblError, sentence: str) -> bytes:
        """The error as the last event; what was begun stays open, so that nobody takes it for whole."""
        return sse("error", error_object(error, sentence))

    def whole(self, additions: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The whole message."""
        shown = [_whole_block(one, self._citations.get(one.number)) for one in self._blocks.blocks if self._shows(one)]
        usage = _usage(self._blocks.usage or Usage())
        return {**self._message(shown, stop_reason=self._stop_reason, usage=usage), **(additions or {})}

    def _message(self, content: list[Any], *, stop_reason: str | None, usage: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": f"msg_{self._frame.identifier}",
            "type": "message",
            "role": "assistant",
            "model": self._frame.model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": self._stop_sequence if stop_reason else None,
            "usage": usage,
        }

    @property
    def _stop_reason(self) -> str:
        reason = _STOP_REASONS.get(self._blocks.finish_reason or "stop", "end_turn")
        if reason == "end_turn":
            # Some engines say "stop" of an answer that calls a tool.
            if any(one.kind is Kind.CALL for one in self._blocks.blocks):
                return "tool_use"
            if self._stop_sequence is not None:
                return "stop_sequence"
        return reason

    @property
    def _stop_sequence(self) -> str | None:
        return self._blocks.stopped_by

    def _shows(self, block: Block) -> bool:
        return self._shows_reasoning or block.kind not in _SIGNATURES

    def _event(self, change: Change) -> bytes:
        step, block, words = change
        if not self._shows(block):
            return b""
        number = self._numbers.setdefault(block.number, len(self._numbers))
        if step is Step.BEGINS:
            return sse("content_block_start", {"index": number, "content_block": _empty(block)})
        if step is Step.GROWS:
            return _delta(number, _grown(block, words))
        signature = _SIGNATURES.get(block.kind)
        signed = _delta(number, {"type": "signature_delta", "signature": signature}) if signature else b""
        return signed + sse("content_block_stop", {"index": number})


def _whole_block(block: Block, citations: list[dict[str, Any]] | None) -> dict[str, Any]:
    if block.kind is Kind.TEXT:
        return {"type": "text", "text": block.words, "citations": citations}
    if block.kind is Kind.CALL:
        return {"type": "tool_use", "id": block.identifier, "name": block.name, "input": _input(block.words)}
    return {"type": "thinking", "thinking": block.words, "signature": _SIGNATURES[block.kind]}


def _empty(block: Block) -> dict[str, Any]:
    if block.kind is Kind.TEXT:
        return {"type": "text", "text": ""}
    if block.kind is Kind.CALL:
        return {"type": "tool_use", "id": block.identifier, "name": block.name, "input": {}}
    return {"type": "thinking", "thinking": "", "signature": ""}


def _grown(block: Block, words: str) -> dict[str, Any]:
    if block.kind is Kind.TEXT:
        return {"type": "text_delta", "text": words}
    if block.kind is Kind.CALL:
        return {"type": "input_json_delta", "partial_json": words}
    return {"type": "thinking_delta", "thinking": words}


def _delta(number: int, delta: dict[str, Any]) -> bytes:
    return sse("content_block_delta", {"index": number, "delta": delta})


def _input(arguments: str) -> dict[str, Any]:
    if not arguments.strip():
        return {}
    try:
        found = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {_UNREADABLE: arguments}


def _usage(usage: Usage) -> dict[str, Any]:
    """Tokens as this dialect counts them: those from the cache are not among ``input_tokens``."""
    cached = usage.cached_tokens
    found: dict[str, Any] = {
        "input_tokens": max(usage.prompt_tokens - (cached or 0), 0),
        "cache_creation_input_tokens": None if cached is None else 0,
        "cache_read_input_tokens": cached,
        "output_tokens": usage.completion_tokens,
    }
    if usage.reasoning_tokens is not None:
        found["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return found


def error_object(error: AnsamblError, sentence: str) -> dict[str, Any]:
    """An error in Anthropic's shape; `sentence` is the error's message in the reader's language."""
    status = error.status
    kind = _ERROR_TYPES.get(status, "invalid_request_error" if 400 <= status < 500 else "api_error")
    if error.code == "context_length_exceeded":
        sentence = _TOO_LONG + sentence
    found: dict[str, Any] = {"type": kind, "message": sentence}
    if error.code == THREAD_NOT_FOUND:
        found["details"] = {"error_code": THREAD_NOT_FOUND}
    return {"type": "error", "error": found}


def count_object(tokens: int) -> dict[str, Any]:
    """The answer to a request for the count of a prompt's tokens."""
    return {"input_tokens": tokens}
