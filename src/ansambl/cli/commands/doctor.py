"""``ansambl doctor``: what works here, what does not, and what to do about it."""

from __future__ import annotations

import typer

from ansambl.cli.options import Config, Json
from ansambl.foundation.locales import speak


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor", help=speak("Check everything that Ansambl needs, and say what to do."))(doctor)


def doctor(config: Config = None, as_json: Json = False) -> None:
    """Check everything."""
    from ansambl.app.check import Level
    from ansambl.app.doctor import examine
    from ansambl.cli.output import console, print_json

    checks = examine(config)
    bad = any(one.level is Level.PROBLEM for one in checks)
    if as_json:
        print_json({
            "healthy": not bad,
            "checks": [
                {
                    "name": one.name, "level": one.level.value, "message": one.message.render(speak),
                    "fix": one.fix.render(speak) if one.fix else None,
                }
                for one in checks
            ],
        })  # fmt: skip
    else:
        marks = {Level.OK: ("✓", "green"), Level.WARNING: ("!", "yellow"), Level.PROBLEM: ("✗", "red")}
        out = console()
        for one in checks:
            mark, style = marks[one.level]
            out.print(mark, style=style, end=" ")
            out.print(one.message.render(speak))
            if one.fix is not None:
                out.print(f"  → {one.fix.render(speak)}", style="dim")
    if bad:
        raise typer.Exit(1)
