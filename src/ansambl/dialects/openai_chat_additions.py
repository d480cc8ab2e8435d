"""What Ansambl adds to an answer of OpenAI's chat completions: its own object, and reasoning before an engine's answer.

An engine's bytes stay as they are but for what is added.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ansambl.dialects.openai_chat import DONE_EVENT, Envelope, Usage, chunk, event, read_answer, stream_data

FIELD = "ansambl"
"""The name of our object in an answer."""

_FINISH = re.compile(rb'"finish_reason"\s*:\s*"')
_BETWEEN = b"\n\n"
_Raw = dict[str, msgspec.Raw]
_UNREADABLE = (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError)
_encode = msgspec.json.encode
_decode_fields = msgspec.json.Decoder(_Raw).decode
_decode_choices = msgspec.json.Decoder(list[_Raw]).decode


def with_additions(
    body: bytes, *, additions: Mapping[str, Any], reasoning: str = "", usage: Usage | None = None,
    annotations: Sequence[Mapping[str, Any]] = (),
) -> bytes:  # fmt: skip
    """A whole answer with `reasoning` before each choice's own, our object, and `usage` in place of the engine's.

    `usage` None leaves the engine's; `annotations` are those of the first choice. What is no answer is returned as it
    is.
    """
    try:
        fields = _decode_fields(body)
        choices = _decode_choices(fields["choices"])
        for index, choice in enumerate(choices):
            message = _decode_fields(choice["message"])
            if reasoning:
                own = _string(message.get("reasoning_content")) or _string(message.get("reasoning"))
                message["reasoning_content"] = _raw(reasoning + own)
            if annotations and index == 0:
                message["annotations"] = _raw(list(annotations))
            choice["message"] = _raw(message)
    except (*_UNREADABLE, KeyError):
        return body
    fields["choices"] = _raw(choices)
    if usage is not None:
        fields["usage"] = _raw(usage.as_json())
    fields[FIELD] = _raw(dict(additions))
    return _encode(fields)


def stream_of(body: bytes) -> bytes:
    """A whole answer as the events of a stream, for a client that has been told to expect one; with our object."""
    answer = read_answer(body)
    try:
        fields = _decode_fields(body)
        additions = {name: fields[name] for name in ("usage", FIELD) if name in fields}
        created = msgspec.json.decode(fields.get("created", _raw(0)))
        envelope = Envelope(_string(fields.get("id")), created, _string(fields.get("model")))
    except _UNREADABLE:
        additions, envelope = {}, Envelope("", 0, "")
    delta: dict[str, Any] = {"role": "assistant", "content": answer.content}
    if answer.reasoning:
        delta["reasoning_content"] = answer.reasoning
    if answer.tool_calls:
        delta["tool_calls"] = [{"index": index, **one} for index, one in enumerate(answer.tool_calls)]
    last = chunk(envelope, {}, finish_reason=answer.finish_reason or "stop")
    return event(chunk(envelope, delta)) + event({**last, **additions}) + DONE_EVENT


def envelope_of(events: bytes, *, model: str) -> Envelope | None:
    """What the events of a stream repeat; None when there is no event with an id among `events`."""
    for data in stream_data(events.split(b"\n")):
        try:
            found = msgspec.json.decode(data)
        except _UNREADABLE:
            continue
        if isinstance(found, dict) and isinstance(found.get("id"), str):
            created = found.get("created")
            name = found.get("model")
            return Envelope(
                found["id"], created if isinstance(created, int) else 0, name if isinstance(name, str) else model
            )
    return None


def before_finish(events: bytes) -> int | None:
    """Where the event begins that tells why an answer ends; None where none of `events` does."""
    found = _FINISH.search(events)
    if found is None:
        return None
    begin = events.rfind(b"data:", 0, found.start())
    return begin if begin >= 0 else None


def split_end(events: bytes) -> tuple[bytes, bytes]:
    """The events before the end of a stream, and its end: an event of nothing but the usage, then the end mark.

    What is not there is empty.
    """
    before = events.removesuffix(DONE_EVENT)
    start = before.rfind(_BETWEEN, 0, max(0, len(before) - len(_BETWEEN))) + len(_BETWEEN)
    last = before[start:] if start >= len(_BETWEEN) else before
    if _usage_event(last) is not None:
        before = before[: len(before) - len(last)]
    return before, events[len(before) :]


def with_account(end: bytes, additions: Mapping[str, Any], usage: Usage | None) -> bytes | None:
    """The end of a stream with our object in the event of its usage, and `usage` in place of the engine's.

    `usage` None leaves the engine's. None when the end has no such event. It stays one event: clients that add the
    usage of all events up would count two for twice the tokens.
    """
    last = end.removesuffix(DONE_EVENT)
    fields = _usage_event(last)
    if fields is None:
        return None
    if usage is not None:
        fields["usage"] = _raw(usage.as_json())
    fields[FIELD] = _raw(dict(additions))
    return b"data: " + _encode(fields) + _BETWEEN + end[len(last) :]


def _usage_event(found: bytes) -> _Raw | None:
    """The fields of an event that has the usage, and of the answer nothing; None where it is another."""
    if b'"usage"' not in found or not found.startswith(b"data:"):
        return None
    try:
        fields = _decode_fields(found[5:])
        alone = not msgspec.json.decode(fields["choices"])
        return fields if alone and isinstance(msgspec.json.decode(fields["usage"]), dict) else None
    except (*_UNREADABLE, KeyError):
        return None


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(_encode(value))


def _string(raw: msgspec.Raw | None) -> str:
    value = None if raw is None else msgspec.json.decode(raw)
    return value if isinstance(value, str) else ""
