"""Second machines: sums and power by hand, what is compatible, and the ranking on a small catalog of parts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from plan_inputs import of_models, plan_inputs

from ansambl.domain.device import DeviceKind, DeviceModel, PlannedDevice, PlannedMachine
from ansambl.domain.errors import UsageError
from ansambl.domain.planning import Goal
from ansambl.domain.purchase import Part, PartType, Price, PriceKind, UsdRange
from ansambl.domain.units import GIB, Bytes
from ansambl.hardware.catalog import device_models
from ansambl.hardware.prices import shipped_parts
from ansambl.planner.placement import solve
from ansambl.planner.purchase import NOTHING, SEARCH_ONLY, advise
from ansambl.planner.purchase.builds import MOST_BUILDS, drawn, find_builds, supply_for, useful
from ansambl.planner.purchase.reasons import what_slows
from ansambl.planner.purchase.shortlist import shortlist

MODELS = tuple(
    one for one in of_models("gpt-oss-20b", "qwen3-8b", "qwen3-32b", "qwen3-embedding-0.6b")
    if one.quantization in {"MXFP4", "Q4_K_M", "Q8_0", "BF16", "AWQ"}
)  # fmt: skip


def price(low, high=None, kind=PriceKind.STREET, date="2026-05"):
    return Price(UsdRange(low, low if high is None else high), kind, ("a shop", "another shop"), date)


def part(name, kind, usd, **facts):
    high = facts.pop("high", None)
    return Part(name, name.upper(), kind, price(usd, high), **facts)


def card(name, usd, device, **facts):
    model = device_models()[device]
    return part(name, PartType.GPU, usd, device=model, watts=model.watts, **facts)


CPU = part("cpu", PartType.CPU, 200, device=device_models()["ryzen-9-7900"], socket="AM5", watts=170)
BOARD = part("board", PartType.BOARD, 150, socket="AM5", ram_type="DDR5", gpus=2, kits=1)
RAM = part("ram", PartType.RAM, 300, ram_type="DDR5", memory=Bytes(64 * GIB))
SMALL, MIDDLE, LARGE = (
    part(f"psu-{watts}", PartType.PSU, usd, watts=watts) for watts, usd in ((650, 60), (1000, 140), (1600, 300))
)
CASE = part("case", PartType.CASE, 100, gpus=2, cooler=True)
DISK = part("disk", PartType.SSD, 80)
REST = (CPU, BOARD, RAM, SMALL, MIDDLE, LARGE, CASE, DISK)
USED_3090 = card("used-3090", 800, "rtx-3090")
BOX = Part(
    "box", "Box", PartType.MACHINE, price(250, 350),
    machine=PlannedMachine(
        "box", "Box", (),
        PlannedDevice(
            DeviceKind.RAM, DeviceModel("ram", "RAM", "unknown", kind=DeviceKind.RAM, bandwidth=38.4e9), Bytes(16 * GIB)
        ),
    ),
    watts=20,
)  # fmt: skip


def small_inputs(*machines, **changes):
    """A machine without a GPU, to which any card adds much, whatever the points of a single model are."""
    return plan_inputs(machines or ("cpu-13900k-64g",), **{"candidates": MODELS, **changes})


def build_of(parts, gpus):
    return next(one for one in find_builds(parts) if len(one.machine.gpus) == gpus)


def test_a_build_is_the_sum_of_its_parts_and_draws_what_they_draw():
    one, two = build_of((*REST, USED_3090), 1), build_of((*REST, USED_3090), 2)
    # Card 800, processor 200, board 150, RAM 300, case 100, disk 80, and the power supply that is strong enough:
    # (350 + 170 + 100) × 1.3 = 806 W needs the 1000 W one, (700 + 170 + 100) × 1.3 = 1261 W the 1600 W one.
    assert one.watts == 620
    assert one.usd == UsdRange(1770, 1770)
    assert two.watts == 970
    assert two.usd == UsdRange(2730, 2730)
    assert [(thing.name, count) for thing, count in two.parts if count > 1] == [("used-3090", 2)]
    assert [gpu.memory for gpu in two.machine.gpus] == [24 * GIB] * 2
    assert two.machine.ram.memory == 64 * GIB
    assert two.machine.ram.model.bandwidth == pytest.approx(2 * 5600e6 * 8)


def test_of_the_ways_to_the_same_ram_the_cheapest_is_taken():
    board = replace(BOARD, kits=2)
    half = part("half", PartType.RAM, 140, ram_type="DDR5", memory=Bytes(32 * GIB))
    builds = find_builds((CPU, board, RAM, half, LARGE, CASE, DISK, USED_3090))
    found = {one.machine.ram.memory // GIB: [thing.name for thing, _ in one.parts if thing.type is PartType.RAM]
             for one in builds if len(one.machine.gpus) == 1}  # fmt: skip
    assert found == {32: ["half"], 64: ["half"], 128: ["ram"]}


def test_price_ranges_add_up_at_both_ends():
    dear = card("used-3090", 700, "rtx-3090", high=1000)
    assert build_of((*REST, dear), 2).usd == UsdRange(2 * 700 + 1130, 2 * 1000 + 1130)


def test_the_power_supply_has_headroom_and_the_cheapest_of_the_strong_ones_is_taken():
    assert drawn(170, 350, 2) == 970
    assert supply_for(500, (SMALL, MIDDLE, LARGE)) is SMALL
    assert supply_for(501, (SMALL, MIDDLE, LARGE)) is MIDDLE
    assert supply_for(1231, (SMALL, MIDDLE, LARGE)) is None
    cheaper = part("psu-sale", PartType.PSU, 50, watts=1200)
    assert supply_for(501, (SMALL, MIDDLE, LARGE, cheaper)) is cheaper


def test_parts_that_do_not_go_together_make_no_build():
    other_socket = replace(CPU, socket="AM4")
    other_ram = replace(RAM, ram_type="DDR4")
    no_cooler = replace(CASE, cooler=False)
    unknown_watts = replace(USED_3090, watts=None)
    for parts in (
        (*REST[1:], other_socket, USED_3090),
        (CPU, BOARD, other_ram, LARGE, CASE, DISK, USED_3090),
        (CPU, BOARD, RAM, LARGE, no_cooler, DISK, USED_3090),
        (CPU, BOARD, RAM, SMALL, CASE, DISK, card("big", 3000, "rtx-5090")),
        (*REST, unknown_watts),
        (CPU, BOARD, RAM, LARGE, CASE, USED_3090),
        REST,
    ):
        assert find_builds(parts) == ()
    with_cooler = replace(CPU, cooler=True)
    assert find_builds((with_cooler, BOARD, RAM, LARGE, no_cooler, DISK, USED_3090))


def test_a_case_for_one_card_limits_the_build():
    narrow = replace(CASE, gpus=1)
    builds = find_builds((CPU, BOARD, RAM, LARGE, narrow, DISK, USED_3090))
    assert [len(one.machine.gpus) for one in builds] == [1]


def test_a_dearer_build_with_the_same_memory_is_left_out():
    dear = card("dear-3090", 900, "rtx-3090")
    kept = useful(find_builds((*REST, USED_3090, dear)))
    assert {one.parts[0][0].name for one in kept} == {"used-3090"}
    # A range that reaches lower is not beaten: it may be the cheaper one.
    unsure = card("dear-3090", 700, "rtx-3090", high=950)
    assert {one.parts[0][0].name for one in useful(find_builds((*REST, USED_3090, unsure)))} == {
        "used-3090",
        "dear-3090",
    }


def test_too_many_parts_are_refused_and_not_waited_for():
    many = [card(f"card-{number}", 100 + number, "rtx-3090") for number in range(MOST_BUILDS)]
    with pytest.raises(UsageError, match="more than 1500 machines"):
        find_builds((*REST, *many))


def test_every_shipped_build_has_power_to_spare_and_room_for_its_cards():
    builds = find_builds(shipped_parts().values())
    assert len({one.id for one in builds}) == len(builds)
    for one in builds:
        of = {thing.type: (thing, count) for thing, count in one.parts}
        if PartType.MACHINE in of:
            continue
        cards, count = of[PartType.GPU]
        board = of[PartType.BOARD][0]
        assert of[PartType.CPU][0].socket == board.socket
        assert of[PartType.RAM][0].ram_type == board.ram_type
        assert count <= min(board.gpus, of[PartType.CASE][0].gpus)
        assert one.watts == (cards.watts or 0) * count + (of[PartType.CPU][0].watts or 0) + 100
        assert (of[PartType.PSU][0].watts or 0) >= 1.3 * one.watts
        assert one.usd.low == sum(thing.price.usd.low * number for thing, number in one.parts)
        assert one.usd.high == sum(thing.price.usd.high * number for thing, number in one.parts)


def test_the_ranking_is_by_gain_for_a_dollar_and_is_the_same_again():
    parts = (*REST, USED_3090, card("new-5090", 3500, "rtx-5090"), BOX)
    advice = advise(small_inputs(), parts)
    bought = [one for one in advice.options if one.gain > 0]
    assert bought
    rates = [one.per_1000_usd for one in bought]
    assert rates == sorted(rates, reverse=True)
    for one in bought:
        assert one.build is not None
        assert one.per_1000_usd == pytest.approx(one.gain * 1000 / one.build.usd.middle)
        assert one.plan is not None
        best = next(option for option in one.plan.options if option.id == one.plan.recommended)
        assert best.rank is not None
        assert one.adds[0].code == "gain"
        assert any(reason.code == "roles" for reason in one.adds)
        assert {"watts", "two-machines"} <= {reason.code for reason in one.against}
    assert advice.recommended == bought[0].id
    again = advise(small_inputs(candidates=tuple(reversed(MODELS))), tuple(reversed(parts)))
    assert [(one.id, one.gain, one.adds, one.against) for one in again.options] == [
        (one.id, one.gain, one.adds, one.against) for one in advice.options
    ]


def test_nobody_pays_more_for_no_more_gain():
    parts = [*REST, USED_3090, card("new-5090", 3500, "rtx-5090"), card("used-4090", 1600, "rtx-4090"), BOX]
    bought = [one for one in advise(small_inputs(), parts).options if one.gain > 0]
    for one in bought:
        for other in bought:
            assert one.build is not None
            assert other.build is not None
            if other.build.usd.high < one.build.usd.low:
                assert other.gain < one.gain


def test_the_option_without_a_gpu_is_always_there_and_tells_what_it_frees():
    for budget in (None, 0.0, 5000.0):
        advice = advise(small_inputs(), (*REST, USED_3090, BOX), budget)
        search = next(one for one in advice.options if one.id == SEARCH_ONLY)
        assert search.build is not None
        assert search.build.id == "box"
        assert search.best is not None
        assert search.best.candidate.model == "qwen3-embedding-0.6b"
        freed = next(reason for reason in search.adds if reason.code == "freed")
        assert "qwen3 embedding 0.6b" in str(freed.text).lower()
        assert {"interface", "search"} <= {reason.code for reason in search.adds}
        over = any(reason.code == "over-budget" for reason in search.against)
        assert over == (budget is not None and budget < 350)


@pytest.mark.parametrize("model", ["qwen3-embedding-0.6b", "qwen3-embedding-4b"])
def test_a_smaller_embedding_model_there_speaks_against_it(model):
    inputs = small_inputs(candidates=(*MODELS, *of_models("qwen3-embedding-4b")), models=(), pinned=(model,))
    search = next(one for one in advise(inputs, (*REST, BOX), 0.0).options if one.id == SEARCH_ONLY)
    before = solve(inputs)
    option = next(one for one in before.options if one.id == before.recommended)
    today = next(one for one in option.placements if one.id == option.roles["embedding"])
    assert search.best is not None
    assert search.best.candidate.model == "qwen3-embedding-0.6b"
    told = [str(reason.text) for reason in search.against if reason.code == "weaker-search"]
    assert bool(told) == (today.candidate.model == "qwen3-embedding-4b")


def test_buying_nothing_is_an_option_and_the_advice_where_nothing_adds():
    for budget in (0.0, 1.0):
        advice = advise(small_inputs(), (*REST, USED_3090, BOX), budget)
        assert advice.recommended == NOTHING
        assert [one.id for one in advice.options] == [SEARCH_ONLY, NOTHING]
        assert any(reason.code == "no-gain" for reason in advice.options[-1].adds)
        assert advice.beyond is not None
        assert advice.beyond.gain >= 1
    poor = card("old", 1, "t4")
    # Without a model that a small card holds, too.
    few = tuple(one for one in MODELS if one.model != "gpt-oss-20b")
    assert advise(small_inputs("h100-80g", candidates=few), (*REST, poor)).recommended == NOTHING
    assert [one.id for one in advise(small_inputs(), ()).options] == [NOTHING]


def test_a_build_over_the_budget_is_not_shown_but_the_cheapest_of_them_is_named():
    parts = (*REST, USED_3090, BOX)
    within = build_of(parts, 1).usd.high
    shown = {one.id for one in advise(small_inputs(), parts, within).options}
    assert build_of(parts, 1).id in shown
    assert build_of(parts, 2).id not in shown
    below = advise(small_inputs(), parts, within - 1)
    assert {one.id for one in below.options} == {SEARCH_ONLY, NOTHING}
    assert below.beyond is not None
    assert below.beyond.id == build_of(parts, 1).id


@pytest.mark.parametrize("budget", [-1.0, float("nan"), float("inf"), 1e30])
def test_a_budget_that_is_none_is_refused(budget):
    with pytest.raises(UsageError, match="--budget is"):
        advise(small_inputs(), REST, budget)


def test_what_fits_for_the_first_time_is_said():
    advice = advise(small_inputs("cpu-13900k-64g", candidates=of_models("qwen3-32b", "qwen3-0.6b")), (*REST, USED_3090))
    bought = next(one for one in advice.options if one.gain > 0)
    moved = next(reason for reason in bought.adds if reason.code == "roles")
    assert "Qwen3 32B" in str(moved.text)
    assert bought.best is not None
    assert bought.best.machine.name == bought.id


def test_an_uncertain_price_is_said():
    sure, unsure = (
        replace(USED_3090, price=price(800, 1500, PriceKind.USED)),
        replace(DISK, price=price(80, date="2025")),
    )
    lonely = replace(CASE, price=Price(UsdRange(100, 100), PriceKind.STREET, ("one shop",), "2026-05"))
    parts = (CPU, BOARD, RAM, MIDDLE, LARGE, lonely, unsure, sure)
    option = next(one for one in advise(small_inputs(), parts).options if one.gain > 0)
    told = {reason.code: str(reason.text) for reason in option.against}
    assert "USED-3090" in told["used"]
    assert "CASE" in told["price.one-source"]
    assert "DISK (2025)" in told["price.old"]


def test_roles_that_get_slower_are_told():
    inputs = small_inputs()
    fast, slow = solve(plan_inputs(("h100-80g",), candidates=MODELS)), solve(inputs)
    roles = [str(reason.text).split()[0] for reason in what_slows(inputs, fast, slow)]
    assert roles == [role.name for role in inputs.roles]
    assert what_slows(inputs, slow, fast) == ()
    assert what_slows(inputs, slow, slow) == ()


@pytest.mark.parametrize("goal", list(Goal))
def test_every_goal_is_answered(goal):
    advice = advise(small_inputs(goal=goal), (*REST, USED_3090, BOX))
    assert advice.goal is goal
    assert advice.recommended in {one.id for one in advice.options}
    assert advice.prices_date == ("2026-05", "2026-05")


def test_the_shortlist_leaves_out_only_what_another_beats():
    inputs = plan_inputs(("rtx-4090-64g",))
    kept = shortlist(inputs, 200 * GIB)
    names = {(one.candidate.model, one.candidate.quantization, one.candidate.format) for one in kept}
    assert 20 < len(names) < len(inputs.candidates) / 4
    assert all(one.candidate.format in {"gguf", "safetensors"} for one in kept)
    strongest = max((one for one in shortlist(inputs, 10**15)), key=lambda one: one.points)
    assert strongest.points >= max(one.points for one in kept)
    named = shortlist(replace(inputs, models=("qwen3-8b",)), 200 * GIB)
    chat = {one.candidate.model for one in named if one.candidate.card and str(one.candidate.card.kind) != "embedding"}
    assert chat == {"qwen3-8b"}
