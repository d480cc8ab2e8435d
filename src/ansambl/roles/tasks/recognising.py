"""Which requests are tasks: by the name in a header, or by the shape of Open WebUI's task prompts. Pure.

The shape is that of Open WebUI up to 0.12: never a stream, and it says so; one message, of the user, plain text. The
text begins with the heading "### Task:", names a key of the JSON object that is to be answered, and ends with the chat
between tags, each message behind the name of its role in capitals. Whoever translates or rewrites a prompt in its
settings keeps these parts, because Open WebUI fills in the one and reads the other. A person who chats through any
interface gets a stream, and a program that sends such a text by itself rarely says ``"stream": false``.
"""

from __future__ import annotations

import re

from ansambl.dialects.openai_chat import ChatRequest
from ansambl.roles.tasks.records import Task

HISTORY, HISTORY_END = "<chat_history>", "</chat_history>"
"""The tags around the chat in a task prompt."""

SPEAKER = re.compile(r"^(USER|ASSISTANT|SYSTEM|TOOL): ?", re.MULTILINE)
"""What a message begins with in the chat of a task prompt."""

_BEGINNING = "### Task:"
_ANSWER_KEY = re.compile(r"""\{\s*"(title|tags|follow_ups|queries|prompt|text)"\s*:""")
_KEYS = {
    "title": Task.TITLE, "tags": Task.TAGS, "follow_ups": Task.FOLLOW_UPS, "queries": Task.QUERIES,
    "prompt": Task.IMAGE_PROMPT, "text": Task.AUTOCOMPLETE,
}  # fmt: skip
_COMPLETED = re.compile(r"\s*<type>[^<]*</type>\s*<text>.*</text>\s*#+ Output:\s*\Z", re.DOTALL)
_LONGEST_INSTRUCTION = 10_000
_NEVER_SENT = ("tools", "functions", "response_format", "n")
"""Fields that no task prompt comes with."""


def task_of_header(value: str) -> Task | None:
    """The task that a header names; None for an empty one, one of another kind, and a placeholder left as it is."""
    try:
        return Task(value.strip().lower())
    except ValueError:
        return None


def task_of_request(request: ChatRequest) -> Task | None:
    """The task that a request is by its shape; None where anything is missing of it.

    Emojis have no shape that would tell them from a chat: they need the header.
    """
    raw = request.fields.get("messages")
    # Nearly every request is none, and few of those are worth decoding here.
    if raw is None or request.value("stream") is not False or _BEGINNING.encode() not in bytes(raw):
        return None
    if any(name in request.fields for name in _NEVER_SENT):
        return None
    found = request.value("messages")
    if not isinstance(found, list) or len(found) != 1 or not isinstance(found[0], dict):
        return None
    message = found[0]
    content = message.get("content")
    if message.get("role") != "user" or not isinstance(content, str):
        return None
    return _task_of_prompt(content.strip())


def _task_of_prompt(prompt: str) -> Task | None:
    instruction, opened, rest = prompt.partition(HISTORY)
    if not opened or not instruction.startswith(_BEGINNING) or len(instruction) > _LONGEST_INSTRUCTION:
        return None
    if SPEAKER.match(rest.lstrip()) is None:
        return None
    keys = {_KEYS[one] for one in _ANSWER_KEY.findall(instruction)}
    # An autocompletion shows its own key in examples and no other.
    if len(keys) != 1:
        return None
    (task,) = keys
    if task is Task.AUTOCOMPLETE:
        # Behind the last one alone: looking from each would take as long as the square of a hostile text.
        return task if _COMPLETED.match(rest.rpartition(HISTORY_END)[2]) else None
    return task if rest.endswith(HISTORY_END) else None
