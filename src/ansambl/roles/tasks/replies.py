"""What Ansambl itself answers to a task when no model can: the shape that Open WebUI reads, made of the chat. Pure.

Open WebUI cuts what stands between the first ``{`` and the last ``}`` out of an answer and reads it as JSON; a title
that is empty makes it take the first message instead. No tag and no follow-up at all is better than a wrong one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from ansambl.dialects.openai_chat import LIMIT_FIELDS, ChatRequest, Message
from ansambl.domain.errors import RequestError
from ansambl.roles.tasks.recognising import HISTORY, HISTORY_END, SPEAKER
from ansambl.roles.tasks.records import Task

OUTPUT_TOKENS = 1_000
"""The limit of a task's answer where the client sets none: what Open WebUI itself sets for titles. A model that thinks
needs some hundred tokens before its answer; without a limit one that rambles keeps a place for minutes."""

TITLE_LETTERS = 48
"""The most letters of a built-in title: what fits into one line of a side bar."""

_TITLE_WORDS = 7
_LONGEST_WORDS = 500
_READ = 20_000
_MARKS = re.compile(r"^\s*(?:#+|>|[-*+]|\d+\.)\s+|[*`]+|~~|!?\[([^\]]*)\]\([^)]*\)|https?://\S+")
_FENCE = "```"
_NEUTRAL_FACE = "🙂"


def task_request(request: ChatRequest, model: str) -> ChatRequest:
    """What a model is asked: the client's own request, no role's note, no LoRA adapter, and a limit."""
    limited = any(request.value(name) is not None for name in LIMIT_FIELDS)
    changes = {"model": model} if limited else {"model": model, "max_tokens": OUTPUT_TOKENS}
    return replace(request.changed(changes), lora=None)


def built_in_reply(task: Task, request: ChatRequest) -> str:
    """The answer to a task that no model answers."""
    if task is Task.EMOJI:
        return _NEUTRAL_FACE
    said = _said(request)
    replies: Mapping[Task, Mapping[str, Any]] = {
        Task.TITLE: {"title": title_of(said[0] if said else "")},
        Task.TAGS: {"tags": []},
        Task.FOLLOW_UPS: {"follow_ups": []},
        Task.QUERIES: {"queries": [_plain(said[-1])] if said else []},
        Task.IMAGE_PROMPT: {"prompt": _plain(said[-1]) if said else ""},
        Task.AUTOCOMPLETE: {"text": ""},
    }
    return msgspec.json.encode(replies[task]).decode()


def title_of(words: str) -> str:
    """The first words of the first line that has any, without marks of Markdown; "" where there are none."""
    lines = words[:_READ].splitlines()
    line = next((one for one in map(_unmarked, lines) if one), "")
    title, whole = "", line.split()
    for word in whole[:_TITLE_WORDS]:
        longer = f"{title} {word}".strip()
        if len(longer) > TITLE_LETTERS:
            break
        title = longer
    title = title or line[:TITLE_LETTERS]
    cut = len(title) < len(line)
    return title.rstrip(" ,.;:–-") + ("…" if cut else "")


def _said(request: ChatRequest) -> list[str]:
    """What the person said in the chat that the task is about, in order; empty where that cannot be told."""
    try:
        messages = request.messages()
    except RequestError:
        return []
    prompt = _text(messages[-1])
    start, end = prompt.find(HISTORY), prompt.rfind(HISTORY_END)
    if start < 0 or end < start:
        return []
    return _spoken_by_the_user(prompt[start + len(HISTORY) : end].strip())


def _spoken_by_the_user(history: str) -> list[str]:
    marks = list(SPEAKER.finditer(history))
    ends = [one.start() for one in marks[1:]] + [len(history)]
    spoken = [
        history[one.end() : end].strip() for one, end in zip(marks, ends, strict=False) if one[1] == "USER"
    ]  # fmt: skip
    return [one for one in spoken if one]


def _text(message: Message) -> str:
    content = message.get("content")
    parts: Sequence[Any] = content if isinstance(content, list) else [{"text": content}]
    return "\n".join(one["text"] for one in parts if isinstance(one, dict) and isinstance(one.get("text"), str))


def _unmarked(line: str) -> str:
    line = line.lstrip()[:_LONGEST_WORDS]
    if line.startswith(_FENCE):
        return ""
    return " ".join(_MARKS.sub(lambda found: found[1] or " ", line).split())


def _plain(words: str) -> str:
    return " ".join(words[:_LONGEST_WORDS].split())
