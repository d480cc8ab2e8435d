"""What a request would be turned into, and why: for people, and for tools that ask before they send."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ansambl.dialects.openai_chat import ChatRequest, Message
from ansambl.domain.role import Layout, Role
from ansambl.domain.text import Text, text
from ansambl.roles import prompt_layout
from ansambl.roles.prompt_layout import Explanation
from ansambl.roles.records import NO_OPTIONS, EnsembleTarget, ModelTarget, RequestOptions, Target
from ansambl.roles.service import RoleService
from ansambl.roles.turns import Recalled

Translate = Callable[[str], str]
"""Chooses the language of a sentence."""


def explain(
    service: RoleService,
    request: ChatRequest,
    target: Target,
    *,
    key: str,
    translate: Translate | None = None,
    options: RequestOptions = NO_OPTIONS,
) -> dict[str, Any]:
    """What `RoleService.prepare` would send and why, ready for JSON; `translate` chooses the language of the reasons.

    Raises:
        RequestError: the messages are not messages.
        UnavailableError: there is no model for the role.
    """
    if isinstance(target, EnsembleTarget):
        return {
            "ensemble": target.name,
            "pattern": target.ensemble.pattern,
            "conductor": target.conductor.name,
            "roles": [
                _explain_role(service, request, role, key, translate, options)
                for role in target.roles
                if isinstance(role, Role)
            ],
            "reasons": _render(
                [
                    text("The roles answer one after another on the prefix that they share."),
                    text("The conductor '{role}' then merges their answers.", role=target.conductor.name),
                ],
                translate,
            ),
        }
    if isinstance(target, ModelTarget):
        plain = service.prepare_plain(request, target.model)
        return {
            "role": None,
            "model": plain.model,
            "layout": None,
            "messages": request.messages(),
            "reasons": _render([text("A plain model gets the client's messages as they are.")], translate),
        }
    return _explain_role(service, request, target.role, key, translate, options)


def _explain_role(
    service: RoleService,
    request: ChatRequest,
    role: Role,
    key: str,
    translate: Translate | None,
    options: RequestOptions,
) -> dict[str, Any]:
    prepared = service.prepare(request, role, key=key, options=options)
    found, recalled = prepared.explanation, prepared.recalled
    if found is None or recalled is None:
        raise AssertionError(role.name)
    return {
        "role": role.name,
        "model": prepared.model,
        "layout": found.layout.value,
        "messages": found.messages,
        "note": found.note,
        "note_message": found.note_index,
        "shared_messages": found.shared_messages,
        "head_material": found.head,
        "prefix_group": found.prefix_group,
        "remembered": _remembered(request.messages(), found, recalled),
        "fields": _fields(prepared.request),
        "reasons": _render(_reasons(role, found), translate),
    }


def _remembered(messages: Sequence[Message], found: Explanation, recalled: Recalled) -> list[dict[str, Any]]:
    # A common instruction can stand before the client's messages.
    moved = len(found.messages) - len(messages) if recalled.notes else 0
    turn, listed = 0, []
    for index, message in enumerate(messages):
        if message.get("role") == "user":
            turn += 1
            if index + moved in found.remembered:
                note = recalled.notes[index]
                listed.append({"message": index + moved, "turn": turn, "role": note.role, "note": note.text})
    return listed


def _fields(request: ChatRequest) -> dict[str, Any]:
    left_out = {"messages", *prompt_layout.HEAD_FIELDS}
    return {name: msgspec.json.decode(raw) for name, raw in request.fields.items() if name not in left_out}


def _reasons(role: Role, found: Explanation) -> list[Text]:
    reasons = []
    if found.layout is Layout.CLASSIC:
        reasons.append(
            text("The layout is classic: the instruction comes first, so nothing is shared with other roles.")
        )
    elif found.note is None:
        reasons.append(text("The role has no instruction, so it adds no note."))
    else:
        number = (found.note_index or 0) + 1
        reasons.append(
            text(
                "The role's note stands in message {number}; what comes before it is the same for all roles of the "
                "prefix group.",
                number=number,
            )
        )
    if found.remembered:
        reasons.append(
            text(
                "The notes of {count} earlier turns stand again where they stood, so the prompt goes on unchanged.",
                count=len(found.remembered),
            )
        )
    if found.head:
        reasons.append(
            text(
                "{fields} stand at the head of the prompt: only requests with the same values share their prefix.",
                fields=", ".join(sorted(found.head)),
            )
        )
    if role.model is None:
        reasons.append(text("The role names no model, so it runs on the resident one."))
    return reasons


def _render(reasons: Sequence[Text], translate: Callable[[str], str] | None) -> list[str]:
    return [one.render(translate) for one in reasons]
