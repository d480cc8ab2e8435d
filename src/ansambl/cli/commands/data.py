"""``ansambl data``: where the data lies, copying it, removing it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from ansambl.cli.options import Config, Yes
from ansambl.foundation.locales import speak


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help=speak("The data folder."))
    group.command("path", help=speak("Print the data folder."))(path)
    group.command("backup", help=speak("Copy the database and the configuration, also while Ansambl runs."))(backup)
    group.command("uninstall", help=speak("Remove the data folder: database, models, logs, backups."))(uninstall)
    app.add_typer(group, name="data")


def path(config: Config = None) -> None:
    """Print the data folder."""
    from ansambl.app.configuration.configuration_file import load_data_paths

    typer.echo(str(load_data_paths(config).root))


def backup(
    config: Config = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help=speak("Where to put the copy; default: backups."))
    ] = None,
) -> None:
    """Copy the database and the configuration."""
    from ansambl.app.configuration.configuration_file import find_file, load_data_paths
    from ansambl.app.data_removal import back_up
    from ansambl.cli.output import note
    from ansambl.companions.open_webui.keeping import Places

    paths = load_data_paths(config)
    target = (out or paths.backups) / time.strftime("ansambl-%Y%m%d-%H%M%S")
    for one in back_up(paths, find_file(config), target):
        typer.echo(str(one))
    chats = Places(paths.companions).own
    if chats.is_dir():
        words = speak(
            "Open WebUI's chats and accounts are not in this copy; copy this folder while it does not run: {path}"
        )
        note(words.format(path=chats))


def uninstall(config: Config = None, yes: Yes = False) -> None:
    """Remove the data folder."""
    from ansambl.app.configuration.configuration_file import load_data_paths
    from ansambl.app.data_removal import plan_removal, remove
    from ansambl.cli.output import ask_yes, note, print_table, say
    from ansambl.domain.units import size_words

    paths = load_data_paths(config)
    plan = plan_removal(paths)
    rows = [(str(one.path), size_words(one.size, speak)) for one in plan]
    print_table(speak("This would be removed"), (speak("What"), speak("Size")), rows)
    total = size_words(sum(one.size for one in plan), speak)
    question = speak("Remove {size} in {folder} for good?").format(size=total, folder=paths.root)
    if not ask_yes(question, yes=yes):
        note(speak("Nothing was removed."))
        raise typer.Exit(1)
    kept = remove(paths, plan)
    say(speak("Removed {size}.").format(size=total))
    for one in kept:
        note(speak("Kept, because it is not Ansambl's: {path}").format(path=one))
    note(speak("To remove the program too, remove the environment that it was installed in."))
