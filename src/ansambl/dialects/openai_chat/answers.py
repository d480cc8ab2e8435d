"""Answers of chat completions, and the events of streamed ones, read into records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansambl.dialects.openai_chat.reading import decode_object


@dataclass(slots=True)
class Usage:
    """Tokens of an answer.

    `cached_tokens` of the prompt were read before, `reasoning_tokens` of the completion were thoughts; each is None
    where the engine does not report it.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            _sum(self.cached_tokens, other.cached_tokens),
            _sum(self.reasoning_tokens, other.reasoning_tokens),
        )

    def as_json(self) -> dict[str, Any]:
        """The `usage` object of an answer."""
        found: dict[str, Any] = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
        }
        if self.cached_tokens is not None:
            found["prompt_tokens_details"] = {"cached_tokens": self.cached_tokens}
        if self.reasoning_tokens is not None:
            found["completion_tokens_details"] = {"reasoning_tokens": self.reasoning_tokens}
        return found


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None and other is None else (one or 0) + (other or 0)


def read_usage(found: Any) -> Usage | None:
    """Read a `usage` object; None when there is none."""
    if not isinstance(found, dict):
        return None
    return Usage(
        _count(found.get("prompt_tokens")) or 0,
        _count(found.get("completion_tokens")) or 0,
        _detail(found.get("prompt_tokens_details"), "cached_tokens"),
        _detail(found.get("completion_tokens_details"), "reasoning_tokens"),
    )


def _detail(found: Any, name: str) -> int | None:
    return _count(found.get(name)) if isinstance(found, dict) else None


def read_timings(found: Any) -> Usage | None:
    """Read the `timings` object with which llama.cpp ends every stream; None when there is none.

    Few clients ask a stream for its usage. Without this their tokens would be missing from all that is counted. The
    prompt is what was read (`prompt_n`) and what was in the cache (`cache_n`).
    """
    if not isinstance(found, dict):
        return None
    read, written = _count(found.get("prompt_n")), _count(found.get("predicted_n"))
    if read is None or written is None:
        return None
    cached = _count(found.get("cache_n"))
    return Usage(read + (cached or 0), written, cached)


def read_seconds(found: Any) -> tuple[float, float] | None:
    """What the `timings` object tells of a request's time: seconds in which the prompt was read and the answer written.

    None where there is no such object. What was in the cache costs nothing and is not in the first.
    """
    if not isinstance(found, dict):
        return None
    reading, writing = found.get("prompt_ms"), found.get("predicted_ms")
    if not isinstance(reading, (int, float)) or not isinstance(writing, (int, float)):
        return None
    return (max(reading, 0.0) / 1000, max(writing, 0.0) / 1000)


def _count(found: Any) -> int | None:
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else None


@dataclass(slots=True)
class Answer:
    """What a model said, gathered from a whole answer or from a stream.

    `seconds` and `logprobs` are those of a `Delta`; only a whole answer has them.
    """

    content: str = ""
    reasoning: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    finish_reason: str | None = None
    usage: Usage | None = None
    error: dict[str, Any] | None = None
    stopped_by: str | None = None
    seconds: tuple[float, float] | None = None
    logprobs: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Delta:
    """What one event of a stream added.

    `stopped_by` is the stop sequence that ended it, where the engine says it. `timed` are the tokens by the engine's
    own timings, which it sends without being asked for the usage; `seconds` is what reading the prompt and writing the
    answer took by the same. `logprobs` are the probabilities of the tokens, as the engine writes them.
    """

    content: str = ""
    reasoning: str = ""
    tool_calls: tuple[dict[str, Any], ...] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    error: dict[str, Any] | None = None
    stopped_by: str | None = None
    timed: Usage | None = None
    seconds: tuple[float, float] | None = None
    logprobs: tuple[dict[str, Any], ...] = ()


def read_answer(body: bytes) -> Answer:
    """Read a whole (not streamed) answer; what is not an answer gives an empty one."""
    found = decode_object(body)
    if found is None:
        return Answer()
    answer = Answer(usage=read_usage(found.get("usage")), error=_error_of(found))
    choices = found.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    message = choice.get("message")
    if isinstance(message, dict):
        answer.content = _string(message.get("content"))
        answer.reasoning = _reasoning(message)
        answer.tool_calls = _objects(message.get("tool_calls"))
    answer.finish_reason = _string(choice.get("finish_reason")) or None
    answer.stopped_by = _string(choice.get("stop_reason")) or None
    answer.seconds = read_seconds(found.get("timings"))
    answer.logprobs = _probabilities(choice)
    return answer


def read_event(data: bytes) -> Delta | None:
    """Read the data of one stream event; None for ``[DONE]`` and for what is not ours to understand."""
    found = decode_object(data)
    if found is None:
        return None
    choices = found.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    delta = choice.get("delta")
    delta = delta if isinstance(delta, dict) else {}
    return Delta(
        content=_string(delta.get("content")),
        reasoning=_reasoning(delta),
        tool_calls=tuple(_objects(delta.get("tool_calls"))),
        finish_reason=_string(choice.get("finish_reason")) or None,
        usage=read_usage(found.get("usage")),
        error=_error_of(found),
        # vLLM's name; a number there is a token that ends every answer.
        stopped_by=_string(choice.get("stop_reason")) or None,
        timed=read_timings(found.get("timings")),
        seconds=read_seconds(found.get("timings")),
        logprobs=_probabilities(choice),
    )


def stream_data(lines: Iterable[bytes]) -> Iterable[bytes]:
    """The data of each event among the lines of a stream, without ``[DONE]``."""
    for line in lines:
        if line.startswith(b"data:"):
            data = line[5:].strip()
            if data and data != b"[DONE]":
                yield data


def _probabilities(choice: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    found = choice.get("logprobs")
    return tuple(_objects(found.get("content"))) if isinstance(found, dict) else ()


def _string(found: Any) -> str:
    return found if isinstance(found, str) else ""


def _objects(found: Any) -> list[dict[str, Any]]:
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _reasoning(found: Mapping[str, Any]) -> str:
    # vLLM says `reasoning`, llama.cpp and DeepSeek `reasoning_content`.
    return _string(found.get("reasoning_content")) or _string(found.get("reasoning"))


def _error_of(found: Mapping[str, Any]) -> dict[str, Any] | None:
    error = found.get("error")
    if error is None:
        return None
    return error if isinstance(error, dict) else {"message": str(error)}
