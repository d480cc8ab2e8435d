"""Answers of ``POST /v1/responses``: whole responses, the events of a stream, errors. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansambl.dialects import openai_chat
from ansambl.dialects.blocks import Block, Blocks, Change, Kind, Step
from ansambl.dialects.citing import Cited, by_block, response_annotations
from ansambl.dialects.openai_chat import Answer, Delta, Usage
from ansambl.dialects.translation import Frame, sse
from ansambl.domain.errors import AnsamblError

THOUGHTS, PROGRESS = "rs_", "rs_progress_"
"""How the ids of reasoning items begin: what the model thought, and what an ensemble showed of its work.

Clients send reasoning items back. The first are the model's to see again; the second were never its own thoughts.
"""

SEAL = "ansambl"
"""The encrypted content of reasoning, which is not encrypted."""

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Why an answer that did not come to its end stopped."""

_IMPOSSIBLE = -9999.0
"""What OpenAI writes as the logarithm of the probability of a token that is not among the likely ones."""

_PREFIXES = {Kind.TEXT: "msg_", Kind.CALL: "fc_", Kind.REASONING: THOUGHTS, Kind.PROGRESS: PROGRESS}


@dataclass(frozen=True, slots=True)
class _Wording:
    """How the events of one kind of block are called, and where in its item its words stand.

    `part` is how the events of its part are called, `kind` the type of that part; both are "" for a tool call, which
    has none.
    """

    words: str
    index: str = ""
    part: str = ""
    kind: str = ""


_TEXT = _Wording("response.output_text", "content_index", "response.content_part", "output_text")
_THOUGHTS = _Wording("response.reasoning_text", "content_index", "response.content_part", "reasoning_text")
_SUMMARY = _Wording(
    "response.reasoning_summary_text", "summary_index", "response.reasoning_summary_part", "summary_text"
)
_CALL = _Wording("response.function_call_arguments")


class ResponseRendering:
    """One response, as it grows (`translation.Rendering`). `echo` is what it says of its request.

    With `summarises` reasoning is told as the summary of itself, all of it: most clients show no other reasoning. With
    `seals` it says that it may be sent back: clients leave out reasoning that has no encrypted content where nothing is
    kept. Its words stand beside it.
    """

    def __init__(
        self, frame: Frame, echo: Mapping[str, Any], *, summarises: bool = False, seals: bool = False
    ) -> None:  # fmt: skip
        self._frame = frame
        self._echo = echo
        self._reasoning = _SUMMARY if summarises else _THOUGHTS
        self._seals = seals
        self._blocks = Blocks(frame.identifier)
        self._sent = 0
        self._annotations: dict[int, list[dict[str, Any]]] = {}

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

    def cite(self, cited: Sequence[Cited]) -> bytes:
        """The annotations, each of the text that holds its mark; an event for those of a text that has not ended."""
        self._annotations = {
            number: response_annotations(found) for number, found in by_block(cited, self._blocks.blocks).items()
        }
        grown = self._blocks.open
        found = self._annotations.get(grown.number, ()) if grown is not None else ()
        return b"".join(
            self._send(
                "response.output_text.annotation.added",
                {"item_id": self._id(grown), "output_index": grown.number, "content_index": 0,
                 "annotation_index": index, "annotation": one},
            )
            for index, one in enumerate(found)
            if grown is not None
        )  # fmt: skip

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
        parts = [self._part(block)] if block.pieces else []
        if block.kind is Kind.TEXT:
            return {
                "id": self._id(block), "type": "message", "status": status, "role": "assistant", "content": parts,
            }  # fmt: skip
        summary, content = (parts, []) if self._reasoning is _SUMMARY else ([], parts)
        sealed = {"encrypted_content": SEAL} if self._seals else {}
        return {
            "id": self._id(block), "type": "reasoning", "summary": summary, "content": content, "status": status,
            **sealed,
        }  # fmt: skip

    def _id(self, block: Block) -> str:
        return f"{_PREFIXES[block.kind]}{self._frame.identifier}_{block.number}"

    def _event(self, change: Change) -> bytes:
        step, block, words = change
        wording = self._wording(block)
        place: dict[str, Any] = {"item_id": self._id(block), "output_index": block.number}
        if wording.index:
            place[wording.index] = 0
        if step is Step.GROWS:
            return self._send(f"{wording.words}.delta", {**place, "delta": words, **_probabilities(block, block.added)})
        if step is Step.BEGINS:
            begun = self._send(
                "response.output_item.added",
                {"output_index": block.number, "item": self._item(block, "in_progress")},
            )
            return begun + self._part_event("added", block, place)
        return self._end(block, place)

    def _end(self, block: Block, place: Mapping[str, Any]) -> bytes:
        said = (
            {"name": block.name, "arguments": block.words}
            if block.kind is Kind.CALL
            else {"text": block.words, **_probabilities(block, block.logprobs)}
        )
        ended = self._send(f"{self._wording(block).words}.done", {**place, **said})
        status = self._status if block.number == len(self._blocks.blocks) - 1 else "completed"
        return (
            ended
            + self._part_event("done", block, place)
            + self._send("response.output_item.done", {"output_index": block.number, "item": self._item(block, status)})
        )

    def _part_event(self, what: str, block: Block, place: Mapping[str, Any]) -> bytes:
        wording = self._wording(block)
        return self._send(f"{wording.part}.{what}", {**place, "part": self._part(block)}) if wording.part else b""

    def _wording(self, block: Block) -> _Wording:
        if block.kind is Kind.TEXT:
            return _TEXT
        return _CALL if block.kind is Kind.CALL else self._reasoning

    def _part(self, block: Block) -> dict[str, Any]:
        annotations = list(self._annotations.get(block.number, ()))
        annotated: dict[str, Any] = {"annotations": annotations} if block.kind is Kind.TEXT else {}
        words = {"type": self._wording(block).kind, "text": block.words}
        return {**words, **annotated, **_probabilities(block, block.logprobs, bytes_too=True)}


def _probabilities(block: Block, tokens: Sequence[Mapping[str, Any]], *, bytes_too: bool = False) -> dict[str, Any]:
    """The probabilities in a part, or in an event, which has no place for bytes; only text has any."""
    return {"logprobs": [_token(one, bytes_too=bytes_too) for one in tokens]} if block.kind is Kind.TEXT else {}


def _token(found: Mapping[str, Any], *, bytes_too: bool) -> dict[str, Any]:
    """A token of a chat completion's probabilities, which engines write with fields of their own."""
    alternatives = found.get("top_logprobs")
    listed = alternatives if isinstance(alternatives, list) else []
    return {
        **_choice(found, bytes_too=bytes_too),
        "top_logprobs": [_choice(one, bytes_too=bytes_too) for one in listed if isinstance(one, dict)],
    }


def _choice(found: Mapping[str, Any], *, bytes_too: bool) -> dict[str, Any]:
    word, probability = found.get("token"), found.get("logprob")
    word = word if isinstance(word, str) else ""
    if not isinstance(probability, (int, float)) or isinstance(probability, bool):
        probability = _IMPOSSIBLE
    chosen: dict[str, Any] = {"token": word, "logprob": probability}
    if bytes_too:
        told = found.get("bytes")
        chosen["bytes"] = told if isinstance(told, list) else list(word.encode("utf-8", "replace"))
    return chosen


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens or 0, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        # Many engines do not tell them apart.
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def error_object(error: AnsamblError, sentence: str) -> dict[str, Any]:
    """An error in OpenAI's shape, as in chat completions."""
    return openai_chat.error_object(error, sentence)


def count_object(tokens: int) -> dict[str, Any]:
    """The answer to a request for the count of a prompt's tokens."""
    return {"object": "response.input_tokens", "input_tokens": tokens}
