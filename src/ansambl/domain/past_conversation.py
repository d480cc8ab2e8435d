"""Conversations that were held elsewhere, as an export gives them: what importers make and what is continued."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Speaker(StrEnum):
    """Who said a turn, by the words of the chat API."""

    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class Turn:
    """One message. `text` is Markdown. `time` is in seconds since the epoch, None where the export does not say it.

    `author` is who is shown: ``"ChatGPT"``, a model's or a person's name. `id` is unique in its conversation.
    `attachments` are the names of files that came with it; the files themselves are not kept.
    """

    speaker: Speaker
    text: str
    time: float | None = None
    author: str = ""
    id: str = ""
    attachments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Branch:
    """Turns that went another way: they follow the turn with the id `after` ("" is the very beginning)."""

    after: str
    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class PastConversation:
    """A whole conversation.

    `source` is ``chatgpt``, ``claude``, ``open-webui``, ``lm-studio``, ``nexus``, ``jsonl`` or ``ansambl``; `id` is its
    own id there, or a hash of its contents where it has none, so that it is recognised when it comes again. `turns` is
    the branch that was seen last, in order. `repairs` counts characters by the mistake that was undone
    (``"mac-roman"``).
    """

    source: str
    id: str
    title: str
    turns: tuple[Turn, ...]
    branches: tuple[Branch, ...] = ()
    created: float | None = None
    updated: float | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    repairs: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
