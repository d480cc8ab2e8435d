"""``ansambl buy``: which second machine adds most, dollar for dollar."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ansambl.cli.options import Config, Json
from ansambl.cli.planning_options import Context, GoalName, Language
from ansambl.domain.figures import number_words
from ansambl.foundation.locales import speak

if TYPE_CHECKING:
    from ansambl.domain.footprint import Reason
    from ansambl.domain.planning import PlannedPlacement
    from ansambl.domain.purchase import Advice, Build, PurchaseOption

_SHOWN = 3
"""Builds that are told in full; the table shows all."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("buy", help=speak("Say which second machine adds most for its price, from parts with dated prices."))(
        buy
    )


def buy(
    budget: Annotated[
        str | None,
        typer.Option("--budget", metavar="USD", help=speak("US dollars to spend at most, for example 3000.")),
    ] = None,
    goal: GoalName = "balanced",
    machine: Annotated[
        list[str] | None,
        typer.Option(
            "--machine", metavar="NAME|FILE",
            help=speak("A machine that you have already; give it again for a second one. Else this machine."),
        ),
    ] = None,
    language: Language = None,
    context: Context = None,
    prices: Annotated[
        Path | None,
        typer.Option(
            "--prices", metavar="FILE", help=speak("A TOML file with your own prices, put over the shipped ones.")
        ),
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Advise."""
    from ansambl.app.plan_question import read_goal
    from ansambl.app.purchase import PurchaseQuestion, answer_purchase, purchase_document, read_budget
    from ansambl.cli.output import print_json

    advice = answer_purchase(
        PurchaseQuestion(
            machines=tuple(machine or ()), goal=read_goal(goal), budget=read_budget(budget), context=context,
            language=language, prices=prices,
        ),
        config,
    )  # fmt: skip
    if as_json:
        print_json(purchase_document(advice, speak))
    else:
        _print(advice)


def _print(advice: Advice) -> None:
    from ansambl.cli.output import note, print_pairs, print_table, say
    from ansambl.planner.purchase import NOTHING

    without = speak("no limit")
    print_pairs(
        [
            (speak("You have"), ", ".join(f"{one.name} ({one.title})" for one in advice.machines)),
            (speak("Goal"), str(advice.goal)),
            (speak("Budget"), without if advice.budget is None else f"{advice.budget:.0f} USD"),
        ]
    )
    headers = (
        speak("Machine"), speak("Price, USD"), speak("Best model on it"), speak("Answers"), speak("Power"),
        speak("Gain, points"), speak("Gain for 1000 USD"),
    )  # fmt: skip
    print_table(speak("What to buy"), headers, [_row(one) for one in advice.options])
    chosen = next(one for one in advice.options if one.id == advice.recommended)
    say("")
    say(speak("Recommended: {title}").format(title=chosen.title.render(speak)))
    told = [one for one in advice.options if one.id != NOTHING and one.gain > 0][:_SHOWN]
    told += [one for one in advice.options if one not in told and (one.gain <= 0)]
    for option in told:
        _print_option(option)
    _print_left_out(advice)
    for words in advice.notes:
        note(words.render(speak))


def _row(option: PurchaseOption) -> tuple[str, ...]:
    from ansambl.cli.speeds import tokens_per_second

    build, best, per_dollar = option.build, option.best, option.per_1000_usd
    if build is None:
        return option.title.render(speak), "0", "–", "–", "–", "–", "–"
    speed = "–"
    if best is not None:
        speed = tokens_per_second(best.speed.decode) if best.candidate.generates else "–"
    return (
        option.title.render(speak), _usd(build), _named(best), speed, _watts(build),
        number_words(option.gain, "+.1f", speak) if option.gain else "0",
        number_words(per_dollar, ".2f", speak) if per_dollar else "–",
    )  # fmt: skip


def _print_option(option: PurchaseOption) -> None:
    from ansambl.cli.output import print_table, say

    say("")
    say(option.title.render(speak))
    for sign, reasons in (("+", option.adds), ("−", option.against)):
        for one in reasons:
            say(f"  {sign} {_sentence(one)}")
    if option.build is None:
        return
    rows = [
        (f"{count} × {part.title}" if count > 1 else part.title, f"{part.price.usd.low * count:.0f}"
         if part.price.usd.low == part.price.usd.high
         else f"{part.price.usd.low * count:.0f}–{part.price.usd.high * count:.0f}",
         _kind(str(part.price.kind)), part.price.date or "–", "; ".join(part.price.sources))
        for part, count in option.build.parts
    ]  # fmt: skip
    headers = (speak("Part"), speak("USD"), speak("Kind"), speak("Date"), speak("Source"))
    print_table(speak("Parts"), headers, rows)


def _print_left_out(advice: Advice) -> None:
    from ansambl.cli.output import say

    left = advice.left_out
    say("")
    count = left.get("as-good", 0) + left.get("promises-less", 0)
    if count:
        say(speak("Left out: {count} builds that a cheaper one equals or promises more than.").format(count=count))
    if left.get("tried", 0):
        words = speak(
            "Planned with and left out: {count} builds that add less than one point, or no more than a cheaper one."
        )
        say(words.format(count=left["tried"]))
    beyond = advice.beyond
    if beyond is not None and beyond.build is not None:
        say(
            speak("Over the budget, the cheapest that adds something: {title}, {usd} USD, {gain} points.").format(
                title=beyond.title.render(speak), usd=_usd(beyond.build), gain=number_words(beyond.gain, "+.1f", speak)
            )
        )


def _sentence(reason: Reason) -> str:
    return f"{reason.text.render(speak)} [{reason.source}]"


def _usd(build: Build) -> str:
    usd = build.usd
    return f"{usd.low:.0f}" if usd.low == usd.high else f"{usd.low:.0f}–{usd.high:.0f}"


def _watts(build: Build) -> str:
    return speak("unknown") if build.watts is None else speak("{amount} W").format(amount=build.watts)


def _named(best: PlannedPlacement | None) -> str:
    if best is None:
        return "–"
    return f"{best.candidate.title} {best.candidate.quantization}"


def _kind(kind: str) -> str:
    words = {
        "msrp": speak("maker's price"), "street": speak("shops"), "used": speak("used parts"),
        "given": speak("your own"),
    }  # fmt: skip
    return words[kind]
