"""A past conversation as the messages with which a request to a chat API goes on from it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ansambl.domain.past_conversation import PastConversation, Speaker, Turn

_LETTERS_PER_TOKEN = 3.0
"""Few enough for Russian with a tokenizer that was trained on English (about 3.2 letters), so that more does not come
than was allowed."""
_PER_MESSAGE = 4
_LONGEST_TOOL_TEXT = 1500
_KEPT_FIRST = 2
"""Messages of the beginning that are kept where the middle is left out: what the conversation is about."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """`messages` hold ``role`` (user or assistant, in turns) and ``content``; `left_out` counts messages between."""

    messages: tuple[dict[str, str], ...]
    left_out: int = 0


def estimated_tokens(text: str) -> int:
    """How many tokens a text is at most, roughly; no tokenizer is asked."""
    return int(len(text) / _LETTERS_PER_TOKEN) + _PER_MESSAGE


def continuation(conversation: PastConversation, limit: int) -> Continuation:
    """The messages of the branch that was seen last, of at most `limit` tokens by estimate.

    System turns are left out: the role that goes on has an instruction of its own. What a tool gave is folded into the
    answer that it was for. Where all of it is too much, the beginning and the newest messages are kept; a message that
    alone is too long is cut in its middle.
    """
    return fitting(messages_of(conversation), limit)


def fitting(messages: Sequence[dict[str, str]], limit: int) -> Continuation:
    """As many of the messages, which alternate from a user's on, as `limit` tokens hold by estimate."""
    messages = list(messages)
    costs = [estimated_tokens(one["content"]) for one in messages]
    if sum(costs) <= limit:
        return Continuation(tuple(messages))
    first = _KEPT_FIRST if sum(costs[:_KEPT_FIRST]) <= limit // 3 else 0
    budget = limit - sum(costs[:first])
    begin = len(messages)
    while begin > first and costs[begin - 1] <= budget:
        begin -= 1
        budget -= costs[begin]
    # What follows an answer is a question: the two kept parts must fit together.
    while begin < len(messages) and messages[begin]["role"] != "user":
        begin += 1
    kept = messages[:first] + messages[begin:]
    if not kept and messages:
        last = max(number for number, one in enumerate(messages) if one["role"] == "user")
        kept = [_cut(messages[last], limit)]
    return Continuation(tuple(kept), len(messages) - len(kept))


def messages_of(conversation: PastConversation) -> list[dict[str, str]]:
    """All messages of the branch that was seen last, user and assistant in turns."""
    messages: list[dict[str, str]] = []
    waiting: list[str] = []
    for turn in conversation.turns:
        if turn.speaker is Speaker.TOOL:
            if turn.text.strip():
                waiting.append(_tool(turn))
            continue
        if turn.speaker is Speaker.SYSTEM:
            continue
        text = _text(turn)
        if turn.speaker is Speaker.ASSISTANT:
            text = "\n\n".join((*waiting, text)).strip()
            waiting.clear()
        if not text:
            continue
        role = turn.speaker.value
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += f"\n\n{text}"
        else:
            messages.append({"role": role, "content": text})
    if messages and messages[0]["role"] != "user":
        # Templates refuse a conversation that does not begin with its user.
        messages.pop(0)
    return messages


def _text(turn: Turn) -> str:
    unnamed = [f"[attachment: {name}]" for name in turn.attachments if name not in turn.text]
    return "\n\n".join(one for one in (turn.text.strip(), *unnamed) if one)


def _tool(turn: Turn) -> str:
    text = turn.text.strip()
    if len(text) > _LONGEST_TOOL_TEXT:
        text = text[:_LONGEST_TOOL_TEXT] + "…"
    return f"[{turn.author or 'tool'}]\n{text}"


def _cut(message: dict[str, str], limit: int) -> dict[str, str]:
    room = max(2, int((limit - _PER_MESSAGE) * _LETTERS_PER_TOKEN) - 5)
    text = message["content"]
    if len(text) > room:
        text = f"{text[: room // 2]}\n…\n{text[-(room // 2) :]}"
    return {"role": message["role"], "content": text}
