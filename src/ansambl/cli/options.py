"""Options that several commands share. Their help is translated here, so the language must be chosen before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ansambl.foundation.locales import speak

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help=speak("The configuration file instead of ./ansambl.toml or the user's own.")
    ),
]
Json = Annotated[bool, typer.Option("--json", help=speak("Print one JSON document and nothing else."))]
Yes = Annotated[bool, typer.Option("--yes", "-y", help=speak("Answer every question with yes."))]
