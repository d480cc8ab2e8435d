"""What a chat template does with the parts of a conversation, as found by rendering it (`model_catalog.templates`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

KWARGS = "chat_template_kwargs"
"""The request field whose keys become variables of the chat template."""


class Place(StrEnum):
    """Where a template writes something.

    ``HEAD`` is before the conversation, ``TAIL`` after all earlier turns. ``LOST``: it does not stand in the prompt.
    ``REFUSED``: the template raises an error. ``MOVES``: it stands beside the newest user message and so moves on
    with every turn. ``UNKNOWN``: it could not be found out.
    """

    HEAD = "head"
    TAIL = "tail"
    LOST = "lost"
    REFUSED = "refused"
    MOVES = "moves"
    UNKNOWN = "unknown"


class Continuity(StrEnum):
    """How far a prompt with its answer is the beginning of the next turn's prompt.

    ``FULL``: all of it. ``LAST_ANSWER``: up to the newest answer, which is prefilled again. ``EARLY``: before that.
    """

    FULL = "full"
    LAST_ANSWER = "last-answer"
    EARLY = "early"


@dataclass(frozen=True, slots=True)
class DateUse:
    """Today's date in a template's head.

    `format` is the format of ``strftime`` that the template asks for. `variable` is the template variable that takes
    the date's place when a request sets it (``chat_template_kwargs``); None when nothing does.
    """

    format: str
    variable: str | None = None


@dataclass(frozen=True, slots=True)
class TemplateFacts:
    """A chat template as its rendered prompts show it; `digest` is a hash of its text.

    `note_kept`: a note at the end of the newest user message stands in the prompt, and all before that message is the
    same bytes without it. `system` is what becomes of a leading system message, `trailing_system` of one after the
    newest user message (``HEAD`` there means that it was moved to the head), and `trailing_stays` whether one of an
    earlier turn keeps its place too, without which such messages cannot be used. `fields` says where the request fields
    that can change a prompt (``tools``, ``reasoning_effort``, ``response_format``, ``documents``…) and the keys of
    ``chat_template_kwargs`` (as ``chat_template_kwargs.enable_thinking``) stand; what is missing there is unknown.
    """

    digest: str
    note_kept: bool = True
    system: Place = Place.HEAD
    trailing_system: Place = Place.UNKNOWN
    continuity: Continuity = Continuity.FULL
    keeps_thinking: bool = False
    fields: Mapping[str, Place] = field(default_factory=dict)
    date: DateUse | None = None
    trailing_stays: bool = True
