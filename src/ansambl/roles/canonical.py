"""Conversations as hashes: two spellings of one conversation give the same chain, and nothing can be read out of it.

Clients change what they send back: they strip white space, drop the thinking, turn text into a list of parts or
write the arguments of a tool call with other spaces. What they do not change is what was said.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from ansambl.dialects.openai_chat import Answer, Message

_encode = msgspec.json.Encoder(order="sorted").encode
_SIZE = 16
_CLOSE, _OPEN = "</think>", "<think>"


def strip_thinking(content: str) -> str:
    """An answer without its thinking blocks and without white space at its edges.

    A block without a beginning (templates that open it in the prompt) counts from the start, one without an end (an
    answer that was broken off) counts to the end.
    """
    if _OPEN in content or _CLOSE in content:
        content = _without_blocks(content)
        content = content.partition(_CLOSE)[2] if _CLOSE in content else content
        content = content.partition(_OPEN)[0]
    return content.strip()


def _without_blocks(content: str) -> str:
    # A regular expression would look for each beginning's end to the very end: minutes for a text full of beginnings.
    kept, place = [], 0
    while (begin := content.find(_OPEN, place)) >= 0 and (end := content.find(_CLOSE, begin)) >= 0:
        kept.append(content[place:begin])
        place = end + len(_CLOSE)
    return "".join([*kept, content[place:]])


def start(*parts: str) -> bytes:
    """The beginning of a chain that only requests with the same `parts` share."""
    return hashlib.blake2b(_encode(parts), digest_size=_SIZE).digest()


def extend(state: bytes, message: Mapping[str, Any]) -> bytes:
    """The chain after one more message; its cost depends on that message only."""
    return hashlib.blake2b(state + _encode(_canonical(message)), digest_size=_SIZE).digest()


def as_message(answer: Answer) -> Message | None:
    """The message that a client will send back for `answer`; None when nothing was said."""
    if not answer.tool_calls and not strip_thinking(answer.content):
        return None
    return {"role": "assistant", "content": answer.content, "tool_calls": answer.tool_calls}


def _canonical(message: Mapping[str, Any]) -> list[Any]:
    role = message.get("role")
    calls = message.get("tool_calls")
    return [
        role,
        _content(message.get("content"), thinks=role == "assistant"),
        [_call(one) for one in calls if isinstance(one, dict)] if isinstance(calls, list) else [],
        message.get("tool_call_id"),
    ]


def _content(content: Any, *, thinks: bool) -> list[Any]:
    if isinstance(content, str):
        written = strip_thinking(content) if thinks else content.strip()
        return [written] if written else []
    if not isinstance(content, list):
        return []
    found: list[Any] = []
    for part in content:
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            found += _content(part["text"], thinks=thinks)
        else:
            # Images and sound are long; their place in the chain is a hash of them.
            found.append({"part": hashlib.blake2b(_encode(part), digest_size=_SIZE).hexdigest()})
    return found


def _call(call: Mapping[str, Any]) -> list[Any]:
    function = call.get("function")
    function = function if isinstance(function, dict) else {}
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = msgspec.json.decode(arguments)
        except (msgspec.DecodeError, UnicodeError):
            arguments = [arguments]
    return [call.get("id"), function.get("name"), arguments]
