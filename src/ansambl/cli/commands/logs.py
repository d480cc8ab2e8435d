"""``ansambl logs``: what Ansambl or one of its engines wrote."""

from __future__ import annotations

from typing import Annotated

import typer

from ansambl.cli.options import Config
from ansambl.foundation.locales import speak


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("logs", help=speak("The log of Ansambl, or of an engine."))(logs)


def logs(
    instance: Annotated[
        str | None,
        typer.Argument(metavar="[INSTANCE]", help=speak("The model whose engine's log; default: Ansambl's.")),
    ] = None,
    config: Config = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help=speak("How many of the newest lines."))] = 100,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help=speak("Go on with what is added; Ctrl-C ends."))
    ] = False,
) -> None:
    """Print a log."""
    from ansambl.app.configuration.configuration_file import load_data_paths
    from ansambl.cli.log_files import find_log, follow_file, newest_lines

    file = find_log(load_data_paths(config), instance)
    for line in newest_lines(file, lines):
        typer.echo(line)
    if follow:
        for line in follow_file(file):
            typer.echo(line)
