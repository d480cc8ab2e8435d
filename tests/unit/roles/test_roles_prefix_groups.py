from __future__ import annotations

from ansambl.domain.chat_template import Place, TemplateFacts
from ansambl.domain.role import Layout, ModelName, Role
from ansambl.roles.prefix_groups import PrefixGroup, group_roles
from ansambl.roles.records import RoleCatalog

FACTS = TemplateFacts("d", fields={"reasoning_effort": Place.LOST, "tools": Place.HEAD})


def groups(*roles: Role, facts: TemplateFacts | None = None, default: str | None = "big") -> list[PrefixGroup]:
    models = {"big": ModelName("big"), "small": ModelName("small")} if default else {}
    return group_roles(RoleCatalog({one.name: one for one in roles}, {}, models, default), lambda _: facts)


def test_roles_that_set_nothing_at_the_head_share() -> None:
    (found,) = groups(Role("a", "x", sampling={"temperature": 0.1}), Role("b", "y"))
    assert (found.model, found.roles, dict(found.head), found.shares) == ("big", ("a", "b"), {}, True)


def test_effort_and_tools_set_roles_apart_as_far_as_the_template_writes_them() -> None:
    high = Role("a", "x", sampling={"reasoning_effort": "high"})
    other, again = Role("b", "y"), Role("c", "z", sampling={"reasoning_effort": "high"})
    found = groups(high, other, again)
    assert [(one.roles, one.shares) for one in found] == [(("a", "c"), True), (("b",), False)]
    assert "reasoning_effort" in str(found[0].reason)
    assert [one.roles for one in groups(high, other, again, facts=FACTS)] == [("a", "b", "c")]
    found = groups(Role("a", "x", tools=("look",)), other, Role("c", "z", tools=()), facts=FACTS)
    assert [(one.roles, one.shares) for one in found] == [(("a",), False), (("b",), False), (("c",), False)]


def test_models_and_layouts_set_roles_apart() -> None:
    found = groups(
        Role("a", "x"), Role("b", "y", model="small"), Role("c", "z", layout=Layout.CLASSIC),
        Role("d", "z", layout=Layout.TRAILING_SYSTEM),
    )  # fmt: skip
    assert [(one.model, one.roles, one.shares) for one in found] == [
        ("big", ("a", "d"), True), ("small", ("b",), False), ("big", ("c",), False),
    ]  # fmt: skip
    assert "only role" in str(found[1].reason)
    assert "classic" in str(found[2].reason)


def test_a_template_that_keeps_no_note_makes_every_role_classic() -> None:
    found = groups(Role("a", "x"), Role("b", "y"), facts=TemplateFacts("d", note_kept=False))
    assert [(one.roles, one.shares) for one in found] == [(("a",), False), (("b",), False)]
    assert "does not keep" in str(found[0].reason)


def test_without_a_model_there_are_groups_still() -> None:
    (found,) = groups(Role("a", "x"), Role("b", "y"), default=None)
    assert (found.model, found.roles) == (None, ("a", "b"))
