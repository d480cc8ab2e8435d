"""``ansambl plan``: what to run on one or more machines, as options side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ansambl.cli.options import Config, Json
from ansambl.cli.planning_options import DOES_NOT_FIT, Context, GoalName, Language, Parallel
from ansambl.foundation.locales import speak


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("plan", help=speak("Say what to run on a machine: options side by side, with reasons."))(plan)


def plan(
    machine: Annotated[
        list[str] | None,
        typer.Option(
            "--machine", metavar="NAME|FILE",
            help=speak("A machine of the list or a TOML file; give it again for a second one. Else this machine."),
        ),
    ] = None,
    goal: GoalName = "balanced",
    model: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="MODEL", help=speak("Only this model; give it again for more of them.")),
    ] = None,
    roles: Annotated[
        str | None,
        typer.Option("--roles", metavar="A,B", help=speak("Only these roles, separated by commas; else all.")),
    ] = None,
    context: Context = None,
    parallel: Parallel = 1,
    language: Language = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help=speak("Write the plan as one page that needs no network.")),
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Plan; exit code 3 when nothing fits."""
    from ansambl.app.plan_documents import plan_document
    from ansambl.app.plan_page import write_plan_page
    from ansambl.app.plan_question import PlanQuestion, answer_plan, read_goal
    from ansambl.cli.output import note, print_json
    from ansambl.cli.plan_tables import print_plan
    from ansambl.domain.errors import UsageError
    from ansambl.domain.text import text

    if html is not None and as_json:
        raise UsageError(text("--html and --json cannot be given together; choose one"))
    answer = answer_plan(
        PlanQuestion(
            machines=tuple(machine or ()), goal=read_goal(goal), models=tuple(model or ()),
            roles=tuple(one.strip() for one in (roles or "").split(",") if one.strip()), context=context,
            parallel=parallel, language=language,
        ),
        config,
    )  # fmt: skip
    if as_json:
        print_json(plan_document(answer, speak))
    elif html is not None:
        write_plan_page(answer, html, speak, speak.language)
        note(speak("Written: {path}").format(path=html))
    else:
        print_plan(answer)
    if answer.recommended is None:
        raise typer.Exit(DOES_NOT_FIT)
