"""LM Studio's conversations: a file each, ``1736789912980.conversation.json``, named by when it began.

Every message has versions, of which one is selected; the others become branches. What the model thought is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import msgspec

from ansambl.domain.past_conversation import Branch, PastConversation, Speaker, Turn
from ansambl.knowledge.importing.fields import (
    fenced,
    first_string,
    hash_of,
    listed,
    mapping,
    seconds,
    string,
    title_of,
)  # fmt: skip
from ansambl.knowledge.importing.formats import JsonFormat
from ansambl.knowledge.importing.messages import content_text

SOURCE = "lm-studio"
_SPEAKERS = {one.value: one for one in Speaker}
_OWN = ("lastUsedModel", "usePerChatPredictionConfig", "perChatPredictionConfig", "assistantLastMessagedAt")


def recognises(value: Any) -> bool:
    """Whether it is a conversation of LM Studio: messages with versions, or its own fields around them."""
    found = mapping(value)
    messages = found.get("messages")
    if not isinstance(messages, list):
        return False
    if any(isinstance(mapping(one).get("versions"), list) for one in messages[:3]):
        return True
    return any(one in found for one in _OWN)


def read(value: Any, name: str) -> PastConversation | None:
    """The conversation of one file called `name`; None where nothing was said in it."""
    found = mapping(value)
    turns: list[Turn] = []
    branches: list[Branch] = []
    prompt = string(found.get("systemPrompt"))
    if prompt.strip():
        turns.append(Turn(Speaker.SYSTEM, prompt, id="system"))
    models: dict[str, None] = {}
    for number, one in enumerate(listed(found.get("messages"))):
        message = mapping(one)
        versions = listed(message.get("versions")) or [message]
        chosen = message.get("currentlySelected")
        chosen = chosen if isinstance(chosen, int) and 0 <= chosen < len(versions) else len(versions) - 1
        after = turns[-1].id if turns else ""
        for place, version in enumerate(versions):
            key = str(number + 1) if place == chosen else f"{number + 1}.{place + 1}"
            said = _turns(mapping(version), message, key)
            models.update((one.author, None) for one in said if one.speaker is Speaker.ASSISTANT and one.author)
            if place == chosen:
                turns += said
            elif said:
                branches.append(Branch(after, tuple(said)))
    if not any(one.speaker is not Speaker.SYSTEM for one in turns) and not branches:
        return None
    stem = PurePath(name).name.partition(".")[0]
    began = seconds(found.get("createdAt"))
    if began is None and stem.isdigit():
        began = seconds(int(stem[:20]))
    last = [time for one in ("userLastMessagedAt", "assistantLastMessagedAt") if (time := seconds(found.get(one)))]
    used = string(mapping(found.get("lastUsedModel")).get("identifier"))
    models.pop("Assistant", None)
    facts = {"model": ", ".join(models) or used} if models or used else {}
    return PastConversation(
        SOURCE,
        first_string(found.get("id")) or stem or hash_of(SOURCE, *(one.text for one in turns)),
        title_of(found.get("name"), (one.text for one in turns if one.speaker is Speaker.USER)),
        tuple(turns),
        tuple(branches),
        began,
        max(last, default=None),
        facts,
    )


FORMAT = JsonFormat(SOURCE, recognises, read)


def _turns(version: Mapping[str, Any], message: Mapping[str, Any], key: str) -> list[Turn]:
    speaker = _SPEAKERS.get(first_string(version.get("role"), message.get("role")))
    if speaker is None:
        return []
    time = seconds(version.get("createdAt")) or seconds(message.get("createdAt"))
    author = ""
    if speaker is Speaker.ASSISTANT:
        author = first_string(mapping(version.get("senderInfo")).get("senderName"), "Assistant")
    steps = listed(version.get("steps")) or [{"type": "contentBlock", "content": version.get("content")}]
    turns: list[Turn] = []
    for one in steps:
        step = mapping(one)
        if string(step.get("type")) != "contentBlock" or mapping(step.get("style")).get("type") == "thinking":
            continue
        tools = [mapping(part) for part in listed(step.get("content")) if _is_tool(part)]
        text, names = content_text(step.get("content"))
        who = Speaker.TOOL if step.get("role") == "tool" else speaker
        if who is speaker and turns and turns[-1].speaker is speaker and text.strip():
            before = turns.pop()
            turns.append(Turn(speaker, f"{before.text}\n\n{text.strip()}", time, author, before.id,
                              before.attachments + names))  # fmt: skip
        elif text.strip() or names:
            turns.append(Turn(who, text.strip("\n"), time, author if who is speaker else "", _own(key, turns), names))
        for tool in tools:
            turns.append(Turn(Speaker.TOOL, _tool_text(tool), time, string(tool.get("name")), _own(key, turns)))
    return turns


def _own(key: str, turns: list[Turn]) -> str:
    return f"{key}#{len(turns)}" if turns else key


def _is_tool(part: Any) -> bool:
    return string(mapping(part).get("type")) in {"toolCallRequest", "toolCallResult"}


def _tool_text(tool: Mapping[str, Any]) -> str:
    shown: Any = tool.get("parameters", tool.get("content"))
    if shown is None:
        return ""
    return fenced(shown if isinstance(shown, str) else msgspec.json.encode(shown).decode())
