"""The tokens of an answer in any dialect, read from its bytes after it was handed on untouched. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from ansambl.dialects.openai_chat import Usage, read_timings
from ansambl.dialects.openai_chat.reading import UNREADABLE

HEAD = 4096
"""Bytes at the beginning of a stream among which a message tells the tokens of its prompt."""

_Fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_decoder = json.JSONDecoder()
_USAGE, _TIMINGS = b'"usage"', b'"timings"'


def usage_of_answer(body: bytes) -> Usage | None:
    """The usage of a whole answer; None where it tells none."""
    if _USAGE not in body:
        return None
    try:
        fields = _Fields.decode(body)
        return read_any_usage(msgspec.json.decode(fields["usage"]))
    except (*UNREADABLE, KeyError):
        return None


def usage_of_stream(head: bytes, tail: bytes) -> Usage | None:
    """The usage of a stream, of which only the beginning and the end are at hand.

    The last one that is told counts. A message tells its prompt at the beginning, and at the end perhaps its answer
    alone. A stream that tells no usage may end with llama.cpp's timings.
    """
    found = read_any_usage(_value(tail, _USAGE))
    if found is None:
        return read_timings(_value(tail, _TIMINGS))
    before = read_any_usage(_value(head, _USAGE, first=True))
    if before is not None and not found.prompt_tokens:
        cached = found.cached_tokens if found.cached_tokens is not None else before.cached_tokens
        return Usage(before.prompt_tokens, found.completion_tokens, cached)
    return found


def read_any_usage(found: Any) -> Usage | None:
    """A `usage` object of OpenAI's chats and completions, responses, embeddings and transcriptions, or of a message.

    A message counts tokens from the cache apart, so they are added to its prompt. None where there is no such object,
    and where it tells no tokens (but seconds, say).
    """
    if not isinstance(found, dict):
        return None
    if "prompt_tokens" in found or ("total_tokens" in found and "input_tokens" not in found):
        total, prompt = _count(found, "total_tokens"), _count(found, "prompt_tokens")
        cached = _cached(found.get("prompt_tokens_details"))
        return Usage(prompt if prompt is not None else total or 0, _count(found, "completion_tokens") or 0, cached)
    if "input_tokens" not in found and "output_tokens" not in found:
        return None
    read = _count(found, "cache_read_input_tokens")
    apart = (read or 0) + (_count(found, "cache_creation_input_tokens") or 0)
    cached = read if read is not None else _cached(found.get("input_tokens_details"))
    return Usage((_count(found, "input_tokens") or 0) + apart, _count(found, "output_tokens") or 0, cached)


def _value(piece: bytes, name: bytes, *, first: bool = False) -> Any:
    """The last object under `name`, or the first one, that can be read; what was cut in the middle cannot."""
    places = [one.end() for one in re.finditer(re.escape(name) + rb"\s*:\s*(?={)", piece)]
    for place in places if first else reversed(places):
        try:
            found, _ = _decoder.raw_decode(piece[place:].decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            return found
    return None


def _cached(details: Any) -> int | None:
    return _count(details, "cached_tokens") if isinstance(details, dict) else None


def _count(found: dict[str, Any], name: str) -> int | None:
    value = found.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
