"""Claude's export: ``conversations.json`` with `chat_messages`, whose content comes in blocks.

Long texts that a person pasted are attachments with their text inside; they are kept with the question, or it would
not make sense. Artifacts are kept as what was said; what the model thought is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

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
from ansambl.knowledge.importing.trees import Node, branches_of

SOURCE = "claude"
_AUTHOR = "Claude"


def recognises(value: Any) -> bool:
    """Whether it is a conversation of Claude."""
    return isinstance(mapping(value).get("chat_messages"), list)


def read(value: Any, name: str) -> PastConversation | None:  # noqa: ARG001 - every format is called alike
    """The conversation of one object; None where nothing was said in it."""
    found = mapping(value)
    messages = [one for one in listed(found.get("chat_messages")) if isinstance(one, dict)]
    nodes: dict[str, Node] = {}
    before: str | None = None
    thoughts = 0
    ids = {string(one.get("uuid")) for one in messages}
    for number, message in enumerate(messages):
        key = string(message.get("uuid"))
        if not key or key in nodes:
            key = f"{key or 'message'}#{number}"
        parent = message.get("parent_message_uuid")
        # Older exports have no tree: there each message follows the one before it.
        linked = isinstance(parent, str) and (parent in ids or parent.startswith("00000000-"))
        turns, hidden = _turns(message, key)
        thoughts += hidden
        nodes[key] = Node(parent if linked else before, turns, seconds(message.get("created_at")))
        before = key
    turns, branches = branches_of(nodes, first_string(found.get("current_leaf_message_uuid")) or None)
    if not turns and not branches:
        return None
    known = string(found.get("uuid"))
    facts: dict[str, str] = {}
    if model := first_string(found.get("model")):
        facts["model"] = model
    if known:
        facts["url"] = f"https://claude.ai/chat/{known}"
    if project := first_string(mapping(found.get("project")).get("name")):
        facts["project"] = project
    if thoughts:
        facts["thoughts left out"] = str(thoughts)
    return PastConversation(
        SOURCE,
        known or hash_of(SOURCE, *(one.text for one in turns)),
        title_of(found.get("name"), (one.text for one in turns if one.speaker is Speaker.USER)),
        turns,
        branches,
        seconds(found.get("created_at")),
        seconds(found.get("updated_at")),
        facts,
    )


FORMAT = JsonFormat(SOURCE, recognises, read)


def _turns(message: Mapping[str, Any], key: str) -> tuple[tuple[Turn, ...], int]:
    """The turns of one message, tools' between the texts, and how many thoughts were left out."""
    speaker = Speaker.USER if message.get("sender") == "human" else Speaker.ASSISTANT
    author = "" if speaker is Speaker.USER else _AUTHOR
    time = seconds(message.get("created_at"))
    pieces: list[tuple[Speaker, str, str]] = []
    hidden = 0
    for one in listed(message.get("content")):
        block = mapping(one)
        kind = string(block.get("type"))
        if kind == "text":
            pieces.append((speaker, author, string(block.get("text"))))
        elif kind == "tool_use":
            pieces.append(_tool_call(block))
        elif kind == "tool_result":
            pieces.append((Speaker.TOOL, string(block.get("name")), _result(block.get("content"))))
        elif kind in {"thinking", "redacted_thinking"}:
            hidden += 1
    if not any(text.strip() for _, _, text in pieces):
        pieces = [(speaker, author, string(message.get("text")))]
    pasted, names = _attachments(message)
    if pasted:
        pieces.append((speaker, author, pasted))
    turns: list[Turn] = []
    for who, shown, text in _joined(pieces):
        if text.strip():
            own = key if not turns else f"{key}#{len(turns)}"
            turns.append(Turn(who, text.strip("\n"), time, shown, own, names if not turns else ()))
    if not turns and names:
        turns.append(Turn(speaker, "", time, author, key, names))
    return tuple(turns), hidden


def _joined(pieces: list[tuple[Speaker, str, str]]) -> list[tuple[Speaker, str, str]]:
    joined: list[tuple[Speaker, str, str]] = []
    for who, shown, text in pieces:
        if joined and joined[-1][:2] == (who, shown):
            joined[-1] = (who, shown, f"{joined[-1][2]}\n\n{text}" if joined[-1][2].strip() else text)
        else:
            joined.append((who, shown, text))
    return joined


def _tool_call(block: Mapping[str, Any]) -> tuple[Speaker, str, str]:
    name, given = string(block.get("name")), mapping(block.get("input"))
    written = string(given.get("content"))
    if name == "artifacts" and written.strip():
        kind = string(given.get("type"))
        if "code" in kind or string(given.get("language")):
            written = fenced(written, string(given.get("language")))
        title = string(given.get("title"))
        return Speaker.ASSISTANT, _AUTHOR, f"**{title}**\n\n{written}" if title else written
    shown = msgspec.json.format(msgspec.json.encode(given), indent=1).decode()
    return Speaker.TOOL, name, fenced(shown, "json") if given else ""


def _result(content: Any) -> str:
    if isinstance(content, str):
        return fenced(content) if content.strip() else ""
    pieces: list[str] = []
    for one in listed(content):
        block = mapping(one)
        address = string(block.get("url"))
        title = first_string(block.get("title"), address)
        if address:
            pieces.append(f"[{title}]({address})")
        if text := string(block.get("text")):
            pieces.append(fenced(text))
    return "\n\n".join(pieces)


def _attachments(message: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    names: dict[str, None] = {}
    pasted: list[str] = []
    for one in listed(message.get("attachments")):
        found = mapping(one)
        name = string(found.get("file_name"))
        if name:
            names[name] = None
        if text := string(found.get("extracted_content")):
            pasted.append((f"[attachment: {name}]\n\n" if name else "") + fenced(text))
    for one in (*listed(message.get("files")), *listed(message.get("files_v2"))):
        if name := first_string(mapping(one).get("file_name"), mapping(one).get("file_uuid")):
            names[name] = None
    return "\n\n".join(pasted), tuple(names)
