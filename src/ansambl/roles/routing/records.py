"""What a route chooses from, what it looks at, and what it decides."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ansambl.dialects.openai_chat import Message
from ansambl.domain.code_in_text import holds_code
from ansambl.domain.languages import language_of_text
from ansambl.domain.names import folded
from ansambl.domain.role import Ensemble, Role
from ansambl.domain.text import Text
from ansambl.roles.notes import text_of

_IMAGE_PARTS = frozenset({"image_url", "input_image", "image"})
_WORD = re.compile(r"[^\W_]+")
_LONGEST_FOLLOW_UP = 5
_FOLLOW_UPS = frozenset(
    _WORD.findall(
        "ok okay yes no yep nope sure fine good great thanks thank you please continue go on more further next again "
        "why how so and then what else now do it that one another shorter longer simpler "
        "да нет ок окей хорошо ладно спасибо продолжай продолжи продолжайте дальше далее еще раз почему зачем как так "
        "а что потом ну и давай подробнее короче проще понятнее пожалуйста это теперь другой вариант"
    )
)


def plain(written: str) -> str:
    """The form in which a route compares words: without letter case, and Russian ё as е."""
    return folded(written).replace("ё", "е")


def one_line(written: str, most: int) -> str:
    """A text for a reason: on one line, cut to `most` characters."""
    joined = " ".join(written[: 4 * most].split())
    return joined if len(joined) <= most else joined[: most - 1] + "…"


def searched(written: str, most: int) -> str:
    """At most `most` characters of a text: its beginning and its end, because a wish stands before or after a paste."""
    if len(written) <= most:
        return written
    head = most * 2 // 3
    return f"{written[:head]}\n{written[len(written) - (most - head - 1) :]}"


@dataclass(frozen=True, slots=True)
class Member:
    """One that a route can choose. `title` says in a line what it is for; `examples` are questions meant for it."""

    name: str
    title: str = ""
    examples: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()

    @staticmethod
    def of(target: Role | Ensemble) -> Member:
        """The member that a role or an ensemble is; an ensemble has no examples, rules and words can choose it."""
        examples = target.examples if isinstance(target, Role) else ()
        return Member(target.name, target.description, examples, target.aliases)


class How(StrEnum):
    """By which step a member was chosen."""

    FORCED = "forced"
    STICKY = "sticky"
    RULE = "rule"
    LIKENESS = "likeness"
    QUESTION = "question"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Decision:
    """Who answers: `role` is a member's name. `score` is the likeness (0 to 1) where one was measured."""

    role: str
    how: How
    reason: Text
    score: float | None = None


@dataclass(frozen=True, slots=True)
class RouteInput:
    """What a route looks at.

    `text` is the newest user message. `topic` is what the conversation is about: the same, or, where that message only
    asks to go on ("continue", "why?"), the last one before it that says more. `language` is the topic's. `has` holds
    ``"code"`` (in `text`), ``"image"`` (anywhere in the conversation, because the engine must read it again) and
    ``"tools"`` (the client offers some). `in_tool_loop`: the newest user message was begun to be answered already.
    """

    text: str
    topic: str
    language: str | None = None
    has: frozenset[str] = frozenset()
    in_tool_loop: bool = False

    @property
    def length(self) -> int:
        """Characters of the newest user message."""
        return len(self.text)

    @property
    def is_follow_up(self) -> bool:
        """Whether the newest message only asks to go on with an earlier one."""
        return self.topic != self.text


def read_input(messages: Sequence[Message], *, tools: bool = False) -> RouteInput:
    """What a route looks at in a conversation; `tools`: whether the client offers tools.

    Content may be text or parts; what is neither (a client's mistake that the engine will refuse) reads as no text.
    """
    users = [index for index, message in enumerate(messages) if message.get("role") == "user"]
    written = [text_of(messages[index].get("content")) for index in users]
    newest = written[-1] if written else ""
    topic = newest
    if _goes_on(newest):
        topic = next((one for one in reversed(written[:-1]) if one.strip() and not _goes_on(one)), newest)
    has = set()
    if holds_code(newest):
        has.add("code")
    if any(_shows_image(message.get("content")) for message in messages):
        has.add("image")
    if tools:
        has.add("tools")
    return RouteInput(
        text=newest,
        topic=topic,
        language=language_of_text(topic),
        has=frozenset(has),
        in_tool_loop=bool(users) and any(one.get("role") in {"assistant", "tool"} for one in messages[users[-1] + 1 :]),
    )


def _shows_image(content: Any) -> bool:
    parts = content if isinstance(content, list) else []
    return any(isinstance(part, dict) and str(part.get("type")) in _IMAGE_PARTS for part in parts)


def _goes_on(written: str) -> bool:
    words = _WORD.findall(plain(written[:100]))
    return len(words) <= _LONGEST_FOLLOW_UP and len(written) <= 100 and all(one in _FOLLOW_UPS for one in words)
