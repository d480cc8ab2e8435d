"""A plan for the terminal: its options one below the other, each with its memory, its roles and what speaks for it."""

from __future__ import annotations

from ansambl.app.plan_words import COUNTED, goal_word, residency_word, swaps_words
from ansambl.cli.memory_bars import Bar, needed_words, print_bars
from ansambl.cli.output import console, note, print_pairs, print_signed, print_table, say
from ansambl.cli.speeds import answering
from ansambl.domain.planning import Plan, PlannedPlacement, PlanOption, Residency
from ansambl.foundation.locales import speak
from ansambl.planner.loads import device_loads

_LEFT_OUT_SHOWN = 6


def print_plan(plan: Plan) -> None:
    """Print all options, the recommended one first marked, and what was left out."""
    machines = ", ".join(f"{one.name} ({one.title})" for one in plan.machines)
    print_pairs([(speak("Machines"), machines), (speak("Goal"), goal_word(plan, speak))])
    for number, option in enumerate(plan.options, 1):
        _print_option(plan, option, number)
    say("")
    if plan.best is None:
        say(speak("Nothing of this fits; the reasons stand below."))
    else:
        say(speak("Recommended: {title}").format(title=plan.best.title.render(speak)))
    for reason in plan.why:
        say(f"  {reason.text.render(speak)}")
    rows = [(one.text.render(speak), one.source) for one in plan.rejected]
    print_table(speak("Left out"), (speak("Reason"), speak("Source")), rows[:_LEFT_OUT_SHOWN])
    if len(rows) > _LEFT_OUT_SHOWN:
        note(speak("{count} more were left out; --json and --html tell why, and how the points were counted.").format(
            count=len(rows) - _LEFT_OUT_SHOWN))  # fmt: skip
    for machine in plan.machines:
        for words in machine.notes:
            note(f"{machine.name}: {words.render(speak)}")


def _print_option(plan: Plan, option: PlanOption, number: int) -> None:
    mark = " ★" if option.id == plan.recommended else ""
    verdict = "" if option.fits or not option.placements else f" — {speak('does not fit')}"
    out = console()
    out.print()
    out.print(f"{number}. {option.title.render(speak)}{verdict}{mark}", style="bold")
    if option.placements:
        _print_placements(option)
    for sign, style, reasons in (("+", "green", option.speaks_for), ("−", "red", option.speaks_against)):
        print_signed(sign, style, [one.text.render(speak) for one in reasons if not one.code.startswith(COUNTED)])


def _print_placements(option: PlanOption) -> None:
    machines = {one.machine.name for one in option.placements}
    swapped = any(one.residency is Residency.SWAPPED for one in option.placements)
    headers = [speak("Model"), speak("Format"), speak("Engine"), speak("Where"), speak("Context"), speak("Answers")]
    if swapped:
        headers.append(speak("In memory"))
    rows = [_row(one, tell_machine=len(machines) > 1, tell_residency=swapped) for one in option.placements]
    print_table("", headers, rows)
    _print_loads(option)
    roles: dict[str, list[str]] = {}
    for role, placement in option.roles.items():
        roles.setdefault(placement, []).append(role)
    names = {one.id: one.candidate.model for one in option.placements}
    pairs = [
        (speak("Roles"), "; ".join(f"{', '.join(some)} → {names.get(where, where)}" for where, some in roles.items())),
    ]  # fmt: skip
    shared = [group for group in option.prefix_groups if len(group) > 1]
    if shared:
        pairs.append((speak("Change of role without reading again"), "; ".join(", ".join(group) for group in shared)))
    if option.prefilling_roles:
        pairs.append((speak("Change of role that reads everything again"), ", ".join(option.prefilling_roles)))
    pairs.append((speak("Swaps expected"), swaps_words(option, speak)))
    print_pairs(pairs)


def _row(placement: PlannedPlacement, *, tell_machine: bool, tell_residency: bool) -> tuple[str, ...]:
    gpus = ",".join(f"gpu{one.index}" for one in placement.machine.gpus) or "ram"
    where = " ".join(
        part for part in (placement.machine.name if tell_machine else "", gpus, placement.written_settings) if part
    )
    return (
        placement.candidate.model, placement.candidate.quantization, placement.engine, where,
        f"{placement.context} × {placement.parallel}", answering(placement),
        *((residency_word(placement, speak),) if tell_residency else ()),
    )  # fmt: skip


def _print_loads(option: PlanOption) -> None:
    numbers = {one.id: number for number, one in enumerate(option.placements)}
    bars = [
        Bar(
            load.name, load.capacity, tuple((one.needed.expected, numbers[one.placement]) for one in load.drawn),
            needed_words(load.needed, load.usable), load.fits,
        )
        for load in device_loads(option)
    ]  # fmt: skip
    print_bars(bars, [one.candidate.model for one in option.placements])
