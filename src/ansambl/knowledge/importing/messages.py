"""Plain messages: what training and evaluation files hold, and what the chat API of OpenAI takes.

Three shapes are known: ``{"messages": [{"role", "content"}]}``, ShareGPT's ``{"conversations": [{"from", "value"}]}``,
and a file whose values are single messages ``{"role", "content"}``, which together are one conversation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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

SOURCE = "jsonl"
_SPEAKERS = {
    "user": Speaker.USER, "human": Speaker.USER, "prompter": Speaker.USER,
    "assistant": Speaker.ASSISTANT, "gpt": Speaker.ASSISTANT, "model": Speaker.ASSISTANT, "bot": Speaker.ASSISTANT,
    "chatgpt": Speaker.ASSISTANT, "bing": Speaker.ASSISTANT, "bard": Speaker.ASSISTANT,
    "system": Speaker.SYSTEM, "developer": Speaker.SYSTEM,
    "tool": Speaker.TOOL, "function": Speaker.TOOL, "function_call": Speaker.TOOL, "observation": Speaker.TOOL,
}  # fmt: skip
_LISTS = ("messages", "conversations", "conversation")


def content_text(content: Any) -> tuple[str, tuple[str, ...]]:
    """The text of a message's content, a string or a list of parts, and the names of what it shows beside it."""
    if isinstance(content, str):
        return content, ()
    pieces: list[str] = []
    names: list[str] = []
    for one in listed(content):
        if isinstance(one, str):
            pieces.append(one)
            continue
        part = mapping(one)
        kind = string(part.get("type"))
        if isinstance(part.get("text"), str):
            pieces.append(part["text"])
        elif kind in {"image_url", "input_image", "image", "file", "input_audio", "input_file"}:
            name = first_string(part.get("name"), part.get("filename"), part.get("fileIdentifier"))
            shown = kind.removeprefix("input_").removesuffix("_url")
            pieces.append(f"[{shown}: {name}]" if name else f"[{shown}]")
            if name:
                names.append(name)
    return "\n\n".join(one for one in pieces if one.strip()), tuple(names)


def is_message(value: Any) -> bool:
    """Whether it is one message by itself."""
    found = mapping(value)
    speaker = found.get("role", found.get("from"))
    return (
        isinstance(speaker, str)
        and speaker.casefold() in _SPEAKERS
        and isinstance(found.get("content", found.get("value")), str | list)
    )


def recognises(value: Any) -> bool:
    """Whether it is an object with a list of messages."""
    found = mapping(value)
    for name in _LISTS:
        if isinstance(found.get(name), list) and found[name]:
            return is_message(found[name][0])
    return False


def read(value: Any, name: str) -> PastConversation | None:  # noqa: ARG001 - every format is called alike
    """The conversation of one object; None where nothing was said in it."""
    found = mapping(value)
    messages: Any = next((found[one] for one in _LISTS if isinstance(found.get(one), list)), [])
    return of_messages(messages, found)


def of_messages(messages: Iterable[Any], about: Mapping[str, Any]) -> PastConversation | None:
    """One conversation of single messages; `about` may hold its ``id``, ``title``, ``model`` and times."""
    turns: list[Turn] = []
    for number, one in enumerate(messages):
        turns += _turns(mapping(one), number, string(about.get("model")))
    if not turns:
        return None
    said = [f"{one.speaker}\n{one.text}" for one in turns]
    known = first_string(about.get("id"), about.get("conversation_id"), about.get("uuid"))
    return PastConversation(
        SOURCE,
        known or hash_of(SOURCE, *said),
        title_of(about.get("title"), (one.text for one in turns if one.speaker is Speaker.USER)),
        tuple(turns),
        (),
        seconds(about.get("created", about.get("created_at", about.get("create_time")))),
        seconds(about.get("updated", about.get("updated_at", about.get("update_time")))),
        {"model": model} if (model := string(about.get("model"))) else {},
    )


FORMAT = JsonFormat(SOURCE, recognises, read)


def _turns(message: Mapping[str, Any], number: int, model: str) -> list[Turn]:
    speaker = _SPEAKERS.get(string(message.get("role", message.get("from"))).casefold())
    if speaker is None:
        return []
    text, names = content_text(message.get("content", message.get("value")))
    time = seconds(message.get("timestamp", message.get("create_time", message.get("created_at"))))
    known = first_string(message.get("id")) or str(number + 1)
    author = first_string(message.get("name"))
    if speaker is Speaker.ASSISTANT:
        author = first_string(message.get("model"), author, model, "Assistant")
    turns: list[Turn] = []
    if text.strip() or names:
        turns.append(Turn(speaker, text.strip("\n"), time, author, known, names))
    for place, one in enumerate(listed(message.get("tool_calls"))):
        called = mapping(mapping(one).get("function"))
        given = string(called.get("arguments"))
        turns.append(
            Turn(Speaker.TOOL, fenced(given, "json") if given.strip() else "", time, string(called.get("name")),
                 f"{known}#{place + 1}")
        )  # fmt: skip
    return turns
