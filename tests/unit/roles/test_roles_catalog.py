from __future__ import annotations

from typing import Any

import pytest

from ansambl.domain.errors import ConfigurationError, UnknownNameError
from ansambl.domain.role import Layout, ModelName
from ansambl.foundation.locales import translator
from ansambl.roles.catalog import build_catalog, shipped_names
from ansambl.roles.records import RoleCatalog
from ansambl.roles.resolver import EnsembleTarget, ModelTarget, Resolver, RoleTarget

MODELS = [ModelName("big", aliases=("gpt-4o",)), ModelName("small")]


def build(roles: dict[str, Any] | None = None, ensembles: dict[str, Any] | None = None, **more: Any) -> RoleCatalog:
    return build_catalog(roles or {}, ensembles or {}, more.pop("models", MODELS), **more)


def test_four_roles_and_a_council_are_shipped() -> None:
    catalog = build()
    assert shipped_names() == ("coder", "reasoner", "brief", "philosopher", "council")
    assert [role.aliases for role in catalog.roles.values()] == [("кодер",), ("мыслитель",), ("кратко",), ("философ",)]
    council = catalog.ensembles["council"]
    assert (council.roles, council.conductor) == (("coder", "reasoner", "philosopher"), "reasoner")
    assert council.aliases == ("совет",)
    assert catalog.default_model == "big"
    assert catalog.roles["brief"].output_limit
    for role in catalog.roles.values():
        assert 10 < len(role.instruction.split()) < 40, role.name
        assert role.origin == "shipped"


def test_what_is_shipped_has_a_description_in_both_languages() -> None:
    catalog = build()
    russian = translator("ru")
    for one in (*catalog.roles.values(), *catalog.ensembles.values()):
        assert one.description, one.name
        assert russian(one.description) != one.description, one.name


def test_a_configured_role_of_a_shipped_name_replaces_only_what_it_sets() -> None:
    shipped = build().roles["coder"]
    changed = build({"coder": {"temperature": 0.0, "model": "GPT-4o", "instruction": None}}).roles["coder"]
    assert changed.instruction == shipped.instruction
    assert changed.sampling == {**shipped.sampling, "temperature": 0.0}
    assert changed.model == "big"
    assert changed.origin == "configuration"
    assert build({"coder": {"sampling": {"mirostat": 2}}}).roles["coder"].sampling == {
        "mirostat": 2,
        **shipped.sampling,
    }


def test_a_role_of_ones_own() -> None:
    role = build({"poet": {"instruction": "Rhyme.", "layout": "classic", "output_limit": 9}}).roles["poet"]
    assert (role.layout, role.output_limit, role.sampling) == (Layout.CLASSIC, 9, {})


def test_an_ensemble_of_ones_own_is_conducted_by_its_first_role() -> None:
    found = build(ensembles={"pair": {"roles": ["brief", "coder"], "seconds": "2m"}}).ensembles["pair"]
    assert (found.pattern, found.conductor, found.seconds) == ("council", "brief", 120.0)


@pytest.mark.parametrize(
    ("roles", "ensembles", "words"),
    [
        ({"poet": {"aliases": ["Кодер"]}}, {}, ["the role 'coder'", "the role 'poet'"]),
        ({"GPT-4O": {}}, {}, ["the role 'GPT-4O'", "the model 'big'"]),
        ({}, {"Coder": {"roles": ["brief"]}}, ["the role 'coder'", "the ensemble 'Coder'"]),
        ({"poet": {"model": "bigg"}}, {}, ["roles.poet.model", "'bigg'", "big"]),
        ({"poet": {"instructions": "x"}}, {}, ["roles.poet.instructions", "did you mean instruction"]),
        ({"poet": {"layout": "shared"}}, {}, ["roles.poet.layout", "shared-prefix"]),
        ({" poet": {}}, {}, ["' poet'"]),
        ({}, {"pair": {"roles": ["codr"]}}, ["ensembles.pair.roles", "coder"]),
        ({}, {"pair": {"roles": []}}, ["ensembles.pair.roles", "names no role"]),
        ({}, {"pair": {"roles": ["brief", "brief"]}}, ["ensembles.pair.roles", "twice"]),
        ({}, {"council": {"conductor": "resoner"}}, ["ensembles.council.conductor", "reasoner"]),
        ({}, {"council": {"pattern": "debate"}}, ["ensembles.council.pattern", "council"]),
        ({}, {"council": {"rounds": 2}}, ["ensembles.council.rounds"]),
    ],
)
def test_a_bad_configuration_names_the_key_and_the_nearest_name(
    roles: dict[str, Any], ensembles: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        build(roles, ensembles)
    for word in words:
        assert word in str(caught.value)


def test_an_unknown_default_model_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="default_model: 'smal' is not known; did you mean small"):
        build(default_model="smal")
    assert build(default_model="small").default_model == "small"
    assert build(models=[]).default_model is None


def test_names_are_resolved_exactly_then_by_alias_then_in_any_case() -> None:
    catalog = build({"Poet": {"instruction": "Rhyme."}})
    resolver = Resolver(catalog)
    assert resolver.resolve("coder") == RoleTarget(catalog.roles["coder"])
    assert resolver.resolve("Кодер") == RoleTarget(catalog.roles["coder"])
    assert resolver.resolve("poet").name == "Poet"
    assert resolver.resolve("GPT-4o") == ModelTarget(catalog.models["big"])
    council = resolver.resolve("СОВЕТ")
    assert isinstance(council, EnsembleTarget)
    assert [role.name for role in council.roles] == ["coder", "reasoner", "philosopher"]
    assert council.conductor.name == "reasoner"


def test_an_unknown_name_is_told_the_nearest_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"nearest: coder.*GET /v1/models") as caught:
        Resolver(build()).resolve("codr")
    assert (caught.value.status, caught.value.param) == (404, "model")
    with pytest.raises(UnknownNameError, match=r"named 'xxxxxxx+…'; GET /v1/models"):
        Resolver(build()).resolve("x" * 5000)
