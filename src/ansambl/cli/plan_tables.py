"""A plan for the terminal: its options one below the other, each with its memory, its roles and what speaks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansambl.cli.output import console, note, print_pairs, print_table, say
from ansambl.cli.speeds import answering
from ansambl.domain.planning import Plan, PlannedPlacement, PlanOption, Residency
from ansambl.domain.units import format_bytes
from ansambl.foundation.locales import speak
from ansambl.planner.loads import DeviceLoad, device_loads

if TYPE_CHECKING:
    from rich.text import Text

WIDTH = 32
"""Letters of a bar."""

_LEFT_OUT_SHOWN = 6
_COUNTED = ("worth.", "speed.")

_LETTERS = (("█", "blue"), ("▓", "green"), ("▒", "yellow"), ("░", "magenta"), ("■", "cyan"), ("▪", "red"))


def print_plan(plan: Plan) -> None:
    """Print all options, the recommended one first marked, and what was left out."""
    machines = ", ".join(f"{one.name} ({one.title})" for one in plan.machines)
    print_pairs([(speak("Machines"), machines), (speak("Goal"), goal_word(plan))])
    for number, option in enumerate(plan.options, 1):
        _print_option(plan, option, number)
    if plan.recommended is None:
        say("")
        say(speak("Nothing of this fits; the reasons stand below."))
    else:
        title = next(one.title for one in plan.options if one.id == plan.recommended)
        say("")
        say(speak("Recommended: {title}").format(title=title.render(speak)))
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


def goal_word(plan: Plan) -> str:
    """The goal in the user's language."""
    words = {
        "depth": speak("depth: the strongest answers"), "parallel": speak("parallel: many answers at once"),
        "balanced": speak("balanced: strong and quick"), "no-swap": speak("no-swap: nothing is ever loaded anew"),
    }  # fmt: skip
    return words[str(plan.goal)]


def residency_word(placement: PlannedPlacement) -> str:
    """Whether a placement is always in memory, in the user's language."""
    return speak("always in memory") if placement.residency is Residency.RESIDENT else speak("in turn with others")


def swaps_words(option: PlanOption) -> str:
    """How often a model will be loaded anew, in the user's language."""
    return speak("{count} an hour").format(count=f"{option.swaps_expected_per_hour:.3g}")


def _print_option(plan: Plan, option: PlanOption, number: int) -> None:
    mark = " ★" if option.id == plan.recommended else ""
    verdict = "" if option.fits or not option.placements else f" — {speak('does not fit')}"
    out = console()
    out.print()
    out.print(f"{number}. {option.title.render(speak)}{verdict}{mark}", style="bold")
    if option.placements:
        _print_placements(option)
    for sign, reasons in (("+", option.speaks_for), ("−", option.speaks_against)):
        for reason in reasons:
            if not reason.code.startswith(_COUNTED):
                say(f"  {sign} {reason.text.render(speak)}")


def _print_placements(option: PlanOption) -> None:
    headers = (
        speak("Model"), speak("Quantization"), speak("Engine"), speak("Where"), speak("Context"), speak("Answers"),
        speak("In memory"),
    )  # fmt: skip
    print_table("", headers, [_row(one) for one in option.placements])
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
    pairs.append(
        (speak("Swaps expected"), speak("{count} an hour").format(count=f"{option.swaps_expected_per_hour:g}"))
    )
    print_pairs(pairs)


def _row(placement: PlannedPlacement) -> tuple[str, ...]:
    gpus = ", ".join(f"gpu{one.index}" for one in placement.machine.gpus) or "ram"
    settings = " ".join(f"{name}={value}" for name, value in placement.settings.items())
    return (
        placement.candidate.model, placement.candidate.quantization, placement.engine,
        f"{placement.machine.name} {gpus} {settings}".strip(), f"{placement.context} × {placement.parallel}",
        answering(placement), residency_word(placement),
    )  # fmt: skip


def _print_loads(option: PlanOption) -> None:
    from rich.table import Table
    from rich.text import Text

    letters = {one.id: _LETTERS[index % len(_LETTERS)] for index, one in enumerate(option.placements)}
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for load in device_loads(option):
        words = speak("{expected} of {usable} usable (up to {high})").format(
            expected=format_bytes(load.needed.expected), usable=format_bytes(load.usable),
            high=format_bytes(load.needed.high),
        )  # fmt: skip
        table.add_row(Text(load.name), _bar(load, letters), Text(words, style="" if load.fits else "red"))
    out = console()
    out.print(table)
    legend = Text()
    for placement in option.placements:
        letter, colour = letters[placement.id]
        legend.append(letter, style=colour).append(f" {placement.candidate.model}  ", style="dim")
    out.print(legend)


def _bar(load: DeviceLoad, letters: dict[str, tuple[str, str]]) -> Text:
    from rich.text import Text

    drawn = Text()
    done, taken = 0, 0
    for share in load.drawn:
        done += share.needed.expected
        upto = min(WIDTH, round(WIDTH * done / max(1, load.capacity)))
        letter, colour = letters[share.placement]
        drawn.append(letter * (upto - taken), style=colour)
        taken = max(taken, upto)
    return drawn.append("·" * (WIDTH - taken), style="dim")
