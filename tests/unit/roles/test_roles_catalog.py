from __future__ import annotations

import re
from typing import Any

import pytest

from ansambl.domain.errors import ConfigurationError, UnknownNameError
from ansambl.domain.role import Layout, ModelName, Pattern
from ansambl.foundation.locales import translator
from ansambl.roles.catalog import Tables, build_catalog
from ansambl.roles.records import RoleCatalog
from ansambl.roles.resolver import EnsembleTarget, ModelTarget, Resolver, RoleTarget

MODELS = [ModelName("big", aliases=("gpt-4o",)), ModelName("small")]


def build(roles: dict[str, Any] | None = None, ensembles: dict[str, Any] | None = None, **more: Any) -> RoleCatalog:
    return build_catalog(roles or {}, ensembles or {}, more.pop("models", MODELS), **more)


def test_the_shipped_set_has_roles_and_ensembles_of_every_pattern() -> None:
    catalog = build()
    assert tuple(catalog.roles) == (
        "coder", "reasoner", "brief", "philosopher", "translator", "critic", "summariser"
    )  # fmt: skip
    assert {one.pattern for one in catalog.ensembles.values()} == set(Pattern)
    for one in (*catalog.roles.values(), *catalog.ensembles.values()):
        assert any("а" <= letter <= "я" for alias in one.aliases for letter in alias), one.name
    council = catalog.ensembles["council"]
    assert (council.roles, council.conductor) == (("coder", "reasoner", "philosopher"), "reasoner")
    assert council.aliases == ("совет",)
    assert catalog.default_model == "big"
    assert catalog.roles["brief"].output_limit
    for role in catalog.roles.values():
        assert 10 < len(role.instruction.split()) < 40, role.name
        # Russian costs more tokens a letter, so it says the same in fewer letters.
        assert 40 < len(role.instructions["ru"]) < len(role.instruction), role.name
        assert role.origin == "shipped"


def test_the_shipped_route_knows_what_is_certain() -> None:
    auto = build().ensembles["auto"]
    assert {one.role for one in auto.rules} <= set(auto.roles)
    translate = re.compile(next(one.pattern or "" for one in auto.rules if one.role == "translator"), re.IGNORECASE)
    for asked in ("Translate this into German: hello", "переведи на английский: дом", "Пожалуйста, переведи"):
        assert translate.search(asked), asked
    assert not translate.search("What does translate() do in Python?")


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
        ({"poet": {"instuction": "x"}}, {}, ["roles.poet.instuction", "did you mean instruction"]),
        ({"poet": {"layout": "shared"}}, {}, ["roles.poet.layout", "shared-prefix"]),
        ({" poet": {}}, {}, ["' poet'"]),
        ({}, {"pair": {"roles": ["codr"]}}, ["ensembles.pair.roles", "coder"]),
        ({}, {"pair": {"roles": []}}, ["ensembles.pair.roles", "names no role"]),
        ({}, {"pair": {"roles": ["brief", "brief"]}}, ["ensembles.pair.roles", "twice"]),
        ({}, {"council": {"conductor": "resoner"}}, ["ensembles.council.conductor", "reasoner"]),
        ({}, {"council": {"pattern": "debat"}}, ["ensembles.council.pattern", "did you mean debate"]),
        ({}, {"council": {"round": 2}}, ["ensembles.council.round", "rounds"]),
        ({}, {"council": {"rounds": 99}}, ["ensembles.council.rounds: 99 is not between 1 and 8"]),
        ({}, {"council": {"samples": 0}}, ["ensembles.council.samples: 0 is not between 1 and 16"]),
        ({}, {"council": {"merge": "votes"}}, ["ensembles.council.merge", "did you mean vote"]),
        ({}, {"auto": {"threshold": 1.5}}, ["ensembles.auto.threshold: 1.5"]),
        ({}, {"auto": {"embedder": "smal"}}, ["ensembles.auto.embedder", "did you mean small"]),
        ({}, {"auto": {"default": "critic"}}, ["ensembles.auto.default: 'critic' is not known"]),
        ({}, {"auto": {"rules": [{"role": "critic", "words": ["x"]}]}}, ["ensembles.auto.rules[0].role", "critic"]),
        ({}, {"auto": {"rules": [{"role": "brief"}]}}, ["ensembles.auto.rules[0]", "match everything"]),
        ({}, {"auto": {"rules": [{"role": "brief", "pattern": "("}]}}, ["rules[0].pattern", "no regular expression"]),
        ({}, {"auto": {"rules": [{"role": "brief", "pattern": "(a+)+b"}]}}, ["rules[0].pattern", "several ways"]),
        (
            {},
            {"auto": {"rules": [{"role": "brief", "longer_than": 9, "shorter_than": 5}]}},
            ["ensembles.auto.rules: Rule 1", "longer than 9 and shorter than 5"],
        ),
        ({}, {"auto": {"rules": [{"role": "brief", "has": "cod"}]}}, ["rules[0].has", "did you mean code"]),
        ({}, {"auto": {"rules": [{"role": "brief", "language": "qq"}]}}, ["rules[0].language", "'qq' is no language"]),
        ({}, {"auto": {"rules": [{"role": "brief", "longer_than": -1}]}}, ["rules[0].longer_than: -1"]),
        ({}, {"auto": {"rules": [{"role": "brief", "word": ["x"]}]}}, ["rules[0].word", "did you mean words"]),
        ({"poet": {"answer_language": "rusian"}}, {}, ["roles.poet.answer_language: 'rusian' is no language"]),
        ({"poet": {"instructions": {"xx": "Rhyme."}}}, {}, ["roles.poet.instructions.xx"]),
        ({"poet": {"instructions": {"ru": "a", "russian": "b"}}}, {}, ["roles.poet.instructions", "'ru'", "twice"]),
        ({"poet": {"context_share": 0.0}}, {}, ["roles.poet.context_share: 0.0"]),
        ({"poet": {"context_share": 1.1}}, {}, ["roles.poet.context_share: 1.1"]),
        ({}, {"team": {"roles": ["council"]}}, ["ensembles.team.conductor", "no member is a role"]),
        ({}, {"team": {"roles": ["brief", "team"]}}, ["contains itself: team → team"]),
        (
            {},
            {"a": {"roles": ["brief", "b"]}, "b": {"roles": ["brief", "c"]}, "c": {"roles": ["brief", "a"]}},
            ["ensembles.a.roles", "contains itself: a → b → c → a"],
        ),
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


def test_a_text_that_is_too_long_for_a_name_is_compared_with_none() -> None:
    """One of 30 MB took two seconds, in which nobody else was answered."""
    assert Resolver(build()).resolve("CODER ").name == "coder"
    with pytest.raises(UnknownNameError, match="named 'CODER") as caught:
        Resolver(build()).resolve("CODER" + " " * 1000)
    assert "nearest" not in str(caught.value)


def chain(length: int) -> dict[str, Any]:
    """Ensembles that stand in each other, `length` of them."""
    return {
        f"e{one}": {"roles": ["brief", f"e{one + 1}"] if one < length else ["brief"]} for one in range(1, length + 1)
    }


@pytest.mark.parametrize("length", [5, 60, 3000])
def test_ensembles_stand_in_ensembles_four_deep_and_no_more(length: int) -> None:
    assert build(ensembles=chain(4)).ensembles["e1"].roles == ("brief", "e2")
    with pytest.raises(ConfigurationError, match=r"ensembles\.e1\.roles: .* more than 4 deep"):
        build(ensembles=chain(length))


def test_an_ensemble_in_an_ensemble_is_resolved() -> None:
    catalog = build(ensembles={"both": {"roles": ["brief", "council"]}})
    both = Resolver(catalog).resolve("both")
    assert isinstance(both, EnsembleTarget)
    assert both.roles == (catalog.roles["brief"], catalog.ensembles["council"])


def test_a_resolver_goes_on_with_another_catalog() -> None:
    resolver = Resolver(build())
    before = resolver.resolve("coder")
    resolver.use(build({"coder": {"temperature": 0.9}, "poet": {"instruction": "Rhyme."}}))
    assert resolver.resolve("poet").name == "poet"
    assert resolver.resolve("coder") != before


def test_an_instruction_of_ones_own_replaces_the_shipped_ones_in_all_languages() -> None:
    assert build({"coder": {"instruction": "Code."}}).roles["coder"].instructions == {}
    both = build({"coder": {"instructions": {"de": "Schreib Code."}}}).roles["coder"]
    assert set(both.instructions) == {"de", "ru"}
    own = build({"coder": {"instruction": "Code.", "instructions": {"ru-RU": "Пиши код."}}}).roles["coder"]
    assert own.instructions == {"ru": "Пиши код."}


def test_other_members_leave_inherited_rules_about_missing_ones_behind() -> None:
    auto = build(ensembles={"auto": {"roles": ["coder", "brief"]}}).ensembles["auto"]
    assert {one.role for one in auto.rules} == {"coder", "brief"}
    assert auto.default is None


def test_an_instruction_that_cannot_fit_is_refused() -> None:
    models = [ModelName("tiny", context=128), ModelName("wide", context=8192)]
    build({"long": {"instruction": "x" * 1536}}, models=models)
    with pytest.raises(ConfigurationError, match=r"roles\.long\.instruction: .*1537 letters.*128 tokens.*'tiny'"):
        build({"long": {"instruction": "x" * 1537}}, models=models)
    with pytest.raises(ConfigurationError, match=r"roles\.long\.instructions\.ru"):
        build({"long": {"instructions": {"ru": "ы" * 1537}}}, models=models)
    assert build({"long": {"instruction": "x" * 1537, "model": "wide"}}, models=models).roles["long"].model == "wide"


def test_a_saved_role_stands_between_the_shipped_one_and_the_file() -> None:
    saved = Tables({"coder": {"temperature": 0.7, "top_k": 3}, "poet": {"instruction": "Rhyme."}})
    assert build(saved=saved).roles["coder"].sampling == {"temperature": 0.7, "top_p": 0.95, "top_k": 3}
    assert [build(saved=saved).roles[one].origin for one in ("coder", "poet")] == ["saved", "saved"]
    # The file's role takes the saved one's place as a whole.
    both = build({"coder": {"top_p": 0.5}}, saved=saved).roles["coder"]
    assert (both.sampling, both.origin) == ({"temperature": 0.2, "top_p": 0.5}, "configuration")
