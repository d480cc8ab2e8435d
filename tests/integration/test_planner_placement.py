from __future__ import annotations

import math
import random
import statistics
from dataclasses import replace

import pytest
from plan_inputs import ENGINES, ROLES, candidates, of_models, overfull, plan_inputs

from ansambl.app.planning import candidates_of
from ansambl.domain.catalog import ModelKind
from ansambl.domain.errors import UsageError
from ansambl.domain.planning import Goal, Plan, PlanOption, Residency
from ansambl.domain.text import text
from ansambl.domain.units import GIB, Bytes
from ansambl.hardware.catalog import load_machine, machine_names
from ansambl.model_catalog.catalog import catalog
from ansambl.planner.placement import RoleNeed, Wants, WorthRules, solve
from ansambl.planner.placement.reasons import recommended_option, why_recommended
from ansambl.planner.placement.rules import INDEX, quantization_loss
from ansambl.planner.placement.worth import equal_dense, months_since, native_bits, speed_points, strength

CARD, SMALLER = "rtx-pro-6000-128g", "rtx-4090-64g"
SOME = ("qwen3.6-27b", "qwen3-30b-a3b-instruct-2507", "gpt-oss-120b", "gpt-oss-20b", "llama-3.3-70b-instruct",
        "qwen2.5-7b-instruct", "t-pro-it-2.0", "yi-34b", "qwen3-embedding-0.6b", "qwen3-32b")  # fmt: skip


def option(plan: Plan, name: str) -> PlanOption:
    return next(one for one in plan.options if one.id == name)


def models_of(one: PlanOption) -> dict[str, str]:
    names = {placement.id: placement.candidate.model for placement in one.placements}
    return {role: names[placement] for role, placement in one.roles.items()}


@pytest.mark.parametrize("machine", machine_names())
def test_every_shipped_machine_gets_options_that_fit(machine: str) -> None:
    plan = solve(plan_inputs([machine], context=8192))
    assert [one.id for one in plan.options[:3]] == ["one-big", "several", "second-machine"]
    fitting = [one for one in plan.options if one.fits]
    assert fitting
    for one in fitting:
        assert overfull(one) == []
        assert all(placement.fits for placement in one.placements)
        assert {role.name for role in ROLES} <= set(one.roles)
        assert set(one.roles.values()) <= {placement.id for placement in one.placements}
        assert one.speaks_for
    for one in plan.options:
        assert one.fits or one.speaks_against
    assert plan.recommended in {one.id for one in fitting}
    assert plan.why


def test_the_first_option_has_one_model_for_all_roles_and_helpers_beside_it() -> None:
    plan = solve(plan_inputs([CARD], candidates=of_models(*SOME)))
    first = option(plan, "one-big")
    mains = {first.roles[role.name] for role in ROLES}
    assert len(mains) == 1
    assert models_of(first)["embedding"] == "qwen3-embedding-0.6b"
    assert first.prefix_groups == (("reasoner", "brief", "philosopher"),)
    assert first.swaps_expected_per_hour == 0


def test_a_role_that_follows_goes_where_its_leader_goes_and_shares_its_prefix() -> None:
    more = (
        *ROLES,
        RoleNeed("critic", Wants.DEPTH, follows="reasoner"),
        RoleNeed("tools", Wants.CODE, "tools", follows="coder"),
    )
    plan = solve(replace(plan_inputs([CARD], candidates=of_models(*SOME)), roles=more))
    for one in plan.options:
        if one.roles:
            assert one.roles["critic"] == one.roles["reasoner"]
            assert any({"critic", "reasoner"} <= set(group) for group in one.prefix_groups)
            assert any({"tools", "coder"} <= set(group) for group in one.prefix_groups)


def test_a_follower_weighs_with_its_leader() -> None:
    heavy = replace(ROLES[1], weight=3.0)
    inputs = plan_inputs([CARD], candidates=of_models(*SOME))
    followed = solve(replace(inputs, roles=(*ROLES, RoleNeed("critic", Wants.DEPTH, weight=2.0, follows="reasoner"))))
    alone = solve(replace(inputs, roles=(ROLES[0], heavy, *ROLES[2:])))
    assert [one.placements for one in followed.options] == [one.placements for one in alone.options]


def test_nobody_follows_a_role_that_is_not_there() -> None:
    inputs = plan_inputs([CARD], candidates=of_models(*SOME))
    with pytest.raises(UsageError, match="follows 'nobody'"):
        replace(inputs, roles=(*ROLES, RoleNeed("critic", Wants.DEPTH, follows="nobody")))


def test_of_options_that_are_equally_good_the_one_with_fewest_models_is_recommended() -> None:
    one = PlanOption("one", text("One"), (), {"a": "x", "b": "x", "helper": "z"}, rank=99.0)
    two = PlanOption("two", text("Two"), (), {"a": "x", "b": "y"}, rank=100.0)
    far = PlanOption("far", text("Far"), (), {"a": "x", "b": "y"}, rank=104.0)
    assert recommended_option(Goal.BALANCED, [one, two], "ab") == one
    assert "close" in [reason.code for reason in why_recommended(Goal.BALANCED, [one, two], one)]
    assert recommended_option(Goal.PARALLEL, [one, two], "ab") == two
    assert recommended_option(Goal.BALANCED, [one, two, far], "ab") == far
    assert recommended_option(Goal.DEPTH, [], "ab") is None
    # The points of the weakest models are below zero.
    weak = PlanOption("weak", text("Weak"), (), {"a": "x", "b": "x"}, rank=-50.0)
    assert recommended_option(Goal.BALANCED, [weak], "ab") == weak


def test_several_models_are_different_ones_and_all_resident() -> None:
    plan = solve(plan_inputs([CARD], candidates=of_models(*SOME)))
    several = option(plan, "several")
    assert several.fits
    assert len({models_of(several)[role.name] for role in ROLES}) >= 2
    assert {one.residency for one in several.placements} == {Residency.RESIDENT}


def test_a_second_machine_is_solved_when_it_is_given_and_only_described_when_not() -> None:
    alone = option(solve(plan_inputs([CARD], candidates=of_models(*SOME))), "second-machine")
    assert not alone.fits
    assert alone.placements == ()
    assert any("ansambl buy" in reason.text.render() for reason in alone.speaks_against)
    both = option(solve(plan_inputs([CARD, SMALLER], candidates=of_models(*SOME))), "second-machine")
    assert both.fits
    mains = {both.roles[role.name] for role in ROLES}
    assert {one.machine.name for one in both.placements if one.id in mains} == {CARD, SMALLER}
    assert overfull(both) == []


def test_two_machines_of_one_name_are_told_apart() -> None:
    plan = solve(plan_inputs([SMALLER, SMALLER], candidates=of_models(*SOME), context=8192))
    assert [one.name for one in plan.machines] == [SMALLER, f"{SMALLER}-2"]
    assert overfull(option(plan, "second-machine")) == []


def test_the_strongest_of_vram_and_ram_is_offered_with_its_slowdown() -> None:
    small = of_models("qwen2.5-7b-instruct", "gpt-oss-120b")
    # With speed at once worth more than usual the small model comes first.
    rules = WorthRules(rates={"parallel": 40.0})
    plan = solve(plan_inputs([SMALLER], candidates=small, goal=Goal.PARALLEL, context=8192, worth=rules))
    first, strongest = option(plan, "one-big"), option(plan, "vram-and-ram")
    assert models_of(first)["reasoner"] == "qwen2.5-7b-instruct"
    assert models_of(strongest)["reasoner"] == "gpt-oss-120b"
    placed = next(one for one in strongest.placements if one.candidate.model == "gpt-oss-120b")
    assert placed.settings["n_cpu_moe"] > 0
    main = next(one for one in first.placements if one.id == first.roles["reasoner"])
    assert main.speed.decode is not None
    assert placed.speed.decode is not None
    assert strongest.slowdown == pytest.approx(main.speed.decode.expected / placed.speed.decode.expected)
    assert strongest.slowdown > 1


@pytest.mark.parametrize("goal", list(Goal))
def test_the_same_question_in_another_order_gets_the_same_plan(goal: Goal) -> None:
    chosen = list(of_models(*SOME))
    plain = plan_inputs([CARD, SMALLER], candidates=tuple(chosen), goal=goal, context=8192)
    random.Random(3).shuffle(chosen)  # noqa: S311 - an order, no secret
    shuffled = replace(plain, candidates=tuple(chosen), engines=ENGINES[::-1])
    assert solve(plain) == solve(plain)
    assert solve(shuffled).options == solve(plain).options


def test_goals_differ_as_they_should() -> None:
    chosen = of_models("llama-3.3-70b-instruct", "gpt-oss-20b", "qwen3-30b-a3b-instruct-2507")
    plans = {goal: solve(plan_inputs([CARD], candidates=chosen, goal=goal)) for goal in Goal}
    rules = WorthRules()
    made_with = native_bits(candidates())

    def of(goal: Goal) -> tuple[float, float]:
        first = option(plans[goal], "one-big")
        main = next(one for one in first.placements if one.id == first.roles["reasoner"])
        assert main.speed.decode is not None
        return strength(main.candidate, made_with, None, rules).points, main.speed.decode.expected

    assert of(Goal.DEPTH)[0] > of(Goal.PARALLEL)[0]
    assert of(Goal.PARALLEL)[1] > of(Goal.DEPTH)[1]
    for one in plans[Goal.NO_SWAP].options:
        assert all(placement.residency is Residency.RESIDENT for placement in one.placements)


def test_russian_prefers_a_model_tuned_for_it_where_strength_is_near() -> None:
    near = tuple(
        replace(one, card=replace(catalog()[one.model], released="2025-07", kind=ModelKind.INSTRUCT, specialities=()))
        for one in of_models("t-pro-it-2.0", "qwen3-32b")
    )
    plain = solve(plan_inputs([CARD], candidates=near, helpers=()))
    russian = solve(plan_inputs([CARD], candidates=near, helpers=(), language="ru"))
    assert set(models_of(option(russian, "one-big")).values()) == {"t-pro-it-2.0"}
    basis = [reason for reason in option(russian, "one-big").speaks_for if reason.code == "worth.language"]
    assert basis
    assert not [reason for reason in option(plain, "one-big").speaks_for if reason.code == "worth.language"]


def test_a_tiny_machine_without_a_gpu_says_what_fits_or_why_not() -> None:
    machine = load_machine("cpu-13900k-64g")
    tiny = replace(machine, name="tiny", ram=replace(machine.ram, memory=Bytes(4 * GIB)))
    plan = solve(replace(plan_inputs([SMALLER], context=4096), machines=(tiny,)))
    for one in plan.options:
        assert one.fits or one.speaks_against
        assert overfull(one) == []
    large = solve(replace(plan_inputs([SMALLER], candidates=of_models("llama-3.3-70b-instruct")), machines=(tiny,)))
    assert large.recommended is None
    assert any("llama-3.3-70b-instruct" in reason.text.render() for reason in large.rejected)


def test_eight_gpus_hold_models_side_by_side_and_one_over_several() -> None:
    machine = load_machine(SMALLER)
    eight = replace(machine, name="eight", gpus=tuple(replace(machine.gpus[0], index=n) for n in range(8)),
                    ram=replace(machine.ram, memory=Bytes(256 * GIB)))  # fmt: skip
    chosen = of_models("qwen3.6-27b", "gpt-oss-120b", "qwen2.5-7b-instruct")
    plan = solve(replace(plan_inputs([SMALLER], candidates=chosen, context=8192, goal=Goal.DEPTH), machines=(eight,)))
    fitting = [one for one in plan.options if one.fits]
    assert len(fitting) >= 2
    assert all(overfull(one) == [] for one in fitting)
    assert any(len(placement.machine.gpus) > 1 for one in fitting for placement in one.placements)


def test_without_candidates_every_option_says_so() -> None:
    plan = solve(plan_inputs([CARD], candidates=()))
    assert plan.recommended is None
    assert not any(one.fits for one in plan.options)
    assert option(plan, "one-big").speaks_against[0].code == "no-candidates"


def test_a_role_that_needs_tools_gets_no_model_without_them() -> None:
    chosen = tuple(
        replace(one, card=replace(catalog()[one.model], tools=one.model != "qwen3.6-27b"))
        for one in of_models("qwen3.6-27b", "gpt-oss-20b")
    )
    roles = (RoleNeed("coder", Wants.CODE, tools=True), RoleNeed("reasoner", Wants.DEPTH))
    plan = solve(plan_inputs([CARD], candidates=chosen, roles=roles))
    for one in plan.options:
        if one.fits:
            assert models_of(one)["coder"] == "gpt-oss-20b"
    assert models_of(option(plan, "several"))["reasoner"] == "qwen3.6-27b"


def test_base_models_and_too_short_contexts_are_rejected_with_a_reason() -> None:
    plan = solve(plan_inputs([CARD], candidates=of_models("yi-34b", "yi-1.5-34b-chat", "gpt-oss-20b")))
    told = {reason.code: reason.text.render() for reason in plan.rejected}
    assert "yi-34b is a base model" in told["role.base-model"]
    assert told["rejected.context"] == "yi-1.5-34b-chat: made for 4096 tokens, and 32768 are wanted"
    wanted = solve(plan_inputs([CARD], candidates=of_models("yi-1.5-34b-chat"), models=("yi-1.5-34b-chat",)))
    against = option(wanted, "one-big").speaks_against
    assert any(reason.code == "context-beyond-model" for reason in against)


def test_what_is_too_large_is_named_with_its_size() -> None:
    chosen = tuple(
        one for one in of_models("llama-3.1-70b-instruct") if (one.quantization, one.format) == ("BF16", "safetensors")
    )
    plan = solve(plan_inputs([CARD], candidates=(*chosen, *of_models("gpt-oss-20b"))))
    said = [reason.text.render() for reason in plan.rejected]
    assert any("llama-3.1-70b-instruct in BF16 needs 131.4 GiB" in one for one in said)


def test_pinned_models_are_held_by_every_option_and_wanted_models_are_the_only_ones() -> None:
    chosen = of_models(*SOME)
    pinned = solve(plan_inputs([CARD], candidates=chosen, pinned=("gpt-oss-20b",)))
    assert any(one.fits for one in pinned.options)
    for one in pinned.options:
        assert not one.fits or "gpt-oss-20b" in {placement.candidate.model for placement in one.placements}
    wanted = solve(plan_inputs([CARD], candidates=chosen, models=("gpt-oss-120b",)))
    first = models_of(option(wanted, "one-big"))
    assert {first[role.name] for role in ROLES} == {"gpt-oss-120b"}


def test_a_council_counts_its_copies_of_the_kv_cache() -> None:
    plan = solve(plan_inputs([CARD], candidates=of_models("gpt-oss-20b"), helpers=()))
    first = option(plan, "one-big")
    assert list(first.clones.values()) == [2]
    assert [one.parallel for one in first.placements] == [3]


def test_equal_dense_strength_is_the_geometric_mean() -> None:
    one = of_models("gpt-oss-120b")[0]
    assert equal_dense(one) == pytest.approx(math.sqrt(116.829e9 * 5.1e9), rel=1e-3)
    dense = of_models("llama-3.3-70b-instruct")[0]
    assert equal_dense(dense) == pytest.approx(70.55e9, rel=1e-3)


def test_a_model_made_in_four_bits_loses_nothing_and_others_lose_by_their_bits() -> None:
    rules, made_with = WorthRules(), native_bits(candidates())
    native = next(one for one in of_models("gpt-oss-20b") if one.quantization == "MXFP4")
    assert strength(native, made_with, None, rules).lost == 0
    losses = [quantization_loss(bits, rules) for bits in (16, 8.5, 6.5, 5.7, 4.9, 4.0, 3.2, 2.4, 1.0)]
    assert losses == sorted(losses)
    assert losses[0] == 0
    # Llama 3 8B in Q4_K_M: 6.3829 against 6.2316; a doubling of parameters is worth 0.156 in the logarithm.
    assert losses[4] == pytest.approx(10 * math.log(6.3829 / 6.2316) / 0.156, rel=0.01)


def test_months_and_speeds_are_counted() -> None:
    assert months_since("2025-08", "2024-01") == 19
    assert months_since(None, "2024-01") is None
    rules = WorthRules()
    need = rules.speeds["chat"]
    assert speed_points(need.enough, Wants.CHAT, rules) == 0
    assert speed_points(need.enough / 4, Wants.CHAT, rules) == pytest.approx(-2 * need.slower)
    assert speed_points(None, Wants.CHAT, rules) == rules.unknown_speed


def test_given_strengths_replace_the_rule() -> None:
    chosen = of_models("qwen2.5-7b-instruct", "gpt-oss-120b")
    rules = WorthRules(measured={"qwen2.5-7b-instruct": 200.0})
    plan = solve(plan_inputs([CARD], candidates=chosen, helpers=(), worth=rules, goal=Goal.DEPTH))
    assert models_of(option(plan, "one-big"))["reasoner"] == "qwen2.5-7b-instruct"


def test_bad_numbers_are_refused_by_name() -> None:
    for changes, word in (
        ({"context": 0}, "context"), ({"parallel": 0}, "parallel"), ({"kv_type": "q9"}, "kv_type"),
        ({"requests_per_hour": -1}, "requests_per_hour"), ({"roles": ()}, "roles"),
        ({"roles": (ROLES[0], ROLES[0])}, "coder"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=word):
            plan_inputs([CARD], **changes)
    with pytest.raises(UsageError, match="weight"):
        RoleNeed("x", Wants.CHAT, weight=0)


def test_the_published_index_counts_by_the_line_through_the_models_that_have_one():
    rules = WorthRules(index_share=0.0)
    pairs = []
    for model in catalog().values():
        found = candidates_of(model)
        if found and INDEX in model.scores:
            ruled = max(strength(one, native_bits(found), None, rules).points for one in found)
            pairs.append((model.scores[INDEX].value, ruled))
    assert len(pairs) >= 25
    slope, start = statistics.linear_regression(*zip(*pairs, strict=True))
    assert WorthRules().index_line == pytest.approx((start, slope), rel=0.02)
    assert statistics.correlation(*zip(*pairs, strict=True)) > 0.75


@pytest.mark.parametrize("machine", [CARD, SMALLER])
def test_where_ram_allows_the_model_too_large_for_the_gpus_is_an_option_with_its_slowdown(machine: str) -> None:
    plan = solve(plan_inputs([machine]))
    strongest = option(plan, "vram-and-ram")
    main = next(one for one in strongest.placements if one.id == strongest.roles[ROLES[0].name])
    gpus = sum(gpu.memory for gpu in load_machine(machine).gpus)
    assert main.candidate.weights.total > gpus
    assert strongest.fits
    assert overfull(strongest) == []
    assert {"larger"} <= {one.code for one in strongest.speaks_for}
    assert "slowdown" in {one.code for one in strongest.speaks_against}
    assert ("stronger" in {one.code for one in strongest.speaks_for}) != (
        "not-stronger" in {one.code for one in strongest.speaks_against}
    )


def test_a_model_made_for_another_language_is_not_a_quick_helper_for_everybody() -> None:
    found = candidates_of(catalog()["gigachat3.1-10b-a1.8b"])
    made_with = native_bits(found)
    rules = WorthRules()
    english, russian = (strength(found[0], made_with, language, rules).points for language in (None, "ru"))
    assert english < strength(found[0], made_with, None, WorthRules(tuned_elsewhere=0.0)).points
    assert russian > english
