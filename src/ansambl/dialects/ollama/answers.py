"""Answers of ``POST /api/chat`` and ``POST /api/generate``: whole objects, lines of a stream, errors. Pure.

A stream is one JSON object a line. The last one says ``"done": true``, or is an error.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from ansambl.dialects.blocks import Block, Blocks, Change, Kind, Step
from ansambl.dialects.citing import Cited
from ansambl.dialects.ollama.context import pack
from ansambl.dialects.openai_chat import Answer, Delta, Message
from ansambl.dialects.translation import Frame
from ansambl.domain.errors import AnsamblError

_encode = msgspec.json.Encoder().encode
_SHOWN = (Kind.REASONING, Kind.PROGRESS)
_UNREADABLE = "INVALID_JSON"
"""The key under which arguments are shown that are no JSON object (an answer that was cut)."""
_BILLION = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Moments:
    """Where an answer stands: seconds since its request came, and those of them until it had its place."""

    elapsed: float = 0.0
    queued: float = 0.0


class OllamaRendering:
    """One answer, as it grows (`translation.Rendering`). Without `shows_reasoning` thinking is left out.

    `conversation` is what the field ``context`` continues, None where the answer has none. `calls` counts the tool
    calls of the conversation before this answer: the names of this one's go on from there, because many clients do not
    send a name back.
    """

    def __init__(
        self, frame: Frame, model: str, moments: Callable[[], Moments], *, generates: bool = False,
        shows_reasoning: bool = True, conversation: Sequence[Message] | None = None, calls: int = 0,
    ) -> None:  # fmt: skip
        self._created = frame.created - moments().elapsed
        self._model = model
        self._moments = moments
        self._generates = generates
        self._shows_reasoning = shows_reasoning
        self._conversation = conversation
        self._calls = calls
        self._blocks = Blocks(frame.identifier)
        self._first: Moments | None = None
        self._told: tuple[float, float] | None = None
        self._logprobs: list[dict[str, Any]] = []
        self._lined = 0

    @property
    def answer(self) -> Answer:
        """What was shown so far, as the client will send it back."""
        answer = self._blocks.answer
        calls = [{**one, "id": f"call_{self._calls + place}"} for place, one in enumerate(answer.tool_calls)]
        return replace(answer, tool_calls=calls)

    def start(self) -> bytes:
        """Nothing: the first line has words."""
        return b""

    def feed(self, delta: Delta) -> bytes:
        """The lines for what was added.

        Raises:
            EngineError: the delta belongs to a tool call that has ended already.
        """
        if self._first is None and delta != Delta():
            self._first = self._moments()
        self._told = delta.seconds or self._told
        self._logprobs += [_probability(one) for one in delta.logprobs]
        return b"".join(map(self._line, self._blocks.feed(delta)))

    def progress(self, words: str) -> bytes:
        """The lines for what is shown of the work, as thinking."""
        return b"".join(map(self._line, self._blocks.progress(words)))

    def cite(self, cited: Sequence[Cited]) -> bytes:  # noqa: ARG002 - there is no place for it
        """Nothing: what is cited stands in our own fields."""
        return b""

    def finish(self, additions: Mapping[str, Any] | None = None) -> bytes:
        """The last tool call, and the line that says why the answer ends and what it took."""
        ended = b"".join(map(self._line, self._blocks.finish()))
        return ended + _line({**self._part({}), **self._end(), **(additions or {})})

    def broken(self, error: AnsamblError, sentence: str) -> bytes:
        """The error as the last line."""
        return _line(error_object(error, sentence))

    def whole(self, additions: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The whole answer."""
        for _ in self._blocks.finish():
            pass
        words = {"content": self._joined(Kind.TEXT)}
        thinking = "".join(map(self._joined, _SHOWN)) if self._shows_reasoning else ""
        calls = [self._call(one) for one in self._blocks.blocks if one.kind is Kind.CALL]
        shown: dict[str, Any] = {
            **words, **({"thinking": thinking} if thinking else {}), **({"tool_calls": calls} if calls else {})
        }  # fmt: skip
        # Lines were made of all that was said, and nobody got them.
        self._lined = 0
        return {**self._part(shown), **self._end(), **(additions or {})}

    def _joined(self, kind: Kind) -> str:
        return "".join(one.words for one in self._blocks.blocks if one.kind is kind)

    def _line(self, change: Change) -> bytes:
        step, block, words = change
        if block.kind is Kind.CALL:
            # Clients of this dialect take a call as a whole.
            return (
                _line({**self._part({"tool_calls": [self._call(block)]}), "done": False}) if step is Step.ENDS else b""
            )
        if step is not Step.GROWS or (block.kind in _SHOWN and not self._shows_reasoning):
            return b""
        name = "thinking" if block.kind in _SHOWN else "content"
        return _line({**self._part({name: words}), "done": False})

    def _part(self, shown: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of one line, with what was said since the last one."""
        found = {"model": self._model, "created_at": self._now(), **_said(shown, generates=self._generates)}
        if fresh := self._logprobs[self._lined :]:
            found["logprobs"], self._lined = fresh, len(self._logprobs)
        return found

    def _now(self) -> str:
        return moment(self._created + self._moments().elapsed)

    def _end(self) -> dict[str, Any]:
        """Why the answer ends, and what it took, in nanoseconds.

        An engine that tells its own times (llama.cpp does) is believed. Of others it is known when the first words of a
        stream came; a whole answer's time is then all told as ``eval_duration``.
        """
        now, usage = self._moments(), self._blocks.usage
        first = self._first or now
        reading, writing = self._told or (
            max(first.elapsed - first.queued, 0.0), now.elapsed - first.elapsed
        )  # fmt: skip
        if self._told is None and writing <= 0:
            reading, writing = 0.0, reading
        found: dict[str, Any] = {
            "done": True,
            "done_reason": "length" if self._blocks.finish_reason == "length" else "stop",
            "total_duration": nanoseconds(now.elapsed),
            "load_duration": nanoseconds(now.queued),
        }
        if usage is not None:
            found["prompt_eval_count"] = usage.prompt_tokens
        found["prompt_eval_duration"] = nanoseconds(reading)
        if usage is not None:
            found["eval_count"] = usage.completion_tokens
        found["eval_duration"] = nanoseconds(writing)
        if self._conversation is not None:
            said: Message = {"role": "assistant", "content": self._joined(Kind.TEXT)}
            found["context"] = pack([*self._conversation, said])
        return found

    def _call(self, block: Block) -> dict[str, Any]:
        calls = [one for one in self._blocks.blocks if one.kind is Kind.CALL]
        place = next(place for place, one in enumerate(calls) if one is block)
        return {
            "id": f"call_{self._calls + place}",
            "function": {"index": place, "name": block.name, "arguments": _arguments(block.words)},
        }


def error_object(error: AnsamblError, sentence: str) -> dict[str, Any]:  # noqa: ARG001 - one signature for all dialects
    """An error in Ollama's shape; `sentence` is the error's message in the reader's language."""
    return {"error": sentence}


def silence_line(model: str, now: float, *, generates: bool) -> bytes:
    """A line that says nothing, for a stream that waits; every client passes over it, as over those of Ollama's own.

    An empty line would not do: the official Python client ends with an error at one.
    """
    shown = _said({}, generates=generates)
    return _line({"model": model, "created_at": moment(now), **shown, "done": False})


def residence_object(model: str, now: float, *, generates: bool, unloaded: bool) -> dict[str, Any]:
    """The answer to a request that asked nothing, but loaded or unloaded its model."""
    reason = "unload" if unloaded else "load"
    shown = _said({}, generates=generates)
    return {"model": model, "created_at": moment(now), **shown, "done": True, "done_reason": reason}


def moment(seconds: float) -> str:
    """A time in seconds since the epoch, as Ollama writes it."""
    when = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return when.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _said(shown: Mapping[str, Any], *, generates: bool) -> dict[str, Any]:
    if not generates:
        return {"message": {"role": "assistant", "content": "", **shown}}
    others = {name: value for name, value in shown.items() if name != "content"}
    return {"response": shown.get("content", ""), **others}


def _line(payload: Mapping[str, Any]) -> bytes:
    return _encode(payload) + b"\n"


def nanoseconds(seconds: float) -> int:
    """A time, as Ollama tells it."""
    return round(seconds * _BILLION)


def _arguments(words: str) -> dict[str, Any]:
    if not words.strip():
        return {}
    try:
        found = msgspec.json.decode(words)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {_UNREADABLE: words}


def _probability(found: Mapping[str, Any]) -> dict[str, Any]:
    """One token's probability: engines write OpenAI's shape, of which this one has the same names."""
    names = ("token", "logprob", "bytes")
    shown = {name: found[name] for name in names if found.get(name) is not None}
    others = found.get("top_logprobs")
    if isinstance(others, list) and others:
        shown["top_logprobs"] = [
            {name: one[name] for name in names if one.get(name) is not None} for one in others if isinstance(one, dict)
        ]
    return shown
