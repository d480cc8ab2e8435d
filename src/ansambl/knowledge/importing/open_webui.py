"""Open WebUI's export: a list of chats, each with its messages in a tree (`chat.history.messages`, `currentId`).

What the model thought stands in the text as ``<details type="reasoning">`` and is left out; calls of tools stand there
as ``<details type="tool_calls">`` and become turns of the tool.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

from ansambl.domain.past_conversation import PastConversation, Speaker, Turn
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
from ansambl.knowledge.importing.trees import Node, branches_of

SOURCE = "open-webui"
_SPEAKERS = {one.value: one for one in Speaker}
_DETAILS = re.compile(
    r'<details type="(reasoning|tool_calls|code_interpreter)"([^>]*)>(.*?)(?:</details>\n?|\Z)', re.DOTALL
)
_FIELD = re.compile(r'([a-z_]+)="([^"]*)"')


def recognises(value: Any) -> bool:
    """Whether it is a chat of Open WebUI, with what its database adds around it or bare."""
    chat = _chat(mapping(value))
    return isinstance(mapping(chat.get("history")).get("messages"), dict) or (
        isinstance(mapping(value).get("chat"), dict) and isinstance(chat.get("messages"), list)
    )


def read(value: Any, name: str) -> PastConversation | None:  # noqa: ARG001 - every format is called alike
    """The conversation of one chat; None where nothing was said in it."""
    found = mapping(value)
    chat = _chat(found)
    history = mapping(chat.get("history"))
    raw: dict[str, Mapping[str, Any]] = {key: mapping(one) for key, one in mapping(history.get("messages")).items()}
    linear = not raw
    if linear:
        raw = {str(number): mapping(one) for number, one in enumerate(listed(chat.get("messages")))}
    nodes: dict[str, Node] = {}
    models: dict[str, None] = {}
    before: str | None = None
    for key, message in raw.items():
        parent = before if linear else message.get("parentId")
        turns = _turns(message, key)
        if model := string(message.get("model")):
            models[model] = None
        nodes[key] = Node(parent if isinstance(parent, str) else None, turns, seconds(message.get("timestamp")))
        before = key
    current = before if linear else history.get("currentId")
    turns, branches = branches_of(nodes, current if isinstance(current, str) else None)
    if not turns and not branches:
        return None
    known = first_string(found.get("id"), chat.get("id"))
    facts: dict[str, str] = {}
    used = list(models) or [one for one in listed(chat.get("models")) if isinstance(one, str) and one]
    if used:
        facts["model"] = ", ".join(used)
    if tags := [tag for one in listed(chat.get("tags")) if (tag := one if isinstance(one, str) else _name(one))]:
        facts["tags"] = ", ".join(tags)
    return PastConversation(
        SOURCE,
        known or hash_of(SOURCE, *(one.text for one in turns)),
        title_of(
            first_string(found.get("title"), chat.get("title")),
            (one.text for one in turns if one.speaker is Speaker.USER),
        ),
        turns,
        branches,
        seconds(found.get("created_at")) or seconds(chat.get("timestamp")),
        seconds(found.get("updated_at")),
        facts,
    )


FORMAT = JsonFormat(SOURCE, recognises, read)


def _chat(found: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping(found.get("chat")) if "chat" in found else found


def _name(value: Any) -> str:
    return string(mapping(value).get("name"))


def _turns(message: Mapping[str, Any], key: str) -> tuple[Turn, ...]:
    speaker = _SPEAKERS.get(string(message.get("role")))
    if speaker is None:
        return ()
    time = seconds(message.get("timestamp"))
    author = (
        first_string(message.get("modelName"), message.get("model"), "Assistant")
        if speaker is Speaker.ASSISTANT
        else ""
    )
    files = tuple(
        dict.fromkeys(
            name
            for one in listed(message.get("files"))
            if (name := first_string(_name(one), mapping(mapping(one).get("file")).get("filename")))
        )
    )
    text, shown = content_text(message.get("content"))
    turns: list[Turn] = []
    if speaker is Speaker.ASSISTANT and "<details" in text:
        for number, block in enumerate(_DETAILS.finditer(text)):
            if block.group(1) == "tool_calls":
                turns.append(_tool(block, time, f"{key}#{number + 1}"))
        text = _DETAILS.sub("", text)
    attachments = tuple(dict.fromkeys((*files, *shown)))
    if text.strip() or attachments:
        turns.append(Turn(speaker, text.strip("\n"), time, author, key, attachments))
    return tuple(turns)


def _tool(block: re.Match[str], time: float | None, key: str) -> Turn:
    fields = {name: html.unescape(value) for name, value in _FIELD.findall(block.group(2))}
    pieces = [fenced(fields[one]) for one in ("arguments", "result") if fields.get(one, "").strip()]
    return Turn(Speaker.TOOL, "\n\n".join(pieces), time, fields.get("name", ""), key)
