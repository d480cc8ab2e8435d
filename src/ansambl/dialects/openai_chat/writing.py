"""Answers of chat completions, written: whole ones, and the events of a stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from ansambl.dialects.openai_chat.answers import Answer, Usage

DONE_EVENT = b"data: [DONE]\n\n"
"""What ends a stream."""

_encoder = msgspec.json.Encoder()


def event(payload: Mapping[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + _encoder.encode(payload) + b"\n\n"


@dataclass(frozen=True, slots=True)
class Envelope:
    """What every part of one answer repeats. `created` is in seconds since the epoch."""

    identifier: str
    created: int
    model: str

    def wrap(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        """The outer object of an answer or of a chunk of it."""
        return {
            "id": self.identifier,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }


def chunk(envelope: Envelope, delta: Mapping[str, Any], *, finish_reason: str | None = None) -> dict[str, Any]:
    """One chunk of a streamed answer."""
    return envelope.wrap("chat.completion.chunk", [{"index": 0, "delta": dict(delta), "finish_reason": finish_reason}])


def usage_chunk(envelope: Envelope, usage: Usage) -> dict[str, Any]:
    """The last chunk of a stream whose client asked for the usage."""
    return {**envelope.wrap("chat.completion.chunk", []), "usage": usage.as_json()}


def completion(envelope: Envelope, answer: Answer) -> dict[str, Any]:
    """A whole answer."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.content}
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    if answer.tool_calls:
        message["tool_calls"] = answer.tool_calls
    choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason or "stop"}
    return {**envelope.wrap("chat.completion", [choice]), "usage": (answer.usage or Usage()).as_json()}
