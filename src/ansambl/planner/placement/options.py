"""The options of a plan, always side by side, each solved by itself, and the one that is recommended."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ansambl.domain.figures import figure
from ansambl.domain.footprint import Reason
from ansambl.domain.planning import Goal, Plan, PlanOption
from ansambl.domain.text import Text, text
from ansambl.domain.units import format_bytes
from ansambl.planner.placement.assembly import Chosen, assemble
from ansambl.planner.placement.build import UNITS, Built, build
from ansambl.planner.placement.following import with_followers, without_followers
from ansambl.planner.placement.inputs import PlanInputs, distinct_machines
from ansambl.planner.placement.problem import Answer, Limits, value
from ansambl.planner.placement.program import solve as run_program
from ansambl.planner.placement.reasons import (
    SHARED_PREFIX,
    about_placement,
    beside_first,
    missing_helper,
    recommended_option,
    second_machine_absent,
    swaps_assumed,
    why_recommended,
)
from ansambl.planner.placement.refusals import Refusals
from ansambl.planner.placement.rules import OWN_RULE
from ansambl.planner.placement.variants import Variant, find_variants

ONE_BIG, SEVERAL, SECOND, STRONGEST, TURNS = "one-big", "several", "second-machine", "vram-and-ram", "swap-group"
"""The ids of the options; scripts may rely on them."""

# A slowdown below this is none.
_AS_FAST = 1.05
# Points below which two models count as equally strong.
_STRONGER = 1.0


@dataclass(slots=True)
class _Solved:
    """What has been found so far, so that later options are compared with the first."""

    inputs: PlanInputs
    built: Built
    rejected: tuple[Reason, ...]
    first: Chosen | None = None
    home: int = 0


def solve(inputs: PlanInputs) -> Plan:
    """The plan for the inputs: all options, and which one is recommended and why.

    The same inputs in another order give the same plan.

    Raises:
        UsageError: a setting or the KV type makes no sense, or a pinned or wanted model is not among the candidates.
    """
    followers = {role.name: role.follows for role in inputs.roles if role.follows is not None}
    inputs = replace(without_followers(inputs), machines=distinct_machines(inputs.machines))
    refusals = Refusals()
    variants = find_variants(inputs, refusals)
    solved = _Solved(inputs, build(inputs, variants), refusals.told(inputs.sizeless))
    options = [_one_big(solved), _several(solved), _second_machine(solved)]
    strongest = _strongest(solved)
    if strongest is not None:
        options.append(strongest)
    if inputs.goal is not Goal.NO_SWAP:
        turns = _turns(solved, options)
        if turns is not None:
            options.append(turns)
    options = [with_followers(one, followers) for one in options]
    best = recommended_option(inputs.goal, options, {role.name for role in inputs.roles})
    return Plan(
        machines=inputs.machines, goal=inputs.goal, options=tuple(options),
        recommended=None if best is None else best.id, why=why_recommended(inputs.goal, options, best),
        rejected=solved.rejected,
    )  # fmt: skip


def _answer(solved: _Solved, limits: Limits, above: int | None = None) -> Answer | None:
    pinned = set(solved.inputs.pinned)
    if not pinned <= set(solved.built.kinds):
        return None
    needed = frozenset(number for number, name in enumerate(solved.built.kinds) if name in pinned)
    return run_program(solved.built.problem, replace(limits, needed=needed), above)


def _option(
    solved: _Solved, option_id: str, title: Text, chosen: Chosen, good: list[Reason], bad: list[Reason]
) -> PlanOption:
    """An option from what was chosen, with what its placements say of themselves after what the option says."""
    mains = {chosen.roles[role.name] for role in solved.inputs.roles}
    for placement in chosen.placements:
        if placement.id in mains:
            more_good, more_bad = about_placement(chosen.variants[placement.id], placement)
            good.extend(more_good)
            bad.extend(more_bad)
    for role in solved.inputs.helpers:
        if role.name in chosen.roles:
            helper = next(one for one in chosen.placements if one.id == chosen.roles[role.name])
            good.append(Reason("helper", text("{model} serves {role} beside it", model=helper.candidate.model,
                                              role=role.name), OWN_RULE))  # fmt: skip
        else:
            bad.append(missing_helper(role.name, role.wants.value))
    for placement_id, copies in chosen.clones.items():
        good.append(
            Reason(
                "clones",
                text(
                    "roles of a council answer at once on {placement}: {copies} more copies of the "
                    "KV cache are counted",
                    placement=placement_id,
                    copies=copies,
                ),
                OWN_RULE,
            )
        )
    waiting = _waiting(solved, chosen)
    if waiting:
        bad.append(
            Reason(
                "in-turn",
                text(
                    "{roles} answer one after the other in a council: there is no room for copies of the KV cache",
                    roles=", ".join(waiting),
                ),
                OWN_RULE,
            )
        )
    return PlanOption(
        id=option_id,
        title=title,
        placements=chosen.placements,
        roles=chosen.roles,
        prefix_groups=chosen.prefix_groups,
        swaps_expected_per_hour=chosen.swaps,
        speaks_for=tuple(good),
        speaks_against=tuple(bad),
        fits=True,
        clones=chosen.clones,
        slowdown=_slowdown(solved, chosen),
        rank=chosen.rank,
    )


def _waiting(solved: _Solved, chosen: Chosen) -> list[str]:
    """The roles of a council that share a placement which cannot answer them all at once."""
    waiting: list[str] = []
    for placement_id, variant in chosen.variants.items():
        roles = [role.name for role in solved.inputs.roles if role.at_once and chosen.roles[role.name] == placement_id]
        if len(roles) > variant.at_once:
            waiting.extend(roles)
    return waiting


def _slowdown(solved: _Solved, chosen: Chosen) -> float | None:
    """How many times slower a token comes than with the first option; 1 for the first option itself."""
    if solved.first is None:
        return None
    speeds = [one.main_variant.placement.speed.decode for one in (solved.first, chosen)]
    return speeds[0].expected / speeds[1].expected if speeds[0] and speeds[1] else None


def _unfit(option_id: str, title: Text, against: tuple[Reason, ...]) -> PlanOption:
    return PlanOption(id=option_id, title=title, placements=(), roles={}, speaks_against=against, fits=False)


def _one_big(solved: _Solved) -> PlanOption:
    title = text("One big model that all roles share")
    answer = _answer(solved, Limits(most=1))
    if answer is not None:
        main = answer.roles[0]
        solved.home = 0 if main is None else solved.built.variants[main].machine
        # Its helpers stand beside it, on the same machine.
        answer = _answer(solved, Limits(most=1, groups=frozenset({solved.home}))) or answer
    if answer is None:
        return _unfit(ONE_BIG, title, _nothing_fits(solved))
    chosen = solved.first = assemble(solved.inputs, solved.built, answer)
    good = [Reason("shared-prefix", text("all roles run on one model: a change of role costs no reload, and almost no "
                                         "prefill where the roles form a prefix group"), SHARED_PREFIX)]  # fmt: skip
    groups = len({role.head for role in solved.inputs.roles})
    bad = []
    if groups > 1:
        bad.append(
            Reason(
                "prefix-groups",
                text(
                    "the roles differ in tools, effort or format: {count} groups, and a change "
                    "between groups pays a prefill",
                    count=groups,
                ),
                SHARED_PREFIX,
            )
        )
    return _option(solved, ONE_BIG, title, chosen, good, bad)


def _nothing_fits(solved: _Solved) -> tuple[Reason, ...]:
    missing = sorted(set(solved.inputs.pinned) - set(solved.built.kinds))
    if missing:
        return (
            Reason(
                "pinned-missing",
                text("{models} must be held, and no way to run it fits", models=", ".join(missing)),
                OWN_RULE,
            ),
            *solved.rejected[:3],
        )
    if not solved.inputs.candidates:
        return (Reason("no-candidates", text("there is no model to choose from"), OWN_RULE),)
    unserved = [
        role.name for role in solved.inputs.roles
        if all(one.points[role.name] is None for one in solved.built.variants)
    ]  # fmt: skip
    if unserved:
        return (Reason("no-model-for-role", text("no model that fits can serve {roles}", roles=", ".join(unserved)),
                       OWN_RULE), *solved.rejected[:3])  # fmt: skip
    return (Reason("nothing-fits", text("no model fits that serves all roles"), OWN_RULE), *solved.rejected[:3])


def _several(solved: _Solved) -> PlanOption:
    title = text("Several models side by side, without swaps")
    home = frozenset({solved.home})
    answer = _answer(solved, Limits(least=2, groups=home)) if len(solved.inputs.roles) > 1 else None
    alone = _one_with_experts(solved, home)
    if alone is not None and (answer is None or _value(solved, alone) > _value(solved, answer)):
        title = text("One model with experts, without swaps")
        chosen = assemble(solved.inputs, solved.built, alone)
        good = [
            Reason(
                "experts",
                text("of a model with experts a token reads only a part: many roles at once stay quick"),
                "planner.speed",
            )
        ]
        return _option(solved, SEVERAL, title, chosen, good, [])
    if answer is None:
        if len(solved.inputs.roles) < 2:
            reason = text("there is one role, so one model is enough")
        else:
            reason = text("two models do not find room beside each other")
        return _unfit(SEVERAL, title, (Reason("no-room", reason, OWN_RULE),))
    chosen = assemble(solved.inputs, solved.built, answer)
    good = [
        Reason("own-models", text("each role has the model that serves it best: {roles}", roles=_who(solved, chosen)),
               OWN_RULE),
        Reason("no-swaps", text("all stay in memory: no role ever waits for a model to load"), OWN_RULE),
    ]  # fmt: skip
    bad = [
        Reason(
            "no-shared-prefix",
            text("a conversation that goes on with a role on another model is prefilled there anew"),
            SHARED_PREFIX,
        )
    ]
    bad.extend(_weaker(solved, chosen))
    return _option(solved, SEVERAL, title, chosen, good, bad)


def _one_with_experts(solved: _Solved, home: frozenset[int]) -> Answer | None:
    """One model with experts on the GPUs, where that is another than the first option's; only where speed counts."""
    if solved.inputs.goal not in {Goal.NO_SWAP, Goal.PARALLEL} or solved.first is None:
        return None
    first = solved.first.main_variant.model
    mains = frozenset(
        number for number, one in enumerate(solved.built.variants)
        if one.placement.candidate.architecture.experts and one.on_gpus and one.model != first
    )  # fmt: skip
    return _answer(solved, Limits(most=1, groups=home, mains=mains)) if mains else None


def _who(solved: _Solved, chosen: Chosen) -> str:
    models = {one.id: one.candidate.model for one in chosen.placements}
    return ", ".join(f"{role.name}: {models[chosen.roles[role.name]]}" for role in solved.inputs.roles)


def _weaker(solved: _Solved, chosen: Chosen) -> list[Reason]:
    if solved.first is None:
        return []
    lost = solved.first.main_variant.strength.points - chosen.main_variant.strength.points
    if lost < _STRONGER:
        return []
    return [Reason("weaker", text("memory is divided: its strongest model is {points} points weaker than that of the "
                                  "first option", points=f"{lost:.0f}"), OWN_RULE)]  # fmt: skip


def _second_machine(solved: _Solved) -> PlanOption:
    if len(solved.inputs.machines) < 2:
        return _unfit(SECOND, text("A second machine"), second_machine_absent(solved.rejected))
    title = text("The roles spread over the machines")
    answer = _answer(solved, Limits(least=2, spread=2)) if len(solved.inputs.roles) > 1 else None
    if answer is None:
        return _unfit(SECOND, title, (Reason("no-spread", text("no two machines can each hold a model for a role"),
                                             OWN_RULE), *solved.rejected[:2]))  # fmt: skip
    chosen = assemble(solved.inputs, solved.built, answer)
    machines = sorted({one.machine.name for one in chosen.placements})
    good = [
        Reason("machines", text("{machines} work at the same time: {roles}", machines=", ".join(machines),
                                roles=_who(solved, chosen)), OWN_RULE),
        Reason("no-swaps", text("all stay in memory: no role ever waits for a model to load"), OWN_RULE),
    ]  # fmt: skip
    bad = [
        Reason("two-machines", text("both machines must be on, and the network between them is part of each answer"),
               OWN_RULE),
        Reason("no-shared-prefix", text("a conversation that goes on with a role on another model is prefilled there "
                                        "anew"), SHARED_PREFIX),
    ]  # fmt: skip
    bad.extend(_weaker(solved, chosen))
    return _option(solved, SECOND, title, chosen, good, bad)


def _strongest(solved: _Solved) -> PlanOption | None:
    """The strongest model that is too large for the GPUs alone and that VRAM and RAM of one machine hold together."""
    first, built = solved.first, solved.built
    if first is None:
        return None

    def order(number: int) -> tuple[float, float, int]:
        one = built.variants[number]
        decode = one.placement.speed.decode
        return (-one.strength.points, -(decode.expected if decode else 0.0), number)

    able = [number for number, one in enumerate(built.variants)
            if _serves_all(solved, one) and one.machine == solved.home and _is_beyond_gpus(one)]  # fmt: skip
    # The program decides on helpers; which model comes first is decided by strength alone.
    for number in sorted(able, key=order):
        if built.variants[number].model == first.main_variant.model:
            # It is the first option already.
            return None
        answer = _answer(solved, Limits(most=1, groups=frozenset({solved.home}), mains=frozenset({number})))
        if answer is None:
            continue
        chosen = assemble(solved.inputs, built, answer)
        good, bad = beside_first(built.variants[number], first.main_variant)
        slower = _slowdown(solved, chosen)
        if slower is None:
            told = text("a part lies in RAM; how much slower that is, is unknown")
        elif slower < _AS_FAST:
            told = text("a part lies in RAM; a token takes no longer than in the first option, whose model is denser")
        else:
            told = text("a part lies in RAM: a token takes about {factor} times as long as in the first option",
                        factor=figure(slower, ".1f"))  # fmt: skip
        bad.append(Reason("slowdown", told, "planner.speed"))
        return _option(
            solved, STRONGEST, text("The strongest model that GPU memory and RAM hold together"), chosen, good, bad
        )
    return None


def _is_beyond_gpus(variant: Variant) -> bool:
    gpus = variant.placement.machine.gpus
    return bool(gpus) and not variant.on_gpus and (
        variant.placement.candidate.weights.total > sum(gpu.memory for gpu in gpus)
    )  # fmt: skip


def _serves_all(solved: _Solved, variant: Variant) -> bool:
    return all(variant.points[role.name] is not None for role in solved.inputs.roles)


def _turns(solved: _Solved, others: list[PlanOption]) -> PlanOption | None:
    """Models that take turns in one memory, where that is better than everything that stays resident."""
    ranks = [one.rank for one in others[:2] if one.rank is not None]
    above = round(max(ranks) * UNITS) if ranks else None
    if len(solved.inputs.roles) < 2:
        return None
    answer = _answer(solved, Limits(least=2, groups=frozenset({solved.home}), swaps=True), above)
    if answer is None or not answer.swapped or (above is not None and _value(solved, answer) <= above):
        return None
    chosen = assemble(solved.inputs, solved.built, answer)
    good = [
        Reason(
            "own-models",
            text("each role has the model that serves it best: {roles}", roles=_who(solved, chosen)),
            OWN_RULE,
        )
    ]
    largest = max(one.candidate.size for one in chosen.placements if one.residency.value == "swapped")
    bad = [
        swaps_assumed(solved.inputs, chosen.swaps),
        Reason(
            "loading",
            text("each swap reads up to {size} from the disk or the page cache", size=format_bytes(largest)),
            "size of the checkpoint",
        ),
    ]
    return _option(solved, TURNS, text("Models that take turns in one memory"), chosen, good, bad)


def _value(solved: _Solved, answer: Answer) -> int:
    return value(solved.built.problem, answer)


__all__ = ["ONE_BIG", "SECOND", "SEVERAL", "STRONGEST", "TURNS", "solve"]
