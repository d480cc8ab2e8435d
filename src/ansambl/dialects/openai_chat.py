"""OpenAI's chat completions: requests, answers, streams and errors as bytes and records.

A request is decoded one level deep: what nobody here needs stays the bytes that the client sent, so unknown fields
survive and a long conversation is not built as objects unless a role has to place its note.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ansambl.domain.errors import AnsamblError, RequestError
from ansambl.domain.scheduling import ORDINARY, Standing
from ansambl.domain.text import text

Message = dict[str, Any]
"""One message as the client wrote it."""

LIMIT_FIELDS = ("max_tokens", "max_completion_tokens")
"""The request fields that limit an answer, in tokens: the older spelling and the newer one."""

DONE_EVENT = b"data: [DONE]\n\n"
"""What ends a stream."""

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises: broken JSON or a number out of range, broken UTF-8, thousands of brackets in each other."""

_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encoder = msgspec.json.Encoder()

END_MARK = 64
"""Bytes at the end of a stream among which ``[DONE]`` stands."""


@dataclass(slots=True)
class ChatRequest:
    """A chat completion request, decoded one level deep. `fields` maps each field to its undecoded bytes.

    `lora` is the LoRA adapter that its answer is made with, None for none; it stands in no field, because engines are
    told it each in their own way. `standing` is its class and whose it is.
    """

    fields: dict[str, msgspec.Raw]
    lora: str | None = None
    standing: Standing = ORDINARY

    @property
    def model(self) -> str:
        """The requested name.

        Raises:
            RequestError: it is missing or not a string.
        """
        name = self.value("model")
        if not isinstance(name, str) or not name:
            raise RequestError(
                text("The field 'model' is missing; GET /v1/models lists the names."),
                param="model",
                code="missing_model",
            )
        return name

    @property
    def stream(self) -> bool:
        """Whether the client asked for a stream."""
        return self.value("stream") is True

    @property
    def includes_usage(self) -> bool:
        """Whether the client asked for the usage at the end of the stream."""
        options = self.value("stream_options")
        return isinstance(options, dict) and options.get("include_usage") is True

    def value(self, name: str) -> Any:
        """Decode one field; None when it is absent.

        Raises:
            RequestError: its bytes are no value (fields are decoded only when they are asked for).
        """
        raw = self.fields.get(name)
        if raw is None:
            return None
        try:
            return msgspec.json.decode(raw)
        except _UNREADABLE as error:
            raise RequestError(
                text("The field '{name}' cannot be read: {reason}.", name=name, reason=_reason(error)),
                param=name,
                code="invalid_json",
            ) from error

    def messages(self) -> list[Message]:
        """Decode the messages.

        Raises:
            RequestError: they are not a list of objects with a role each, or there is none.
        """
        found = self.value("messages")
        if not isinstance(found, list) or not found:
            raise RequestError(text("The field 'messages' must be a list with at least one message."), param="messages")
        for index, one in enumerate(found):
            if not isinstance(one, dict) or not isinstance(one.get("role"), str):
                raise RequestError(
                    text("Message {number} is not an object with a 'role'.", number=index + 1),
                    param=f"messages[{index}]",
                )
            content = one.get("content")
            if content is not None and not isinstance(content, (str, list)):
                raise RequestError(
                    text("The content of message {number} is neither text nor a list of parts.", number=index + 1),
                    param=f"messages[{index}].content",
                )
        return found

    def changed(self, changes: Mapping[str, Any]) -> ChatRequest:
        """A copy with some fields replaced; a change to None removes the field."""
        fields = dict(self.fields)
        for name, value in changes.items():
            if value is None:
                fields.pop(name, None)
            else:
                fields[name] = msgspec.Raw(_encoder.encode(value))
        return ChatRequest(fields, self.lora, self.standing)

    def encode(self) -> bytes:
        """The request as a body; untouched fields keep the client's bytes."""
        return _encoder.encode(self.fields)


def parse_request(body: bytes) -> ChatRequest:
    """Read a request's body.

    Raises:
        RequestError: it is not JSON, or not an object.
    """
    try:
        return ChatRequest(_decode_fields(body))
    except _UNREADABLE as error:
        raise RequestError(
            text("The body is not a JSON object: {reason}.", reason=_reason(error)), code="invalid_json"
        ) from error


def _reason(error: Exception) -> str:
    return str(error).rstrip(".")


def _decode_object(body: bytes) -> dict[str, Any] | None:
    """What an engine wrote, as an object; None when it is none. Engines are not trusted to write JSON."""
    try:
        found = msgspec.json.decode(body)
    except _UNREADABLE:
        return None
    return found if isinstance(found, dict) else None


@dataclass(slots=True)
class Usage:
    """Tokens of an answer. `cached_tokens` is None where the engine does not report them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int | None = None

    def __add__(self, other: Usage) -> Usage:
        cached = [one.cached_tokens for one in (self, other) if one.cached_tokens is not None]
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            sum(cached) if cached else None,
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
        return found


def read_usage(found: Any) -> Usage | None:
    """Read a `usage` object; None when there is none."""
    if not isinstance(found, dict):
        return None
    details = found.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return Usage(_count(found.get("prompt_tokens")) or 0, _count(found.get("completion_tokens")) or 0, _count(cached))


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


def _count(found: Any) -> int | None:
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else None


@dataclass(slots=True)
class Answer:
    """What a model said, gathered from a whole answer or from a stream."""

    content: str = ""
    reasoning: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    finish_reason: str | None = None
    usage: Usage | None = None
    error: dict[str, Any] | None = None
    stopped_by: str | None = None


@dataclass(frozen=True, slots=True)
class Delta:
    """What one event of a stream added.

    `stopped_by` is the stop sequence that ended it, where the engine says it. `timed` are the tokens by the engine's
    own timings, which it sends without being asked for the usage.
    """

    content: str = ""
    reasoning: str = ""
    tool_calls: tuple[dict[str, Any], ...] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    error: dict[str, Any] | None = None
    stopped_by: str | None = None
    timed: Usage | None = None


def read_answer(body: bytes) -> Answer:
    """Read a whole (not streamed) answer; what is not an answer gives an empty one."""
    found = _decode_object(body)
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
    return answer


def read_event(data: bytes) -> Delta | None:
    """Read the data of one stream event; None for ``[DONE]`` and for what is not ours to understand."""
    found = _decode_object(data)
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
    )


def read_stream(stream: bytes) -> Answer:
    """Gather the answer from the bytes of a whole stream. Where it tells no usage, the engine's timings do."""
    answer = Answer()
    timed: Usage | None = None
    calls: dict[int, dict[str, Any]] = {}
    for data in stream_data(stream.split(b"\n")):
        delta = read_event(data)
        if delta is None:
            continue
        answer.content += delta.content
        answer.reasoning += delta.reasoning
        answer.finish_reason = delta.finish_reason or answer.finish_reason
        answer.usage = delta.usage or answer.usage
        timed = delta.timed or timed
        answer.error = delta.error or answer.error
        for part in delta.tool_calls:
            _merge_call(calls, part)
    answer.tool_calls = [calls[index] for index in sorted(calls)]
    answer.usage = answer.usage or timed
    return answer


def stream_ended(stream: bytes) -> bool:
    """Whether the end of a stream is an end: ``[DONE]``, a reason to finish, or an error that the engine told itself.

    An engine whose answers have no length ends one by closing its connection, and looks the same when it dies.
    """
    if b"[DONE]" in stream[-END_MARK:]:
        return True
    answer = read_stream(stream)
    return bool(answer.finish_reason or answer.error)


def stream_data(lines: Iterable[bytes]) -> Iterable[bytes]:
    """The data of each event among the lines of a stream, without ``[DONE]``."""
    for line in lines:
        if line.startswith(b"data:"):
            data = line[5:].strip()
            if data and data != b"[DONE]":
                yield data


def _merge_call(calls: dict[int, dict[str, Any]], part: dict[str, Any]) -> None:
    index = part.get("index")
    call = calls.setdefault(
        index if isinstance(index, int) else len(calls), {"id": None, "type": "function", "function": {}}
    )
    call["id"] = part.get("id") or call["id"]
    function = part.get("function")
    if isinstance(function, dict):
        known = call["function"]
        known["name"] = known.get("name", "") + _string(function.get("name"))
        known["arguments"] = known.get("arguments", "") + _string(function.get("arguments"))


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


# --- writing -------------------------------------------------------------------------------------------------------


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


def error_object(error: AnsamblError, sentence: str) -> dict[str, Any]:
    """An error in OpenAI's shape; `sentence` is the error's message in the reader's language."""
    return {"error": {"message": sentence, "type": error.type, "param": error.param, "code": error.code}}


_CLIENTS_FAULT = ("image input is not supported", "audio input is not supported", "failed to parse messages",
                  "failed to parse tools")  # fmt: skip
"""What llama.cpp says with status 500 although the request is to blame (seen on 2026.10.11549), in lower case."""


def engine_status(status: int, body: bytes) -> int:
    """The status for the client: 400 where an engine says 500 of a request that can never succeed.

    The official clients send a request again after a 5xx.
    """
    if status >= 500 and any(words.encode() in body.lower() for words in _CLIENTS_FAULT):
        return 400
    return status


def engine_error_object(status: int, body: bytes) -> dict[str, Any]:
    """An engine's own error answer, brought into OpenAI's shape without losing its words.

    An engine that was given more than its context is said with OpenAI's code, which clients look for
    (llama.cpp writes ``exceed_context_size_error``, vLLM only the sentence).
    """
    corrected = engine_status(status, body)
    found = _decode_object(body) or {}
    error = found.get("error")
    if isinstance(error, str):
        error = {"message": error}
    if not isinstance(error, dict):
        message = found.get("message")
        if not isinstance(message, str):
            message = body[:500].decode("utf-8", "replace").strip() or f"The engine answered {status}."
        error = {"message": message}
    shaped = dict(error)
    message = str(error.get("message") or f"The engine answered {status}.")
    kind, code = error.get("type"), error.get("code")
    too_long = kind == "exceed_context_size_error" or "maximum context length" in message
    shaped["message"] = message
    shaped["type"] = (
        "invalid_request_error"
        if too_long or corrected != status
        else kind
        if isinstance(kind, str)
        else _type_of(status)
    )
    shaped["code"] = "context_length_exceeded" if too_long else code if isinstance(code, str) else None
    shaped.setdefault("param", "messages" if too_long else None)
    return {"error": shaped}


def _type_of(status: int) -> str:
    return "invalid_request_error" if 400 <= status < 500 else "engine_error"
