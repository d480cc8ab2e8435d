"""``ansambl console``: an address that opens the console signed in."""

from __future__ import annotations

import typer

from ansambl.cli.options import Config
from ansambl.foundation.locales import speak


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("console", help=speak("Print an address that opens the console signed in; it is good once."))(console)


def console(config: Config = None) -> None:
    """Print an address that signs one browser in.

    It is printed and not opened: what opens a browser puts the address on a command line, where all users read it.
    """
    from ansambl.cli.client import connect
    from ansambl.cli.output import note

    with connect(config) as client:
        made = client.admin("POST", "/sign-ins")
    typer.echo(made["address"])
    note(speak("Open it in a browser within two minutes. It signs one browser in, once; give it to nobody."))
