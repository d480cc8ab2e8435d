"""Which second machine adds most for the goal, dollar for dollar: plans with a build compared with the plan without."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ansambl.domain.errors import UsageError
from ansambl.domain.footprint import Reason
from ansambl.domain.planning import Plan
from ansambl.domain.purchase import Advice, Build, Part, PurchaseOption
from ansambl.domain.text import Text, text
from ansambl.planner.placement.bounds import good_answer
from ansambl.planner.placement.build import UNITS
from ansambl.planner.placement.build import build as as_numbers
from ansambl.planner.placement.inputs import PlanInputs
from ansambl.planner.placement.options import solve
from ansambl.planner.placement.problem import Limits, value
from ansambl.planner.placement.refusals import Refusals
from ansambl.planner.placement.rules import OWN_RULE
from ansambl.planner.placement.variants import find_variants
from ansambl.planner.purchase.builds import find_builds, useful
from ansambl.planner.purchase.reasons import (
    best_on,
    placed,
    speed_words,
    what_it_adds,
    what_slows,
    what_speaks_against,
)
from ansambl.planner.purchase.search_machine import search_machine, search_option
from ansambl.planner.purchase.shortlist import Rated, guess, shortlist, worth_trying

NOTHING = "nothing"
"""The id of the option to buy nothing."""

LEAST_GAIN = 1.0
"""Points below which a build adds nothing: the rule of points cannot tell less than a tenth of a doubling."""

MOST_PLANNED = 4
"""Builds for which whole plans are made."""

UNASKED_USD = 16_000.0
"""The dearest build that is looked at when no budget is said: one of the largest cards in a plain machine."""

MOST_USD = 10_000_000.0
"""The greatest budget that is read as one."""

# Builds over the budget that are looked at, from the cheapest, for one that would add something.
_BEYOND = 4


def advise(inputs: PlanInputs, parts: Iterable[Part], budget: float | None = None) -> Advice:
    """The options for a second machine beside `inputs.machines`, best first; a build is ranked by its gain per dollar.

    `budget` is in US dollars, None is no limit; a build is within it when the high end of its price is.

    Raises:
        UsageError: the budget is no amount of money, or the inputs make no sense.
    """
    if budget is not None and not (math.isfinite(budget) and 0 <= budget <= MOST_USD):
        raise UsageError(
            text("--budget is {value}; give US dollars from 0 to {most}", value=budget, most=f"{MOST_USD:.0f}")
        )
    parts = tuple(parts)
    dates = _price_dates(parts)
    newest = dates[1] if dates else None
    builds = find_builds(parts)
    candidates = useful(builds)
    rated = shortlist(inputs, _largest(inputs, builds))
    short = replace(inputs, candidates=tuple(one.candidate for one in rated))
    strengths = {one.candidate.model: one.points for one in reversed(rated)}
    before = solve(short)
    small = search_machine(builds)
    strong = [one for one in candidates if one.machine.gpus]
    affordable = [one for one in strong if one.usd.high <= (UNASKED_USD if budget is None else budget)]
    today = _roughly(short)
    tried = worth_trying(affordable, rated, short)
    promising = _promising(short, today, tried, rated)
    options = [_option(short, before, one, strengths, newest) for one in promising]
    gaining = [one for one in options if one.gain >= LEAST_GAIN]
    best = _undominated(gaining)
    best.sort(key=lambda one: (-(one.per_1000_usd or 0.0), one.id))
    beyond = None
    if budget is not None:
        over = worth_trying([one for one in strong if one.usd.high > budget], rated, short)
        beyond = _first_beyond(short, before, today, over, strengths, newest)
    search = [] if small is None else [search_option(short, before, small, budget=budget, newest=newest)]
    nothing = _nothing(short, before, bool(best))
    return Advice(
        machines=inputs.machines, goal=inputs.goal, budget=budget,
        prices_date=dates,
        options=(*best, *search, nothing), recommended=_choice(best, search, budget),
        left_out={
            "as-good": len(builds) - len(candidates), "promises-less": len(affordable) - len(tried),
            "tried": len(tried) - len(best),
        },
        beyond=beyond, notes=_notes(parts, budget),
    )  # fmt: skip


def _largest(inputs: PlanInputs, builds: Iterable[Build]) -> int:
    """The most bytes of memory that any machine has, which no checkpoint can be larger than."""
    machines = (*inputs.machines, *(one.machine for one in builds))
    return max(one.memory for one in machines)


def _option(
    inputs: PlanInputs, before: Plan, build: Build, strengths: Mapping[str, float], newest: str | None
) -> PurchaseOption:
    after = solve(replace(inputs, machines=(*inputs.machines, build.machine)))
    new, old = after.best, before.best
    gain = 0.0 if new is None else (new.rank or 0.0) - (old.rank or 0.0 if old else 0.0)
    return PurchaseOption(
        build.id, text("{build}", build=build.title), build, gain=gain, plan=after,
        best=best_on(build, after, strengths), adds=what_it_adds(inputs, before, after, gain),
        against=(*what_slows(inputs, before, after), *what_speaks_against(build, two_machines=True, newest=newest)),
    )  # fmt: skip


def _undominated(options: Sequence[PurchaseOption]) -> list[PurchaseOption]:
    """The options less those that a cheaper one gains as much as, or less than `LEAST_GAIN` less."""
    return [one for one in options if not any(_beats(other, one) for other in options if other is not one)]


def _beats(first: PurchaseOption, second: PurchaseOption) -> bool:
    if first.build is None or second.build is None:
        return False
    usd, other = first.build.usd, second.build.usd
    if (usd.middle, usd.high) == (other.middle, other.high):
        return (first.gain, second.id) > (second.gain, first.id)
    return usd.middle <= other.middle and usd.high <= other.high and first.gain > second.gain - LEAST_GAIN


def _roughly(inputs: PlanInputs, build: Build | None = None) -> float:
    """Points of a good plan, not always the best one, with a build or without: a tenth of the time of a whole plan."""
    machines = inputs.machines if build is None else (*inputs.machines, build.machine)
    question = replace(inputs, machines=machines)
    problem = as_numbers(question, find_variants(question, Refusals())).problem
    answer = good_answer(problem, Limits(), range(len(problem.columns)))
    return 0.0 if answer is None else value(problem, answer) / UNITS


def _promising(inputs: PlanInputs, today: float, builds: Sequence[Build], rated: Sequence[Rated]) -> list[Build]:
    """Of the builds that gain something by a rough plan, more than every cheaper one, those with most for a dollar.

    A rough plan may miss a gain: places that are left go to the builds that promise most by themselves.
    """
    found: list[tuple[float, Build]] = []
    best = 0.0
    for build in builds:
        gain = _roughly(inputs, build) - today
        if gain >= LEAST_GAIN and gain > best:
            found.append((gain / build.usd.middle, build))
            best = gain
    found.sort(key=lambda pair: (-pair[0], pair[1].id))
    chosen = [build for _, build in found[:MOST_PLANNED]]
    others = sorted((-guess(one, rated, inputs), one.usd.middle, one.id) for one in builds if one not in chosen)
    more = {one_id for _, _, one_id in others[: MOST_PLANNED - len(chosen)]}
    return [*chosen, *(one for one in builds if one.id in more)]


def _first_beyond(
    inputs: PlanInputs, before: Plan, today: float, over: Sequence[Build], strengths: Mapping[str, float],
    newest: str | None,
) -> PurchaseOption | None:  # fmt: skip
    """The cheapest build over the budget that adds something, of the first that promise anything."""
    for build in over[:_BEYOND]:
        if _roughly(inputs, build) - today >= LEAST_GAIN:
            return _option(inputs, before, build, strengths, newest)
    return None


def _choice(best: Sequence[PurchaseOption], search: Sequence[PurchaseOption], budget: float | None) -> str:
    if best:
        return best[0].id
    for one in search:
        # Without room for an embedding model there is no search at all, which is worth a small machine.
        needed = any(reason.code == "search-at-all" for reason in one.adds)
        if needed and one.build is not None and (budget is None or one.build.usd.high <= budget):
            return one.id
    return NOTHING


def _nothing(inputs: PlanInputs, before: Plan, others: bool) -> PurchaseOption:
    today = before.best
    adds: list[Reason] = []
    if today is None:
        against = [Reason("nothing-fits", text("today no model fits that serves all roles"), OWN_RULE)]
    else:
        main = placed(today, inputs.roles[0].name)
        if main is not None:
            adds.append(Reason("today", text("today {role} runs on {model} {quantization} ({speed}), for no more money",
                                             role=inputs.roles[0].name, quantization=main.candidate.quantization,
                                             model=main.candidate.title,
                                             speed=speed_words(main.speed.decode)), "ansambl plan"))  # fmt: skip
        against = []
    if not others:
        adds.append(Reason("no-gain", text("no build within the budget adds a point for the goal {goal}",
                                           goal=str(inputs.goal)), OWN_RULE))  # fmt: skip
    return PurchaseOption(NOTHING, text("Buy nothing"), adds=tuple(adds), against=tuple(against))


def _price_dates(parts: Sequence[Part]) -> tuple[str, str] | None:
    """The oldest and the newest date of the prices; of one year a month is newer than the year alone."""
    dates = [part.price.date for part in parts if part.price.date is not None]
    return (min(dates), max(dates, key=lambda one: (one[:4], len(one), one))) if dates else None


def _notes(parts: Sequence[Part], budget: float | None) -> tuple[Text, ...]:
    dates = _price_dates(parts)
    told = [text("Prices are never fetched: put your own over them with --prices FILE.")]
    if dates:
        told.insert(0, text("Prices are data of {oldest} to {newest}, in US dollars without taxes and shipping.",
                            oldest=dates[0], newest=dates[1]))  # fmt: skip
    told.append(text("Gain per dollar is counted at the middle of a price; the budget is compared with its high end."))
    if budget is None:
        told.append(
            text("Without --budget, builds of more than {most} USD are not looked at.", most=f"{UNASKED_USD:.0f}")
        )
    return tuple(told)
