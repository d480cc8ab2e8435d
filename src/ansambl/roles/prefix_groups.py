"""Which roles of a catalog share the prefixes of their prompts, and why others do not. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ansambl.domain.chat_template import TemplateFacts
from ansambl.domain.role import Layout, Role
from ansambl.domain.text import Text, text
from ansambl.roles.prompt_layout import effective_layout, head_material, prefix_group
from ansambl.roles.records import RoleCatalog

_Key: TypeAlias = tuple[str | None, str, str | None]
"""A model, what is at the head of the prompt, and a LoRA adapter that sets apart."""


@dataclass(frozen=True, slots=True)
class PrefixGroup:
    """Roles of one model whose prompts begin with the same bytes in one conversation.

    `model` is None where there is no model for them. `head` is the head material that sets the group apart from the
    other groups of its model. `shares` is whether a change of role inside the group keeps the prefix: False for the
    classic layout, and for a role that is alone. `reason` says it in words. `lora` is the LoRA adapter that all of them
    answer with; an activated one (aLoRA) leaves the prefix alone and sets nobody apart.
    """

    model: str | None
    roles: tuple[str, ...]
    head: Mapping[str, Any] = field(default_factory=dict)
    shares: bool = True
    reason: Text | None = None
    lora: str | None = None


def group_roles(catalog: RoleCatalog, templates: Callable[[str], TemplateFacts | None]) -> list[PrefixGroup]:
    """Group the roles of `catalog`, in its order; `templates` tells what the chat template of a model does."""
    shared: dict[_Key, list[Role]] = {}
    heads: dict[_Key, dict[str, Any]] = {}
    found: dict[_Key, PrefixGroup] = {}
    for role in catalog.roles.values():
        model, lora = catalog.model_of(role), _dividing_lora(role, catalog)
        facts = templates(model) if model is not None else None
        head = role_head(role, catalog, facts)
        layout, why = effective_layout(role.layout, facts)
        if layout is Layout.CLASSIC:
            reason = why or text("The layout is classic: the instruction comes first.")
            found[model, role.name + "\0", lora] = PrefixGroup(
                model, (role.name,), head, shares=False, reason=reason, lora=lora
            )
            continue
        key = (model, prefix_group(head), lora)
        shared.setdefault(key, []).append(role)
        heads[key] = head
    for key, roles in shared.items():
        others = any(model == key[0] for model, *_ in (*(one for one in shared if one != key), *found))
        found[key] = PrefixGroup(
            key[0], tuple(one.name for one in roles), heads[key], shares=len(roles) > 1,
            reason=_reason(len(roles), heads[key], key[2], others=others), lora=key[2],
        )  # fmt: skip
    order = list(catalog.roles)
    return sorted(found.values(), key=lambda group: order.index(group.roles[0]))


def _dividing_lora(role: Role, catalog: RoleCatalog) -> str | None:
    """The LoRA adapter that changes what an engine keeps of the role's prompt."""
    lora = catalog.loras.get(role.lora or "")
    return None if lora is not None and lora.activated else role.lora


def head_fields(role: Role) -> dict[str, Any]:
    """The request fields that the role sets itself, with the names of its tools, as `head_material` takes them.

    A role that may not see all tools stands apart from those that may, as far as clients send tools.
    """
    return dict(role.sampling) if role.tools is None else {**role.sampling, "tools": sorted(role.tools)}


def role_head(role: Role, catalog: RoleCatalog, facts: TemplateFacts | None) -> dict[str, Any]:
    """What the role puts at the head of the prompt: sampling fields of it and of its model, and its tools."""
    model = catalog.models.get(catalog.model_of(role) or "")
    return head_material({**(model.sampling if model is not None else {}), **head_fields(role)}, facts)


def _lora_reason(count: int, lora: str) -> Text:
    if count > 1:
        return text("They answer with the LoRA adapter '{lora}' and set the same at the head of the prompt.", lora=lora)
    return text("It answers with the LoRA adapter '{lora}'; what is read with one is of no use without it.", lora=lora)


def _reason(count: int, head: Mapping[str, Any], lora: str | None, *, others: bool) -> Text:
    fields = ", ".join(sorted(head))
    if lora is not None:
        return _lora_reason(count, lora)
    if count > 1:
        if head:
            return text("They set the same {fields} at the head of the prompt.", fields=fields)
        return text("They set nothing at the head of the prompt, so all that comes before their notes is the same.")
    if head and others:
        return text("No other role sets the same {fields} at the head of the prompt.", fields=fields)
    if others:
        return text("All other roles of its model set something at the head of the prompt, or are classic.")
    return text("It is the only role of its model.")
