"""What a request would be turned into, and why: for people, and for tools that ask before they send."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from ansambl.dialects.openai_chat import ChatRequest, Message
from ansambl.domain.chat_template import Continuity, Place, TemplateFacts
from ansambl.domain.role import Ensemble, Layout, Role
from ansambl.domain.text import Text, text
from ansambl.roles import prompt_layout
from ansambl.roles.ensembles.explaining import explain_ensemble
from ansambl.roles.knowledge.reading import Gathering
from ansambl.roles.knowledge.records import Given, How
from ansambl.roles.prefix_groups import PrefixGroup
from ansambl.roles.prompt_layout import Explanation
from ansambl.roles.records import NO_OPTIONS, EnsembleTarget, ModelTarget, RequestOptions, RoleTarget, Target
from ansambl.roles.service import Prepared, RoleService
from ansambl.roles.turns import Recalled

Translate = Callable[[str], str]
"""Chooses the language of a sentence."""

_NOTHING_GIVEN: Mapping[str, Given] = {}


def explain(
    service: RoleService,
    request: ChatRequest,
    target: Target,
    *,
    key: str,
    translate: Translate | None = None,
    options: RequestOptions = NO_OPTIONS,
    given: Mapping[str, Given] = _NOTHING_GIVEN,
) -> dict[str, Any]:
    """What `RoleService.prepare` would send and why, ready for JSON; `translate` chooses the language of the reasons.

    `given` is what was found for each role (`searched`).

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
                _explain_role(service, request, role, key, translate, options, given.get(role.name))
                for role in target.roles
                if isinstance(role, Role)
            ],
            "ensembles": [one.name for one in target.roles if isinstance(one, Ensemble)],
            "reasons": _render(explain_ensemble(target, request, options), translate),
        }
    if isinstance(target, ModelTarget):
        plain = service.prepare_plain(request, target.model, target.lora)
        return {
            "role": None,
            "model": plain.model,
            "lora": plain.request.lora,
            "layout": None,
            "messages": request.messages(),
            "reasons": _render([text("A plain model gets the client's messages as they are.")], translate),
        }
    return _explain_role(service, request, target.role, key, translate, options, given.get(target.role.name))


async def searched(service: RoleService, gathering: Gathering, target: Target) -> dict[str, Given]:
    """What the roles behind a name would be given, by their names; of those that read nothing, nothing.

    Raises:
        RequestError: the messages are not messages.
    """
    roles = (
        target.roles if isinstance(target, EnsembleTarget) else (target.role,) if isinstance(target, RoleTarget) else ()
    )
    found = {
        role.name: await gathering.for_role(role, service.model_of(role)) for role in roles if isinstance(role, Role)
    }
    return {name: given for name, given in found.items() if given is not None}


def _explain_role(
    service: RoleService,
    request: ChatRequest,
    role: Role,
    key: str,
    translate: Translate | None,
    options: RequestOptions,
    given: Given | None,
) -> dict[str, Any]:
    prepared = service.prepare(request, role, key=key, options=options, given=given)
    found, recalled = prepared.explanation, prepared.recalled
    if found is None or recalled is None:
        raise AssertionError(role.name)
    group = next((one for one in service.prefix_groups() if role.name in one.roles), None)
    return {
        "role": role.name,
        "model": prepared.model,
        "lora": prepared.request.lora,
        "layout": found.layout.value,
        "messages": found.messages,
        "note": found.note,
        "note_message": found.note_index,
        "shared_messages": found.shared_messages,
        "head_material": found.head,
        "prefix_group": found.prefix_group,
        "group": list(group.roles) if group is not None else [role.name],
        "template": _template(prepared.facts),
        "date": prepared.day.isoformat() if prepared.day is not None else None,
        "remembered": _remembered(request.messages(), found, recalled),
        "fields": _fields(prepared.request),
        "knowledge": prepared.given.as_json(translate) if prepared.given is not None else None,
        "reasons": _render(_reasons(role, prepared, found, group), translate),
    }


def _template(facts: TemplateFacts | None) -> dict[str, Any] | None:
    """What the model's chat template does, for tools; None when it is not known."""
    if facts is None:
        return None
    date = facts.date
    return {
        "digest": facts.digest,
        "note_kept": facts.note_kept,
        "system": facts.system.value,
        "trailing_system": facts.trailing_system.value,
        "trailing_stays": facts.trailing_stays,
        "continuity": facts.continuity.value,
        "keeps_thinking": facts.keeps_thinking,
        "fields": {name: place.value for name, place in facts.fields.items()},
        "date": {"format": date.format, "variable": date.variable} if date is not None else None,
    }


def _remembered(messages: Sequence[Message], found: Explanation, recalled: Recalled) -> list[dict[str, Any]]:
    if not found.remembered:
        return []
    newest = prompt_layout.newest_user(messages) or 0
    earlier = sorted(index for index in recalled.notes if index < newest)
    turns = [index for index, message in enumerate(messages) if message.get("role") == "user"]
    return [
        {
            "message": place,
            "turn": turns.index(index) + 1,
            "role": recalled.notes[index].role,
            "note": recalled.notes[index].text,
        }
        for index, place in zip(earlier, found.remembered, strict=True)
    ]


def _fields(request: ChatRequest) -> dict[str, Any]:
    left_out = {"messages", *prompt_layout.HEAD_FIELDS}
    return {name: msgspec.json.decode(raw) for name, raw in request.fields.items() if name not in left_out}


def _reasons(role: Role, prepared: Prepared, found: Explanation, group: PrefixGroup | None) -> list[Text]:
    reasons = [found.why] if found.why is not None else []
    if found.layout is Layout.CLASSIC:
        if found.why is None:
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
    if group is not None and group.reason is not None and found.layout is not Layout.CLASSIC:
        reasons.append(group.reason)
    if prepared.facts is None or prepared.facts.system is Place.UNKNOWN:
        reasons.append(text("The model's chat template is not known, so it is taken for one that keeps messages."))
    else:
        reasons += _template_reasons(prepared.facts, prepared.day, folded=found.folded)
    if role.tools is not None:
        reasons.append(_tools_reason(role.tools))
    if prepared.given is not None:
        reasons += _knowledge_reasons(prepared.given)
    if role.model is None:
        reasons.append(text("The role names no model, so it runs on the resident one."))
    return reasons


def _knowledge_reasons(given: Given) -> list[Text]:
    searched = text("{collections} were searched for: {query}", collections=", ".join(given.collections),
                    query=given.query.text)  # fmt: skip
    if given.failure is not None:
        return [text("The collections were not searched: {reason}", reason=given.failure)]
    if not given.sources:
        return [searched, text("Nothing that was found is about the question, and the model is told so.")]
    stands = text(
        "Passages given to the model: {count}, about {tokens} tokens. They stand in the newest message, so what comes "
        "before it stays the same.",
        count=len(given.sources), tokens=given.tokens,
    )  # fmt: skip
    earlier = (
        [text("The message leans on the one before, so its words were searched, too.")]
        if given.query.how is How.WORDS
        else []
    )
    return [searched, *earlier, stands]


_FOLDED = {
    Place.REFUSED: text("The model's chat template refuses system messages, so their text stands in user messages."),
    Place.LOST: text("The model's chat template drops system messages, so their text stands in user messages."),
    Place.MOVES: text(
        "The model's chat template writes a system message beside the newest user message, where it would end the "
        "shared prefix at every turn, so its text stands in the first user message."
    ),
}


def _template_reasons(facts: TemplateFacts, day: dt.date | None, *, folded: bool) -> list[Text]:
    reasons = [_FOLDED[facts.system]] if folded and facts.system in _FOLDED else []
    if facts.continuity is Continuity.EARLY and facts.system is not Place.MOVES:
        reasons.append(
            text(
                "The model's chat template changes earlier turns, so part of the conversation is read again each turn."
            )
        )
    elif facts.continuity is Continuity.LAST_ANSWER or not facts.keeps_thinking:
        reasons.append(
            text(
                "The model's chat template writes an answer differently in the next turn, so that answer is read again."
            )
            if facts.continuity is Continuity.LAST_ANSWER
            else text(
                "The model's chat template drops earlier thinking, so an answer with thinking is read again once."
            )
        )
    if facts.date is not None:
        if day is not None:
            reasons.append(
                text(
                    "The prompt says today is {day}, the day on which the conversation began, so it stays the same.",
                    day=day.isoformat(),
                )
            )
        elif facts.date.variable is not None:
            reasons.append(text("The request itself says which day it is."))
        else:
            reasons.append(
                text(
                    "The model's chat template writes today's date at the head and lets no request set it: the "
                    "conversation is read again once a day."
                )
            )
    return reasons


def _tools_reason(tools: Sequence[str]) -> Text:
    if not tools:
        return text("The role may use no tools, so none are sent.")
    return text("Of the client's tools the role sees these only: {tools}.", tools=", ".join(tools))


def _render(reasons: Sequence[Text], translate: Translate | None) -> list[str]:
    return [one.render(translate) for one in reasons]
