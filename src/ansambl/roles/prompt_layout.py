"""Where a role's instruction stands in the prompt. Pure: messages in, messages out.

**shared-prefix** (the default): whatever the roles of a conversation share comes first and is the same bytes for each
of them; what makes the role is a short marked note inside the newest user message, after its text. An engine that
holds the conversation in its cache then has to prefill nothing but the newest message and the note when the role
changes. Every chat template that was tried keeps such a note, while a trailing system message is lost, moved to the
head or refused by a third of them.

**classic**: the instruction stands first, as (or in front of) the system message. Two roles share nothing then.

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
from ansambl.domain.role import Layout, Role

HEAD_FIELDS = (
    "tools",
    "functions",
    "reasoning_effort",
    "response_format",
    "documents",
    "chat_template",
    "chat_template_kwargs",
)
"""Request fields that chat templates write at the head of the prompt: a difference there ends all sharing."""

_SYSTEM_ROLES = ("system", "developer")
_NOTHING: Mapping[int, str] = {}
_canonical = msgspec.json.Encoder(order="sorted").encode


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a prompt was laid out.

    `note_index` is the message (of those that are sent) that carries the note or, in the classic layout, the
    instruction; None when the role has no instruction. `shared_messages` counts the leading messages that are the
    same bytes for every role of the same prefix group. `remembered` lists the messages (of those that are sent) that
    carry a note of an earlier turn again.
    """

    layout: Layout
    note: str | None
    note_index: int | None
    shared_messages: int
    messages: list[Message]
    head: dict[str, Any] = field(default_factory=dict)
    remembered: tuple[int, ...] = ()

    @property
    def prefix_group(self) -> str:
        """Roles with an equal prefix group share their prefix (`prefix_group` of the head material)."""
        return prefix_group(self.head)


def note_text(role: Role) -> str | None:
    """The note that makes an answer the role's own; None when the role has no instruction."""
    instruction = role.instruction.strip()
    if not instruction:
        return None
    return f"[Role: {role.name}]\n{instruction}\n[/Role]"


def newest_user(messages: Sequence[Message]) -> int | None:
    """The index of the newest message of the user. In a tool loop that is the one that started it."""
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].get("role") == "user":
            return index
    return None


def compose(
    messages: Sequence[Message],
    role: Role,
    *,
    remembered: Mapping[int, str] = _NOTHING,
    common_instruction: str | None = None,
) -> list[Message]:
    """The messages as they are sent to the engine, in the role's layout.

    `remembered` maps the index of an earlier user message to the note that stood there, which is written there again;
    the classic layout leaves these out, because it shares nothing that they could keep. `common_instruction` comes
    before everything else, at the head of the client's own system message when the conversation begins with one.

    A conversation without any user message gets its note at the end of the last system message; without that one
    too, the note becomes a user message at the end.

    The given messages are never changed; those that carry nothing new are passed on as the same objects.
    """
    return explain(messages, role, remembered=remembered, common_instruction=common_instruction).messages


def explain(
    messages: Sequence[Message],
    role: Role,
    *,
    remembered: Mapping[int, str] = _NOTHING,
    common_instruction: str | None = None,
    fields: Mapping[str, Any] | None = None,
) -> Explanation:
    """Lay the messages out as `compose` does, and say what stands where. `fields` are the request's other fields."""
    head = head_material(fields or {})
    common = (common_instruction or "").strip()
    if role.layout is Layout.CLASSIC:
        instruction = role.instruction.strip()
        first = "\n\n".join(one for one in (common, instruction) if one)
        return Explanation(
            Layout.CLASSIC,
            note=instruction or None,
            note_index=0 if instruction else None,
            shared_messages=0,
            messages=_with_head(messages, first),
            head=head,
        )
    note = note_text(role)
    newest = newest_user(messages)
    notes = {
        index: text
        for index, text in remembered.items()
        if newest is not None and 0 <= index < newest and messages[index].get("role") == "user"
    }
    carrier = newest if newest is not None else _last_system(messages)
    laid_out = list(messages)
    if note is not None:
        if carrier is None:
            carrier = len(laid_out)
            laid_out.append({"role": "user", "content": note})
        else:
            notes[carrier] = note
    for index, text in notes.items():
        laid_out[index] = {**laid_out[index], "content": _append(laid_out[index].get("content"), text)}
    composed = _with_head(laid_out, common)
    moved = len(composed) - len(laid_out)
    end = len(laid_out) if carrier is None else carrier
    return Explanation(
        Layout.SHARED_PREFIX,
        note=note,
        note_index=None if note is None or carrier is None else carrier + moved,
        shared_messages=end + moved,
        messages=composed,
        head=head,
        remembered=tuple(sorted(index + moved for index in notes if index != carrier)),
    )


def head_material(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What of a request's fields stands at the head of the prompt.

    ``tool_choice`` counts only when it is ``"none"``: engines differ in whether they still show the tools then.
    """
    found = {name: fields[name] for name in HEAD_FIELDS if fields.get(name) is not None}
    if fields.get("tool_choice") == "none":
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


def _append(content: Any, note: str) -> Any:
    if isinstance(content, list):
        # Engines join the parts of a list in different ways, some without any space, so the part brings its own.
        return [*content, {"type": "text", "text": f"\n\n{note}" if content else note}]
    return f"{content}\n\n{note}" if content else note


def _with_head(messages: Sequence[Message], text: str) -> list[Message]:
    if not text:
        return list(messages)
    if messages and messages[0].get("role") in _SYSTEM_ROLES:
        first = messages[0]
        content = first.get("content")
        if isinstance(content, list):
            merged: Any = [{"type": "text", "text": f"{text}\n\n" if content else text}, *content]
        else:
            merged = f"{text}\n\n{content}" if content else text
        return [{**first, "content": merged}, *messages[1:]]
    return [{"role": "system", "content": text}, *messages]
