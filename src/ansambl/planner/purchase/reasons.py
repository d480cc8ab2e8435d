"""What a build changes, in sentences: a plan with it compared with the plan without it, and what speaks against it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ansambl.domain.figures import figure
from ansambl.domain.footprint import Reason
from ansambl.domain.planning import Plan, PlannedPlacement, PlanOption
from ansambl.domain.purchase import Build, PriceKind
from ansambl.domain.speed import SpeedRange
from ansambl.domain.text import Text, text
from ansambl.domain.units import rate_figure
from ansambl.planner.placement.inputs import PlanInputs
from ansambl.planner.placement.rules import OWN_RULE

COMPARED = "the plan with it compared with the plan without it"
"""The source of what a build adds."""

PRICES = "prices.toml"
"""The source of what is said about prices; each part names its own."""

_WATTS = (
    "the parts' data sheets; a build has 100 W more for board, RAM and disks (365retail.co.uk/?p=29465: 100 to 200 W)"
)

# A speed less than this factor better is the same speed, and a price this much above its low end is uncertain.
_FASTER, _WIDE = 1.1, 1.5
# Notes that tell where a figure is from, which nobody must weigh.
_FIGURES = ("device:", "watts:", "bandwidth:")
_TOO_LARGE = frozenset({"rejected.too-large", "rejected.does-not-fit"})


def placed(option: PlanOption, role: str) -> PlannedPlacement | None:
    """The placement that a role runs on."""
    wanted = option.roles.get(role)
    return next((one for one in option.placements if one.id == wanted), None)


def what_it_adds(inputs: PlanInputs, before: Plan, after: Plan, gain: float) -> tuple[Reason, ...]:
    """What the plan with a build has over the plan without it, the sum in points first."""
    new, old = after.best, before.best
    if new is None:
        return ()
    told = [
        Reason("gain", text("{points} points more for the goal {goal}; ten points are a model of twice the parameters "
                            "for one role", points=figure(gain, ".1f"), goal=str(after.goal)), OWN_RULE)
    ]  # fmt: skip
    told.extend(_roles_that_move(inputs, old, new))
    told.extend(_now_fitting(before, new))
    if old is None:
        return tuple(told)
    told.extend(_slowest(inputs, old, new))
    at_once = [len({one.roles[role.name] for role in inputs.roles}) for one in (old, new)]
    if at_once[1] > at_once[0]:
        told.append(Reason("at-once", text("{count} models answer roles at the same time instead of {before}",
                                           count=at_once[1], before=at_once[0]), COMPARED))  # fmt: skip
    told.extend(_council(old, new))
    if old.swaps_expected_per_hour > new.swaps_expected_per_hour:
        told.append(
            Reason("swaps", text("swaps an hour fall from about {before} to {after}",
                                 before=figure(old.swaps_expected_per_hour, ".1f"),
                                 after=figure(new.swaps_expected_per_hour, ".1f")), COMPARED)
        )  # fmt: skip
    told.extend(
        Reason("helper", text("{role} gets a model of its own; before, there was no room for one", role=helper.name),
               COMPARED)
        for helper in inputs.helpers if helper.name in new.roles and helper.name not in old.roles
    )  # fmt: skip
    return tuple(told)


def what_slows(inputs: PlanInputs, before: Plan, after: Plan) -> tuple[Reason, ...]:
    """Roles whose answers come more slowly in the plan with the build."""
    new, old = after.best, before.best
    if new is None or old is None:
        return ()
    told = []
    for role in inputs.roles:
        pair = [one.speed.decode if (one := placed(option, role.name)) else None for option in (old, new)]
        if pair[0] is not None and pair[1] is not None and pair[0].expected > pair[1].expected * _FASTER:
            words = text("{role} answers more slowly: {after} tokens/s instead of {before}", role=role.name,
                         after=rate_figure(pair[1].expected), before=rate_figure(pair[0].expected))  # fmt: skip
            told.append(Reason("slower", words, COMPARED))
    return tuple(told)


def what_speaks_against(build: Build, *, two_machines: bool, newest: str | None) -> tuple[Reason, ...]:
    """Power, how sure the prices are, and what a second machine brings with it."""
    told: list[Reason] = []
    if build.watts is None:
        told.append(Reason("watts-unknown", text("how much power it draws is unknown"), OWN_RULE))
    else:
        told.append(Reason("watts", text("it draws up to {watts} W", watts=build.watts), _WATTS))
    if two_machines:
        told.append(Reason("two-machines", text("both machines must be on, and the network between them is part of "
                                                "each answer"), OWN_RULE))  # fmt: skip
    used = [part.title for part, _ in build.parts if part.price.kind is PriceKind.USED]
    if used:
        told.append(Reason("used", text("used, mostly without a warranty: {parts}", parts=", ".join(used)),
                           PRICES))  # fmt: skip
    single = [part.title for part, _ in build.parts
              if part.price.date is not None and len(part.price.sources) == 1]  # fmt: skip
    if single:
        told.append(Reason("price.one-source", text("only one source tells the price of: {parts}",
                                                    parts=", ".join(single)), PRICES))  # fmt: skip
    for part, _ in build.parts:
        told.extend(
            Reason("part.note", text("{part}: {note}", part=part.title, note=note), PRICES)
            for note in part.notes if not note.startswith(_FIGURES)
        )  # fmt: skip
    old = [f"{part.title} ({part.price.date})" for part, _ in build.parts if _older(part.price.date, newest)]
    if old:
        told.append(Reason("price.old", text("these prices are older than the newest ones ({newest}) or say only the "
                                             "year: {parts}", newest=newest, parts=", ".join(old)),
                           PRICES))  # fmt: skip
    usd = build.usd
    if usd.high > usd.low * _WIDE:
        told.append(Reason("price.wide", text("its price is uncertain: {low} to {high} USD", low=f"{usd.low:.0f}",
                                              high=f"{usd.high:.0f}"), PRICES))  # fmt: skip
    return tuple(told)


def best_on(build: Build, plan: Plan, strengths: Mapping[str, float]) -> PlannedPlacement | None:
    """The strongest placement that serves on the build itself, of the recommended option before the others."""
    options = sorted(plan.options, key=lambda one: one.id != plan.recommended)
    for option in options:
        serving = set(option.roles.values())
        here = [one for one in option.placements if one.machine.name == build.machine.name and one.id in serving]
        if here:
            return max(here, key=lambda one: (strengths.get(one.candidate.model, 0.0), one.id))
    return None


def speed_words(speed: SpeedRange | None) -> Text:
    """A decode speed in a sentence."""
    return text("speed unknown") if speed is None else text("{speed} tokens/s", speed=rate_figure(speed.expected))


def _roles_that_move(inputs: PlanInputs, old: PlanOption | None, new: PlanOption) -> Iterable[Reason]:
    moved: dict[tuple[str, str], list[str]] = {}
    texts: dict[tuple[str, str], tuple[PlannedPlacement, PlannedPlacement | None]] = {}
    for role in inputs.roles:
        after, before = placed(new, role.name), placed(old, role.name) if old else None
        if after is None or (before is not None and _same(before, after)):
            continue
        key = (after.id, before.id if before else "")
        moved.setdefault(key, []).append(role.name)
        texts[key] = (after, before)
    for key, roles in moved.items():
        after, before = texts[key]
        common = {"roles": ", ".join(roles), "model": _named(after), "machine": after.machine.title,
                  "speed": speed_words(after.speed.decode)}  # fmt: skip
        if before is None:
            yield Reason(
                "roles", text("{roles}: {model} on {machine} ({speed}); today nothing fits", **common), COMPARED
            )
        else:
            yield Reason("roles", text("{roles}: {model} on {machine} ({speed}) instead of {before} ({before_speed})",
                                       before=_named(before), before_speed=speed_words(before.speed.decode), **common),
                         COMPARED)  # fmt: skip


def _same(first: PlannedPlacement, second: PlannedPlacement) -> bool:
    return (
        first.candidate == second.candidate
        and first.engine == second.engine
        and first.machine.name == second.machine.name
        and first.speed.decode == second.speed.decode
    )


def _named(placement: PlannedPlacement) -> str:
    return f"{placement.candidate.title} {placement.candidate.quantization}"


def _now_fitting(before: Plan, new: PlanOption) -> Iterable[Reason]:
    """Checkpoints that serve roles now and were refused before because they are too large."""
    held = {one.candidate.model for option in before.options for one in option.placements}
    refused = {
        (one.text.values.get("model"), one.text.values.get("quantization")): one
        for one in before.rejected if one.code in _TOO_LARGE
    }  # fmt: skip
    told: set[str] = set()
    for placement in new.placements:
        candidate = placement.candidate
        reason = refused.get((candidate.model, candidate.quantization))
        if reason is not None and candidate.model not in held and candidate.model not in told:
            told.add(candidate.model)
            words = text("{model} did not fit before: {why}", model=_named(placement), why=reason.text)
            yield Reason("fits-now", words, reason.source)


def _slowest(inputs: PlanInputs, old: PlanOption, new: PlanOption) -> Iterable[Reason]:
    lowest: list[float] = []
    for option in (old, new):
        speeds = [one.speed.decode for role in inputs.roles if (one := placed(option, role.name)) is not None]
        known = [one.expected for one in speeds if one is not None]
        if len(known) < len(speeds) or not known:
            return
        lowest.append(min(known))
    if lowest[1] > lowest[0] * _FASTER:
        words = text("the slowest role answers with {after} tokens/s instead of {before}",
                     after=rate_figure(lowest[1]), before=rate_figure(lowest[0]))  # fmt: skip
        yield Reason("slowest", words, COMPARED)


def _council(old: PlanOption, new: PlanOption) -> Iterable[Reason]:
    waiting = [next((one for one in option.speaks_against if one.code == "in-turn"), None) for option in (old, new)]
    if waiting[0] is not None and waiting[1] is None:
        yield Reason("council", text("all roles of a council answer at once; before, {roles} answered one after the "
                                     "other", roles=waiting[0].text.values.get("roles", "")), COMPARED)  # fmt: skip


def _older(date: str | None, newest: str | None) -> bool:
    """Whether a price says only the year, or is three months or more older than the newest."""
    if date is None or newest is None:
        return False
    if len(date) < 7 or len(newest) < 7:
        return len(date) < 7
    months = [int(one[:4]) * 12 + int(one[5:7]) for one in (date, newest)]
    return months[1] - months[0] >= 3
