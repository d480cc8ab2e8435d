"""Past conversations for commands: found by what a person says of one, and shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ansambl.cli.output import local_time, note, say
from ansambl.domain.errors import AnsamblError, UsageError
from ansambl.domain.text import text
from ansambl.foundation.locales import speak

if TYPE_CHECKING:
    from ansambl.cli.knowledge_access import KnowledgeAccess
    from ansambl.domain.past_conversation import PastConversation

_SHOWN = 4
_LONGEST_SHOWN = 600
_NAMED = 8
_PAGE = 1000


def find_conversation(access: KnowledgeAccess, wanted: str) -> PastConversation:
    """The conversation of this id, beginning of an id, title, or words of a title.

    Raises:
        UsageError: there is none, or several; then the line names them.
        AnsamblError: knowledge cannot be reached.
    """
    from ansambl.app.knowledge.documents import conversation_of

    if not wanted.strip():
        raise UsageError(text("--continue needs the id or the title of a conversation"))
    try:
        return conversation_of(access.conversation(wanted))
    except AnsamblError as error:
        if getattr(error, "status", None) != 404:
            raise
        named = [
            one for one in some_conversations(access, None, wanted) if wanted.casefold() in one["title"].casefold()
        ]
        if not named:
            raise
    if len(named) > 1:
        shown = "; ".join(f"“{one['title'][:60]}” ({one['id']})" for one in named[:_NAMED])
        more = len(named) - _NAMED
        raise UsageError(
            text("several conversations are called so: {shown} and {count} more; give an id", shown=shown, count=more)
            if more > 0
            else text("several conversations are called so: {shown}; give an id", shown=shown)
        )
    return conversation_of(access.conversation(str(named[0]["id"])))


def some_conversations(access: KnowledgeAccess, collection: str | None, words: str) -> Iterator[dict[str, Any]]:
    """The documents that are conversations, whose title or place holds `words`, page by page."""
    after: int | None = 0
    while after is not None:
        page = access.documents(collection, text=words, after=after, limit=_PAGE)
        yield from (one for one in page["documents"] if one["kind"] == "conversation")
        after = page["next"]


def show_last(conversation: PastConversation, left_out: int) -> None:
    """Print what the conversation is, and its last turns."""
    from ansambl.domain.past_conversation import Speaker

    started = local_time(conversation.created) if conversation.created is not None else ""
    note(" · ".join(one for one in (conversation.title, conversation.source, started) if one))
    if left_out:
        note(
            speak("{count} messages of its middle do not fit into the model's context and are left out.").format(
                count=left_out
            )
        )
    said = [one for one in conversation.turns if one.speaker in (Speaker.USER, Speaker.ASSISTANT) and one.text.strip()]
    for turn in said[-_SHOWN:]:
        who = turn.author or (speak("you") if turn.speaker is Speaker.USER else speak("assistant"))
        shown = turn.text.strip()
        if len(shown) > _LONGEST_SHOWN:
            shown = shown[:_LONGEST_SHOWN].rstrip() + " …"
        note(f"{who}:")
        say(shown)
