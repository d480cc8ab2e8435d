"""ChatGPT's export: ``conversations.json``, one object for each conversation, the messages in a tree (`mapping`).

The format is not documented by its maker; this follows exports as public tools and their tests describe them. What
the model thought (`thoughts`, `reasoning_recap`) is left out: it was not said, and nobody should find it as an answer.
What it wrote into a canvas is kept as what it said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
from ansambl.knowledge.importing.marks import without_marks
from ansambl.knowledge.importing.trees import Node, branches_of

SOURCE = "chatgpt"
_AUTHOR = "ChatGPT"
_THOUGHTS = frozenset(("thoughts", "reasoning_recap"))
_HIDDEN = frozenset(("user_editable_context", "model_editable_context", "app_pairing_content"))
_TO_PEOPLE = frozenset(("", "all", "assistant", "user"))
_CANVAS = "canmore.create_textdoc"
_ASSETS = {
    "image_asset_pointer": "image",
    "audio_asset_pointer": "audio",
    "real_time_user_audio_video_asset_pointer": "audio",
    "video_container_asset_pointer": "video",
}


def recognises(value: Any) -> bool:
    """Whether it is a conversation of ChatGPT: it has a tree of nodes."""
    found = mapping(value)
    return isinstance(found.get("mapping"), dict) and "chat" not in found


def read(value: Any, name: str) -> PastConversation | None:  # noqa: ARG001 - every format is called alike
    """The conversation of one object; None where nothing in it can be seen."""
    found = mapping(value)
    nodes: dict[str, Node] = {}
    models: dict[str, None] = {}
    thoughts = 0
    for key, raw in mapping(found.get("mapping")).items():
        node = mapping(raw)
        message = mapping(node.get("message"))
        parent = node.get("parent")
        kind = string(mapping(message.get("content")).get("content_type"))
        thoughts += kind in _THOUGHTS
        turn = _turn(message, key)
        if turn is not None and turn.speaker is Speaker.ASSISTANT:
            model = string(mapping(message.get("metadata")).get("model_slug"))
            if model:
                models[model] = None
        nodes[key] = Node(
            parent if isinstance(parent, str) else None, (turn,) if turn else (), seconds(message.get("create_time"))
        )
    current = found.get("current_node")
    turns, branches = branches_of(nodes, current if isinstance(current, str) else None)
    if not turns and not branches:
        return None
    known = first_string(found.get("conversation_id"), found.get("id"))
    facts = _facts(found, known, models, thoughts)
    texts = [one.text for one in turns if one.speaker is Speaker.USER]
    return PastConversation(
        SOURCE,
        known or hash_of(SOURCE, *(one.id for one in turns), *(one.text for one in turns)),
        title_of(found.get("title"), texts),
        turns,
        branches,
        seconds(found.get("create_time")),
        seconds(found.get("update_time")),
        facts,
    )


FORMAT = JsonFormat(SOURCE, recognises, read)


def _facts(found: Mapping[str, Any], known: str, models: Iterable[str], thoughts: int) -> dict[str, str]:
    facts: dict[str, str] = {}
    models = list(models) or [one for one in [string(found.get("default_model_slug"))] if one]
    if models:
        facts["model"] = ", ".join(models)
    if known:
        facts["url"] = f"https://chatgpt.com/c/{known}"
    if gpt := first_string(found.get("gizmo_id"), found.get("conversation_template_id")):
        facts["gpt"] = gpt
    if found.get("is_archived") is True:
        facts["archived"] = "true"
    if thoughts:
        facts["thoughts left out"] = str(thoughts)
    return facts


def _turn(message: Mapping[str, Any], key: str) -> Turn | None:
    """What a message says; None for one that nobody was shown."""
    metadata, content = mapping(message.get("metadata")), mapping(message.get("content"))
    author = mapping(message.get("author"))
    role, kind = string(author.get("role")), string(content.get("content_type"))
    if not message or kind in _HIDDEN or kind in _THOUGHTS or metadata.get("is_visually_hidden_from_conversation"):
        return None
    names = _names(metadata)
    text, attachments = _content(content, kind, names, metadata)
    attachments = tuple(dict.fromkeys((*names.values(), *attachments)))
    shown = first_string(author.get("name"))
    recipient = string(message.get("recipient"))
    if role == "assistant" and recipient not in _TO_PEOPLE:
        document = _canvas(text) if recipient == _CANVAS else ""
        if document:
            speaker, shown, text = Speaker.ASSISTANT, _AUTHOR, document
        else:
            speaker, shown = Speaker.TOOL, recipient
            text = text if kind == "code" or not text.strip() else fenced(text)
    elif role == "assistant":
        speaker, shown = Speaker.ASSISTANT, _AUTHOR
    elif role == "user":
        speaker = Speaker.USER
    elif role == "system":
        speaker, shown = Speaker.SYSTEM, ""
    elif role == "tool":
        speaker = Speaker.TOOL
    else:
        return None
    if not text.strip() and not attachments:
        return None
    return Turn(
        speaker, text.strip("\n"), seconds(message.get("create_time")), shown,
        first_string(message.get("id"), key), attachments,
    )  # fmt: skip


def _names(metadata: Mapping[str, Any]) -> dict[str, str]:
    """The names of the files that came with a message, by their ids."""
    names: dict[str, str] = {}
    for number, one in enumerate(listed(metadata.get("attachments"))):
        found = mapping(one)
        name = first_string(found.get("name"), found.get("id"))
        if name:
            names[string(found.get("id")) or str(number)] = name
    return names


def _content(
    content: Mapping[str, Any], kind: str, names: Mapping[str, str], metadata: Mapping[str, Any]
) -> tuple[str, tuple[str, ...]]:
    """The text of a message's content, and the names of what it shows beside it."""
    attachments: list[str] = []
    pieces: list[str] = []
    for part in listed(content.get("parts")):
        if isinstance(part, str):
            pieces.append(part)
        elif isinstance(part, dict):
            text, name = _part(part, names)
            pieces.append(text)
            if name:
                attachments.append(name)
    if not pieces and isinstance(content.get("text"), str):
        pieces.append(content["text"])
    if not pieces and isinstance(content.get("result"), str):
        pieces.append(content["result"])
    text = "\n\n".join(one for one in pieces if one.strip())
    if kind == "code" and text.strip():
        language = string(content.get("language"))
        text = fenced(text, "" if language == "unknown" else language)
    elif kind == "execution_output" and text.strip():
        text = fenced(text)
    elif kind in {"tether_quote", "sonic_webpage"}:
        text = _quote(content, text)
    return without_marks(text, metadata.get("content_references")), tuple(attachments)


def _part(part: Mapping[str, Any], names: Mapping[str, str]) -> tuple[str, str]:
    kind = string(part.get("content_type"))
    if kind in _ASSETS:
        pointer = first_string(part.get("asset_pointer"), mapping(part.get("audio_asset_pointer")).get("asset_pointer"))
        known = pointer.rpartition("/")[2]
        prompt = string(mapping(mapping(part.get("metadata")).get("dalle")).get("prompt"))
        name = names.get(known) or known or _ASSETS[kind]
        shown = f"[{_ASSETS[kind]}: {name}]"
        return (f"{shown}\n\n{prompt}" if prompt else shown), name
    return string(part.get("text")), ""


def _quote(content: Mapping[str, Any], text: str) -> str:
    address = first_string(content.get("url"), content.get("domain"))
    title = first_string(content.get("title"), address)
    source = f"[{title}]({address})" if address else title
    return f"{source}\n\n{text}" if source else text


def _canvas(text: str) -> str:
    """The document that a call of the canvas tool holds, "" where it holds none."""
    body = text.strip().removeprefix("```json").removeprefix("```").removesuffix("```").strip()
    try:
        found = mapping(msgspec.json.decode(body.encode("utf-8", "surrogatepass")))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    written = string(found.get("content"))
    if not written.strip():
        return ""
    kind = string(found.get("type"))
    if kind.startswith("code"):
        written = fenced(written, kind.partition("/")[2])
    name = string(found.get("name"))
    return f"**{name}**\n\n{written}" if name else written
