"""A conversation as a document: its turns one after another as Markdown, with a mark where each begins."""

from __future__ import annotations

from ansambl.domain.knowledge import Form, Kind, Mark, Material
from ansambl.domain.languages import language_of_text
from ansambl.domain.past_conversation import PastConversation, Speaker, Turn

LONGEST_TOOL_TEXT = 2000
"""Characters that are searched of what a tool was given or gave: whole web pages and tables would bury the rest."""

_BETWEEN = "\n\n"


def place_of(conversation: PastConversation) -> str:
    """The place of a conversation among documents: the same for every export that it comes in."""
    return f"{conversation.source}:{conversation.id}"


def material_of(conversation: PastConversation) -> Material:
    """The document of a conversation. The branch that was seen last comes first, the other branches after it.

    The text holds no names and times: the marks say who speaks and when, so that a search for a word does not find
    every turn of whoever bears it. Texts of tools and system turns are shortened to `LONGEST_TOOL_TEXT` characters.
    """
    pieces: list[str] = []
    marks: list[Mark] = []
    length = 0
    turns = (*conversation.turns, *(turn for branch in conversation.branches for turn in branch.turns))
    for turn in turns:
        text = _text(turn)
        if not text:
            continue
        if pieces:
            length += len(_BETWEEN)
        marks.append(
            Mark(length, author=turn.author or None, role=turn.speaker.value, time=turn.time, turn=turn.id or None)
        )
        pieces.append(text)
        length += len(text)
    told = [one.time for one in conversation.turns if one.time is not None]
    time = conversation.created if conversation.created is not None else min(told, default=None)
    said = [one for one in conversation.turns if one.speaker in (Speaker.USER, Speaker.ASSISTANT)]
    authors = dict.fromkeys(one.author for one in turns if one.author and one.speaker is not Speaker.TOOL)
    return Material(
        Kind.CONVERSATION,
        place_of(conversation),
        conversation.title,
        _BETWEEN.join(pieces),
        Form.CONVERSATION,
        tuple(marks),
        time,
        language_of_text(_BETWEEN.join(one.text for one in said)),
        tuple(authors),
        conversation.source,
        {**conversation.facts, "turns": str(len(conversation.turns))},
        conversation.warnings,
    )


def _text(turn: Turn) -> str:
    text = turn.text.strip()
    if turn.speaker in (Speaker.TOOL, Speaker.SYSTEM) and len(text) > LONGEST_TOOL_TEXT:
        text = text[:LONGEST_TOOL_TEXT] + "…"
    unnamed = [f"[attachment: {name}]" for name in turn.attachments if name not in turn.text]
    return "\n\n".join((text, *unnamed)).strip()
