"""Answers of ``POST /v1/responses``: whole responses, the events of a stream, errors. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansambl.dialects import openai_chat
from ansambl.dialects.blocks import Block, Blocks, Change, Kind, Step
from ansambl.dialects.openai_chat import Answer, Delta, Usage
from ansambl.dialects.translation import Frame, sse
from ansambl.domain.errors import AnsamblError

THOUGHTS, PROGRESS = "rs_", "rs_progress_"
"""How the ids of reasoning items begin: what the model thought, and what an ensemble showed of its work.

Clients send reasoning items back. The first are the model's to see again; the second were never its own thoughts.
"""

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Why an answer that did not come to its end stopped."""

_PREFIXES = {Kind.TEXT: "msg_", Kind.CALL: "fc_", Kind.REASONING: THOUGHTS, Kind.PROGRESS: PROGRESS}
_NAMES = {Kind.TEXT: "response.output_text", Kind.REASONING: "response.reasoning_text",
          Kind.PROGRESS: "response.reasoning_text", Kind.CALL: "response.function_call_arguments"}  # fmt: skip


class ResponseRendering:
    """One response, as it grows (`translation.Rendering`). `echo` is what it says of its request."""

    def __init__(self, frame: Frame, echo: Mapping[str, Any]) -> None:
        self._frame = frame
        self._echo = echo
        self._blocks = Blocks(frame.identifier)
        self._sent = 0

    @property
    def answer(self) -> Answer:
        """What was shown so far, as the client will send it back."""
        return self._blocks.answer

    def start(self) -> bytes:
        """The response without output."""
        response = self._response("in_progress")
        return self._send("response.created", {"response": response}) + self._send(
            "response.in_progress", {"response": response}
        )

    def feed(self, delta: Delta) -> bytes:
        """The events for what was added.

        Raises:
            EngineError: the delta belongs to a tool call that has ended already.
        """
        return b"".join([self._event(change) for change in self._blocks.feed(delta)])

    def progress(self, words: str) -> bytes:
        """The events for what is shown of the work: a reasoning item of its own."""
        return b"".join([self._event(change) for change in self._blocks.progress(words)])

    def finish(self, additions: Mapping[str, Any] | None = None) -> bytes:
        """The end of the last item, and the whole response."""
        ended = b"".join([self._event(change) for change in self._blocks.finish()])
        return ended + self._send(f"response.{self._status}", {"response": self.whole(additions)})

    def broken(self, error: AnsamblError, sentence: str) -> bytes:
        """The failed response, then the error itself: the official client raises the second."""
        failed = {**self._response("failed"), "error": {"code": "server_error", "message": sentence}}
        inner = error_object(error, sentence)["error"]
        return self._send("response.failed", {"response": failed}) + self._send("error", {**inner, "error": inner})

    def whole(self, additions: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The whole response."""
        return {**self._response(self._status), **(additions or {})}

    def _send(self, kind: str, payload: Mapping[str, Any]) -> bytes:
        number = self._sent
        self._sent += 1
        return sse(kind, {"sequence_number": number, **payload, "type": kind})

    @property
    def _status(self) -> str:
        return "incomplete" if self._blocks.finish_reason in _INCOMPLETE else "completed"

    def _response(self, status: str) -> dict[str, Any]:
        frame, reason = self._frame, self._blocks.finish_reason or ""
        done = status not in {"in_progress", "failed"}
        last = len(self._blocks.blocks) - 1
        final = "incomplete" if status == "failed" else status
        return {
            "id": f"resp_{frame.identifier}",
            "object": "response",
            "created_at": frame.created,
            "status": status,
            "error": None,
            "incomplete_details": {"reason": _INCOMPLETE[reason]} if status == "incomplete" else None,
            "model": frame.model,
            # An answer that did not come to its end stopped in its last item.
            "output": [self._item(one, final if one.number == last else "completed") for one in self._blocks.blocks],
            "usage": _usage(self._blocks.usage or Usage()) if done else None,
            **self._echo,
        }

    def _item(self, block: Block, status: str) -> dict[str, Any]:
        if block.kind is Kind.CALL:
            return {
                "id": self._id(block), "type": "function_call", "status": status, "arguments": block.words,
                "call_id": block.identifier, "name": block.name,
            }  # fmt: skip
        content = [_part(block)] if block.pieces else []
        if block.kind is Kind.TEXT:
            return {
                "id": self._id(block), "type": "message", "status": status, "role": "assistant", "content": content,
            }  # fmt: skip
        return {"id": self._id(block), "type": "reasoning", "summary": [], "content": content, "status": status}

    def _id(self, block: Block) -> str:
        return f"{_PREFIXES[block.kind]}{self._frame.identifier}_{block.number}"

    def _event(self, change: Change) -> bytes:
        step, block, words = change
        name = _NAMES[block.kind]
        if step is Step.GROWS:
            place = {"item_id": self._id(block), "output_index": block.number}
            return self._send(f"{name}.delta", {**place, **_within(block), "delta": words, **_probabilities(block)})
        if step is Step.BEGINS:
            begun = self._send(
                "response.output_item.added",
                {"output_index": block.number, "item": self._item(block, "in_progress")},
            )
            if block.kind is Kind.CALL:
                return begun
            return begun + self._part_event("response.content_part.added", block)
        return self._end(block, name)

    def _end(self, block: Block, name: str) -> bytes:
        place = {"item_id": self._id(block), "output_index": block.number}
        if block.kind is Kind.CALL:
            ended = self._send(f"{name}.done", {**place, "name": block.name, "arguments": block.words})
        else:
            ended = self._send(
                f"{name}.done", {**place, **_within(block), "text": block.words, **_probabilities(block)}
            ) + self._part_event("response.content_part.done", block)
        status = self._status if block.number == len(self._blocks.blocks) - 1 else "completed"
        return ended + self._send(
            "response.output_item.done", {"output_index": block.number, "item": self._item(block, status)}
        )

    def _part_event(self, kind: str, block: Block) -> bytes:
        return self._send(
            kind,
            {"item_id": self._id(block), "output_index": block.number, **_within(block), "part": _part(block)},
        )


def _within(block: Block) -> dict[str, Any]:
    return {} if block.kind is Kind.CALL else {"content_index": 0}


def _probabilities(block: Block) -> dict[str, Any]:
    return {"logprobs": []} if block.kind is Kind.TEXT else {}


def _part(block: Block) -> dict[str, Any]:
    if block.kind is Kind.TEXT:
        return {"type": "output_text", "text": block.words, "annotations": [], "logprobs": []}
    return {"type": "reasoning_text", "text": block.words}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens or 0, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        # Engines do not tell them apart.
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def error_object(error: AnsamblError, sentence: str) -> dict[str, Any]:
    """An error in OpenAI's shape, as in chat completions."""
    return openai_chat.error_object(error, sentence)
