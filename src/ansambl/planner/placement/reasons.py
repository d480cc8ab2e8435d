"""What speaks for and against an option, in sentences with their sources."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ansambl.domain.catalog import Basis
from ansambl.domain.compatibility import Verdict
from ansambl.domain.figures import figure
from ansambl.domain.footprint import Reason
from ansambl.domain.planning import Goal, PlannedPlacement, PlanOption
from ansambl.domain.text import text
from ansambl.domain.units import format_bytes
from ansambl.planner.fitting import expert_layers_in_ram, layers_in_ram
from ansambl.planner.placement.inputs import PlanInputs
from ansambl.planner.placement.rules import OWN_RULE
from ansambl.planner.placement.variants import Variant

SHARED_PREFIX = "Ansambl's layout of prompts: what makes a role comes last, so what comes before it is prefilled once"
"""Why roles on one model share."""


CLOSE = 0.02
"""Options whose points differ by this share of them are equally good."""


def about_placement(
    variant: Variant, placement: PlannedPlacement, title: str | None = None
) -> tuple[list[Reason], list[Reason]]:
    """For and against one placement of an option: strength with its basis, speed, doubts."""
    name = title or placement.candidate.model
    good = [Reason("strength", text("{model} in {quantization}: strength {points} points (ten are a doubling)",
                                    model=name, quantization=placement.candidate.quantization,
                                    points=f"{variant.strength.points:.0f}"), OWN_RULE)]  # fmt: skip
    good.extend(variant.strength.basis)
    bad: list[Reason] = []
    decode = placement.speed.decode
    if decode is None:
        bad.append(Reason("speed-unknown", text("{model}: the speed is unknown", model=name),
                          placement.speed.reasons[0].source if placement.speed.reasons else OWN_RULE))  # fmt: skip
    else:
        good.append(
            Reason("speed", text("{model}: {expected} tokens/s expected ({low} to {high})", model=name,
                                 expected=figure(decode.expected, ".3g"), low=figure(decode.low, ".3g"),
                                 high=figure(decode.high, ".3g")), "planner.speed")
        )  # fmt: skip
    layers = layers_in_ram(placement)
    experts = expert_layers_in_ram(placement)
    if layers or experts:
        bad.append(
            Reason(
                "in-ram",
                text(
                    "{model}: {layers} layers lie in RAM with all or their experts, so it is slower "
                    "than on the GPU alone",
                    model=name,
                    layers=max(layers, experts),
                ),
                "llama.cpp --n-cpu-moe, --n-gpu-layers",
            )
        )
    if placement.candidate.basis is not Basis.REPORTED:
        bad.append(Reason("size-derived", text("{model}: nobody reports the size of this file; it is worked out",
                                               model=name), placement.candidate.source))  # fmt: skip
    bad.extend(one for one in placement.footprint.reasons if one.code == "context-beyond-model")
    if variant.judgement.verdict in {Verdict.UNKNOWN, Verdict.SLOW}:
        bad.extend(variant.judgement.reasons[:1])
    return good, bad


def second_machine_absent(rejected: Sequence[Reason]) -> tuple[Reason, ...]:
    """What is told of a second machine when one is given: what it would change, and who counts the rest."""
    told = [
        Reason("second-machine.adds", text("its memory comes on top: the big model stays where it is, and quick or "
                                           "special roles get a model of their own there"), OWN_RULE),
        Reason("second-machine.advice", text("what to buy, and what each machine would add, is worked out by: ansambl "
                                             "buy"), "ansambl buy"),
        Reason("second-machine.try", text("to plan with a second machine, name both: --machine FIRST --machine SECOND"),
               "ansambl plan --help"),
    ]  # fmt: skip
    large = next((one for one in rejected if one.code in {"rejected.too-large", "rejected.does-not-fit"}), None)
    if large is not None:
        told.append(Reason("second-machine.too-large", text("what does not fit here today: {what}", what=large.text),
                           large.source))  # fmt: skip
    return tuple(told)


def swaps_assumed(inputs: PlanInputs, swaps: float) -> Reason:
    """How swaps were counted."""
    return Reason(
        "swaps", text("about {swaps} swaps an hour, if {requests} requests an hour ask for roles in random order",
                      swaps=figure(swaps, ".1f"), requests=figure(inputs.requests_per_hour, "g")),
        "assumption: each request's role is drawn by weight, whatever came before",
    )  # fmt: skip


def missing_helper(role: str, wants: str) -> Reason:
    """What it means that a helper has no placement."""
    if wants == "task":
        return Reason(
            "helper-missing",
            text("no small model of its own for {role}: the resident chat model answers them", role=role),
            OWN_RULE,
        )
    return Reason("helper-missing", text("no placement for {role}: what needs it will not work", role=role), OWN_RULE)


def recommended_option(goal: Goal, options: Sequence[PlanOption], roles: Collection[str]) -> PlanOption | None:
    """The option of the most points, or one with fewer models for the roles that is as good as that; None: none fits.

    Points follow a rule and no measurement, so a difference below `CLOSE` says nothing, and the roles of fewer models
    share more prefixes. Who plans for the goal parallel asks for several. `roles` are the names that count; helpers are
    not among them.
    """
    fitting = [one for one in options if one.fits]
    best = max(fitting, key=lambda one: one.rank or 0.0, default=None)
    if best is None or goal is Goal.PARALLEL:
        return best
    # Points of the weakest models are below zero.
    most = best.rank or 0.0
    close = [one for one in fitting if (one.rank or 0.0) >= most - CLOSE * abs(most)]

    def models(one: PlanOption) -> int:
        return len({where for role, where in one.roles.items() if role in roles})

    return min(close, key=lambda one: (models(one), one is not best))


def why_recommended(goal: Goal, options: Sequence[PlanOption], best: PlanOption | None) -> tuple[Reason, ...]:
    """Why an option is recommended, and what the others reach."""
    if best is None:
        return (Reason("nothing", text("nothing fits; each option says why"), OWN_RULE),)
    goals = {
        Goal.DEPTH: text("for the goal depth the strength of the answers counts, the worst served role twice over"),
        Goal.PARALLEL: text("for the goal parallel the speed of all roles at once counts most"),
        Goal.BALANCED: text("for the goal balanced strength and the speed of all roles at once count"),
        Goal.NO_SWAP: text("for the goal no-swap everything stays in memory, then strength and speed count"),
    }
    told = [
        Reason("goal", goals[goal], OWN_RULE),
        Reason("rank", text("{title}: {rank} points over all roles", title=best.title, rank=f"{best.rank or 0:.0f}"),
               OWN_RULE),
    ]  # fmt: skip
    told.extend(
        Reason("rank-other", text("{title}: {rank} points", title=one.title, rank=f"{one.rank or 0:.0f}"), OWN_RULE)
        for one in sorted(options, key=lambda one: (-(one.rank or 0.0), one.id))
        if one.fits and one.id != best.id
    )
    if any((one.rank or 0.0) > (best.rank or 0.0) for one in options if one.fits):
        told.append(
            Reason("close", text("within {percent} % of the most points, the option with the fewest models is taken: "
                                 "more roles share what was read", percent=round(100 * CLOSE)), OWN_RULE)
        )  # fmt: skip
    told.append(
        Reason("rule", text("points follow a stated rule (parameters, release date, bits, language, speed), not a "
                            "measurement; see what speaks for each option"), OWN_RULE)
    )  # fmt: skip
    return tuple(told)


def beside_first(strongest: Variant, first: Variant) -> tuple[list[Reason], list[Reason]]:
    """What speaks for and against the model that needs the RAM, beside that of the first option."""
    gained = strongest.strength.points - first.strength.points
    size = format_bytes(strongest.placement.candidate.weights.total)
    good = [
        Reason("larger", text("{size} of weights, more than the GPUs alone can hold", size=size),
               strongest.placement.candidate.source)
    ]  # fmt: skip
    if gained >= 0:
        good.append(
            Reason("stronger", text("{points} points above the first option", points=f"{gained:.0f}"), OWN_RULE)
        )
        return good, []
    against = text("by the stated rule it is {points} points weaker than the first option", points=f"{-gained:.0f}")
    return good, [Reason("not-stronger", against, OWN_RULE)]
