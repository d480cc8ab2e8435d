"""Which roles of a catalog share their prefix with each other, and why the others do not. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansambl.domain.role import Layout, Role
from ansambl.domain.text import Text, text
from ansambl.roles import prompt_layout
from ansambl.roles.records import RoleCatalog


@dataclass(frozen=True, slots=True)
class PrefixGroups:
    """`numbers` gives each role that can share the number of its group, from 1, in the catalog's order.

    `reasons` says of each role that shares with no other one why.
    """

    numbers: Mapping[str, int]
    reasons: Mapping[str, Text]


def prefix_groups(catalog: RoleCatalog) -> PrefixGroups:
    """Group the roles by model and by what each puts at the head of a prompt, as far as roles decide that."""
    keys: dict[str, tuple[str, str]] = {
        role.name: (_model(role, catalog), prompt_layout.prefix_group(head_of(role)))
        for role in catalog.roles.values()
        if role.layout is not Layout.CLASSIC
    }
    order = list(dict.fromkeys(keys.values()))
    members = list(keys.values())
    reasons: dict[str, Text] = {}
    for role in catalog.roles.values():
        key = keys.get(role.name)
        if key is None:
            reasons[role.name] = text("its layout is classic, so its instruction comes first")
        elif members.count(key) == 1:
            reasons[role.name] = _why_alone(role, key[0], [name for name, one in keys.items() if one[0] == key[0]])
    return PrefixGroups({name: order.index(key) + 1 for name, key in keys.items()}, reasons)


def head_of(role: Role) -> dict[str, Any]:
    """What a role itself puts at the head of its prompts, by field."""
    head = prompt_layout.head_material(role.sampling)
    if role.tools is not None:
        head["tools"] = sorted(role.tools)
    return head


def _model(role: Role, catalog: RoleCatalog) -> str:
    return role.model or catalog.default_model or ""


def _why_alone(role: Role, model: str, on_the_same: list[str]) -> Text:
    if len(on_the_same) == 1:
        return text("it is the only role on the model '{model}'", model=model)
    head = sorted(head_of(role))
    if not head:
        return text("the other roles on its model set fields at the head of the prompt")
    return text("no other role has the same at the head of its prompts ({fields})", fields=", ".join(head))
