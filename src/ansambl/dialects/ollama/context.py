"""The field ``context`` of ``/api/generate``: a conversation as a list of whole numbers, which clients send back. Pure.

Ollama's numbers are tokens, and clients pass them on unread. Ours are the conversation's own text, three bytes a
number, behind a first number that tells them from tokens and holds the count of bytes in the last one. So nothing is
kept here between two requests, and roles see the turns as turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ansambl.dialects.openai_chat import Message
from ansambl.dialects.translation import wrong
from ansambl.domain.text import text

_MARK = 0x4153_4200
"""More than any vocabulary has tokens; its last byte is the count of bytes in the last number (1 to 3)."""
_WIDTH = 3
_PATH = "context"
_ROLES = ("system", "user", "assistant")
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def pack(messages: Sequence[Message]) -> list[int]:
    """The text of `messages` as numbers; images and tool calls are left out."""
    turns = [[one["role"], words] for one in messages if (words := _words(one.get("content")))]
    content = msgspec.json.encode(turns)
    numbers = [int.from_bytes(content[at : at + _WIDTH], "big") for at in range(0, len(content), _WIDTH)]
    return [_MARK + (len(content) % _WIDTH or _WIDTH), *numbers]


def unpack(found: Any) -> list[Message]:
    """The messages that `pack` made these numbers of; none where there are no numbers.

    Raises:
        RequestError: it is no list of numbers, or one that was not made here.
    """
    if found is None or found == []:
        return []
    if not isinstance(found, list) or not all(isinstance(one, int) and 0 <= one < 2**32 for one in found):
        raise wrong(_PATH, text("it must be a list of whole numbers"))
    rest = found[0] - _MARK
    if not 1 <= rest <= _WIDTH or any(one >= 2**24 for one in found[1:]):
        raise wrong(_PATH, text("it was not made here; send the conversation to /api/chat as messages instead"))
    parts = [one.to_bytes(_WIDTH, "big") for one in found[1:-1]]
    try:
        turns = msgspec.json.decode(b"".join([*parts, *(one.to_bytes(rest, "big") for one in found[-1:])]))
        return [{"role": role, "content": words} for role, words in turns if _is_turn(role, words)]
    except (*_UNREADABLE, OverflowError, TypeError, ValueError):
        raise wrong(_PATH, text("it is damaged")) from None


def _is_turn(role: Any, words: Any) -> bool:
    if role not in _ROLES or not isinstance(words, str):
        raise ValueError(role)
    return True


def _words(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(one["text"] for one in parts if isinstance(one.get("text"), str))
