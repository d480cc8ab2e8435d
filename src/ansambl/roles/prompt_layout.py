"""Where a role's instruction stands in the prompt. Pure: messages in, messages out.

**shared-prefix** (the default): whatever the roles of a conversation share comes first and is the same bytes for each
of them; what makes the role is a short marked note inside the newest user message, after its text. An engine that
holds the conversation in its cache then has to prefill nothing but the newest message and the note when the role
changes. Every chat template that was tried keeps such a note, while a trailing system message is lost, moved to the
head or refused by a third of them.

**trailing-system**: the note is a system message after the newest user message. It is used only on a model whose
template was seen to leave such messages where they stand.

**classic**: the instruction stands first, as (or in front of) the system message. Two roles share nothing then.

Where a template refuses system messages, drops them, or writes them beside the newest user message, their text is
folded into user messages instead, at places that stay the same from turn to turn.

Passages of documents that were found for a message stand in it, after its text and before the note, in every layout;
those of earlier turns stand again where they stood. So all that came before a message stays the same bytes.

A note is style, not a boundary. Text of a user or of a document that imitates a note is left as it is: permissions,
tools and collections are checked in code and never read out of a prompt, so an imitation gains no more than the same
wish in other words would, and taking it out would silently change what somebody wrote.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ansambl.dialects.openai_chat import Message
from ansambl.domain.chat_template import KWARGS, Place, TemplateFacts
from ansambl.domain.role import Layout, Role
from ansambl.domain.text import Text, text
from ansambl.roles.notes import instruction_text, language_for, note_text, text_of

HEAD_FIELDS = (
    "tools",
    "functions",
    "reasoning_effort",
    "response_format",
    "documents",
    "chat_template",
    KWARGS,
)
"""Request fields that chat templates write at the head of the prompt: a difference there ends all sharing."""

_SYSTEM_ROLES = ("system", "developer")
_FOLDED = (Place.REFUSED, Place.LOST, Place.MOVES)
_NO_HEAD = (Place.LOST, Place.TAIL)
_NOTHING: Mapping[int, str] = {}
_canonical = msgspec.json.Encoder(order="sorted").encode

_INSIDE = {
    Place.HEAD: text(
        "The model's chat template moves a system message at the end to the head, so the note stands inside the newest "
        "user message."
    ),
    Place.LOST: text(
        "The model's chat template drops a system message at the end, so the note stands inside the newest user "
        "message."
    ),
    Place.MOVES: text(
        "The model's chat template moves a system message at the end, so the note stands inside the newest user "
        "message."
    ),
    Place.REFUSED: text(
        "The model's chat template refuses a system message at the end, so the note stands inside the newest user "
        "message."
    ),
    Place.UNKNOWN: text(
        "It is not known what the model's chat template does with a system message at the end, so the note stands "
        "inside the newest user message."
    ),
}
_NOT_KEPT = text(
    "The model's chat template does not keep a note in the newest user message, so the instruction comes first."
)
_NOT_STAYING = text(
    "The model's chat template keeps a system message at the end in the newest turn only, so the note stands inside "
    "the newest user message."
)


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a prompt was laid out.

    `note_index` is the message (of those that are sent) that carries the note or, in the classic layout, the
    instruction; None when the role has no instruction. `shared_messages` counts the leading messages that are the
    same bytes for every role of the same prefix group. `remembered` lists the messages (of those that are sent) that
    carry a note of an earlier turn again. `why` says why the layout is another one than the role asks for. `folded` is
    whether system messages were written into user messages.
    """

    layout: Layout
    note: str | None
    note_index: int | None
    shared_messages: int
    messages: list[Message]
    head: dict[str, Any] = field(default_factory=dict)
    remembered: tuple[int, ...] = ()
    why: Text | None = None
    folded: bool = False

    @property
    def prefix_group(self) -> str:
        """Roles with an equal prefix group share their prefix (`prefix_group` of the head material)."""
        return prefix_group(self.head)


def newest_user(messages: Sequence[Message]) -> int | None:
    """The index of the newest message of the user. In a tool loop that is the one that started it."""
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].get("role") == "user":
            return index
    return None


def effective_layout(wanted: Layout, facts: TemplateFacts | None) -> tuple[Layout, Text | None]:
    """The layout that a model's template allows, and why it is not the wanted one; `facts` None: it is not known."""
    if wanted is Layout.CLASSIC:
        return wanted, None
    if facts is not None and not facts.note_kept:
        return Layout.CLASSIC, _NOT_KEPT
    if wanted is Layout.SHARED_PREFIX:
        return wanted, None
    place = Place.UNKNOWN if facts is None else facts.trailing_system
    if facts is None or place is not Place.TAIL:
        return Layout.SHARED_PREFIX, _INSIDE[place]
    return (wanted, None) if facts.trailing_stays else (Layout.SHARED_PREFIX, _NOT_STAYING)


def lay_out(
    messages: Sequence[Message],
    role: Role,
    *,
    remembered: Mapping[int, str] = _NOTHING,
    remembered_trailing: Mapping[int, str] = _NOTHING,
    common_instruction: str | None = None,
    fields: Mapping[str, Any] | None = None,
    facts: TemplateFacts | None = None,
    passages: Mapping[int, str] = _NOTHING,
) -> Explanation:
    """The messages as they are sent to the engine, in the role's layout, with what stands where.

    `remembered` maps the index of an earlier user message to the note that stood in it, `remembered_trailing` to the
    one that stood in a system message after it; they are written there again. The classic layout leaves them out,
    because it shares nothing that they could keep. `passages` maps the index of a user message, the newest one or an
    earlier one, to what of the documents stands in it. `common_instruction` comes before everything else, at the head
    of the client's own system message when the conversation begins with one. `fields` are the request's other fields,
    `facts` what the model's chat template does; without them the template is taken for one that keeps what it is given.

    A conversation without any user message gets its note at the end of the last system message; without that one
    too, the note becomes a user message at the end.

    The given messages are never changed; those that carry nothing new are passed on as the same objects.
    """
    layout, why = effective_layout(role.layout, facts)
    folds = facts is not None and facts.system in _FOLDED
    head = head_material(fields or {}, facts)
    common = (common_instruction or "").strip()
    newest = newest_user(messages)
    if layout is Layout.CLASSIC:
        # The language of the first message stays the same while the conversation goes on.
        first = next((index for index, one in enumerate(messages) if one.get("role") == "user"), None)
        instruction = instruction_text(role, language_for(role, messages, first))
        opening = "\n\n".join(one for one in (common, instruction) if one)
        sent, places = _begin(messages, opening, folds=folds)
        sent = _with_passages(sent, messages, places, passages)
        place = places[first] if folds and first is not None else 0
        return Explanation(
            layout, note=instruction or None, note_index=place if instruction else None, shared_messages=0,
            messages=sent, head=head, why=why, folded=folds,
        )  # fmt: skip
    sent, places = _begin(messages, common, folds=folds)
    sent = _with_passages(sent, messages, places, passages)
    earlier = {
        index: note
        for index, note in (*remembered.items(), *remembered_trailing.items())
        if newest is not None and 0 <= index < newest and messages[index].get("role") == "user"
    }
    # Another model's template may not take them where they stood.
    stays = facts is not None and facts.trailing_system is Place.TAIL and facts.trailing_stays
    after = {places[index]: note for index, note in earlier.items() if stays and index in remembered_trailing}
    inside = {places[index]: note for index, note in earlier.items() if places[index] not in after}
    note = note_text(role, language_for(role, messages, newest))
    return _with_notes(
        Explanation(layout, note, None, 0, sent, head, why=why, folded=folds), inside=inside, after=after
    )


def _with_notes(found: Explanation, *, inside: Mapping[int, str], after: Mapping[int, str]) -> Explanation:
    """Write the notes into the messages of `found`: those of earlier turns, and its own."""
    messages, note = found.messages, found.note
    carrier = newest_user(messages)
    trailing = found.layout is Layout.TRAILING_SYSTEM and carrier is not None
    if carrier is None:
        carrier = _last_system(messages)
    sent: list[Message] = []
    remembered: list[int] = []
    note_index, shared = None, len(messages)
    for position, message in enumerate(messages):
        own, written = position == carrier, message
        if own:
            shared = len(sent) + trailing
        if own and note is not None and not trailing:
            note_index, written = len(sent), _with_note(message, note)
        elif not own and position in inside:
            remembered.append(len(sent))
            written = _with_note(message, inside[position])
        sent.append(written)
        if own and note is not None and trailing:
            note_index = len(sent)
            sent.append({"role": "system", "content": note})
        elif not own and position in after:
            remembered.append(len(sent))
            sent.append({"role": "system", "content": after[position]})
    if note is not None and carrier is None:
        note_index = shared = len(sent)
        sent.append({"role": "user", "content": note})
    return Explanation(
        found.layout, note, note_index, shared, sent, found.head, tuple(remembered), found.why, found.folded
    )


def head_material(fields: Mapping[str, Any], facts: TemplateFacts | None = None) -> dict[str, Any]:
    """What of a request's fields stands at the head of the prompt.

    What a template was seen to leave out, or to write at the tail, is no head material; what is unknown counts as it.
    ``tool_choice`` counts only when it is ``"none"``: engines differ in whether they still show the tools then.
    """
    places = facts.fields if facts is not None else {}
    found: dict[str, Any] = {}
    for name in HEAD_FIELDS:
        value = fields.get(name)
        if name == KWARGS and isinstance(value, dict):
            value = {key: one for key, one in value.items() if places.get(f"{KWARGS}.{key}") not in _NO_HEAD} or None
        if value is not None and places.get(name) not in _NO_HEAD:
            found[name] = value
    if fields.get("tool_choice") == "none" and places.get("tools") not in _NO_HEAD:
        found["tool_choice"] = "none"
    return found


def prefix_group(head: Mapping[str, Any]) -> str:
    """A short hash of head material: requests of one group can share their prefix."""
    return hashlib.blake2b(_canonical(dict(head)), digest_size=8).hexdigest()


def _last_system(messages: Sequence[Message]) -> int | None:
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].get("role") in _SYSTEM_ROLES:
            return index
    return None


def _with_passages(
    sent: list[Message], messages: Sequence[Message], places: Mapping[int, int], passages: Mapping[int, str]
) -> list[Message]:
    """Messages that are sent, with the passages of the client's `messages` in them."""
    for index, block in passages.items():
        if 0 <= index < len(messages) and messages[index].get("role") == "user":
            sent[places[index]] = _with_note(sent[places[index]], block)
    return sent


def _with_note(message: Message, note: str) -> Message:
    return {**message, "content": _append(message.get("content"), note)}


def _append(content: Any, note: str) -> Any:
    if isinstance(content, list):
        # Engines join the parts of a list in different ways, some without any space, so the part brings its own.
        return [*content, {"type": "text", "text": f"\n\n{note}" if content else note}]
    return f"{content}\n\n{note}" if content else note


def _prepend(content: Any, opening: str) -> Any:
    if isinstance(content, list):
        return [{"type": "text", "text": f"{opening}\n\n" if content else opening}, *content]
    return f"{opening}\n\n{content}" if content else opening


def _begin(messages: Sequence[Message], opening: str, *, folds: bool) -> tuple[list[Message], dict[int, int]]:
    """The messages with `opening` at their head, and where each user message is now."""
    if folds:
        return _folded(messages, opening)
    if not opening:
        sent = list(messages)
    elif messages and messages[0].get("role") in _SYSTEM_ROLES:
        first = messages[0]
        sent = [{**first, "content": _prepend(first.get("content"), opening)}, *messages[1:]]
    else:
        sent = [{"role": "system", "content": opening}, *messages]
    moved = len(sent) - len(messages)
    return sent, {index: index + moved for index in range(len(messages))}


def _folded(messages: Sequence[Message], opening: str) -> tuple[list[Message], dict[int, int]]:
    """The messages without system messages, whose text goes into user messages.

    One that follows a user message goes to its end; others go to the beginning of the next user message. So each stays
    at its place when the conversation goes on.
    """
    sent: list[Message] = []
    places: dict[int, int] = {}
    waiting = [opening] if opening else []
    for index, message in enumerate(messages):
        if message.get("role") in _SYSTEM_ROLES:
            said = text_of(message.get("content"))
            if said and sent and sent[-1].get("role") == "user":
                sent[-1] = _with_note(sent[-1], said)
            elif said:
                waiting.append(said)
            continue
        places[index] = len(sent)
        if message.get("role") == "user" and waiting:
            sent.append({**message, "content": _prepend(message.get("content"), "\n\n".join(waiting))})
            waiting = []
        else:
            sent.append(message)
    if waiting:
        rest, last = "\n\n".join(waiting), newest_user(sent)
        if last is None:
            sent.insert(0, {"role": "user", "content": rest})
            places = {index: place + 1 for index, place in places.items()}
        else:
            sent[last] = _with_note(sent[last], rest)
    return sent, places
