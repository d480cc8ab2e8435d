"""``ansambl review``: a choice that the user states, judged: what holds, what is weak, what was forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ansambl.cli.options import Config, Json
from ansambl.cli.planning_options import (
    DOES_NOT_FIT,
    Context,
    Engine,
    KvType,
    MachineName,
    Model,
    Parallel,
    Quantization,
    Set,
    read_settings,
)
from ansambl.foundation.locales import speak

if TYPE_CHECKING:
    from ansambl.app.review import ReviewReport

_Ui = Annotated[
    str | None,
    typer.Option("--ui", metavar="UI", help=speak("The interface in which you will ask, for example open-webui.")),
]
_Language = Annotated[
    str | None,
    typer.Option("--language", metavar="CODE", help=speak("The language in which you will write, for example ru.")),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "review", help=speak("Judge a choice of yours: what holds, what is weak, what was forgotten.")
    )(review)  # fmt: skip


def review(
    model: Model, machine: MachineName = None, ui: _Ui = None, language: _Language = None, engine: Engine = None,
    quantization: Quantization = None, context: Context = None, parallel: Parallel = 1, kv_type: KvType = "f16",
    settings: Set = None, config: Config = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Judge the choice; exit code 3 when it does not hold."""
    from ansambl.app.review import ReviewQuestion, review_choice, review_document
    from ansambl.cli.output import print_json
    from ansambl.domain.review import ReviewVerdict

    report = review_choice(
        ReviewQuestion(
            model=model, machine=machine, ui=ui, language=language, engine=engine, quantization=quantization,
            context=context, parallel=parallel, kv_type=kv_type, settings=read_settings(settings),
        ),
        config,
    )  # fmt: skip
    if as_json:
        print_json(review_document(report, speak))
    else:
        _print(report)
    if report.review.verdict is ReviewVerdict.DOES_NOT_HOLD:
        raise typer.Exit(DOES_NOT_FIT)


def _print(report: ReviewReport) -> None:
    from ansambl.cli.output import note, print_grouped, say
    from ansambl.domain.review import Level, ReviewVerdict
    from ansambl.planner.review.facts import DEFAULTS

    review, best = report.review, report.placement
    verdicts = {
        ReviewVerdict.HOLDS: speak("it holds"), ReviewVerdict.WITH_REMARKS: speak("it holds, with remarks"),
        ReviewVerdict.DOES_NOT_HOLD: speak("it does not hold"),
    }  # fmt: skip
    parts = [review.model, best.candidate.quantization if best else None, review.engine, review.machine.title,
             review.ui, review.language]  # fmt: skip
    say(f"{' · '.join(one for one in parts if one)}: {verdicts[review.verdict]}")
    titles = {
        Level.WRONG: ("✗", speak("Does not work"), "red"), Level.WEAK: ("!", speak("Weak"), "yellow"),
        Level.FORGOTTEN: ("?", speak("Forgotten"), "cyan"), Level.HOLDS: ("✓", speak("Holds"), "green"),
    }  # fmt: skip
    for level, (sign, title, style) in titles.items():
        rows = [(one.text.render(speak), "" if one.source == DEFAULTS else one.source)
                for one in review.findings if one.level is level]  # fmt: skip
        print_grouped(title, sign, style, rows)
    rows = [(f"{_method(one.method)}: {one.note.render(speak)}", one.source) for one in review.training]
    title = speak("Training a LoRA adapter here (rank 16, one example of 2048 tokens at a time)")
    print_grouped(title, "·", "", rows)
    say("")
    say(speak("Next"))
    for line in review.commands:
        say(f"  {line}")
    for words in review.machine.notes:
        note(words.render(speak))


def _method(name: str) -> str:
    return speak("QLoRA (4 bits)") if name == "qlora" else speak("LoRA (16 bits)")
