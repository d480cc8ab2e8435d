"""Roles as a plan sees them share exactly what `ansambl roles list` says they share."""

from __future__ import annotations

import pytest

from ansambl.app.plan_question import role_needs
from ansambl.domain.role import Layout, ModelName, Role
from ansambl.roles.prefix_groups import group_roles
from ansambl.roles.records import RoleCatalog

PLAIN = Role("plain", "Be brief.")


@pytest.mark.parametrize(
    "other",
    [
        Role("other", "Be long.", sampling={"temperature": 0.2}),
        Role("other", "Be long.", sampling={"chat_template_kwargs": {"enable_thinking": False}}),
        Role("other", "Be long.", sampling={"reasoning_effort": "high"}),
        Role("other", "Be long.", tools=("look",)),
        Role("other", "Be long.", layout=Layout.CLASSIC),
    ],
    ids=["temperature", "template", "effort", "tools", "classic"],
)
def test_the_plan_and_the_list_of_roles_agree_who_shares(other):
    catalog = RoleCatalog({one.name: one for one in (PLAIN, other)}, {}, {"m": ModelName("m")}, "m")
    heads = {one.head for one in role_needs(catalog)}
    assert len(heads) == len(group_roles(catalog, lambda _: None))


def test_the_order_of_tools_sets_no_role_apart():
    roles = [Role("one", "", tools=("a", "b")), Role("other", "", tools=("b", "a"))]
    needs = role_needs(RoleCatalog({one.name: one for one in roles}, {}, {}, None))
    assert needs[0].head == needs[1].head
