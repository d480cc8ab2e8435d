"""``ansambl import-config``: takes the set-up of another program over."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ansambl.foundation.locales import speak

KINDS = ("llama-swap", "ollama")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import-config", help=speak("Take over the set-up of llama-swap or Ollama as an ansambl.toml."))(
        import_config
    )


def import_config(
    kind: Annotated[str, typer.Argument(metavar="llama-swap|ollama", help=speak("Whose set-up it is."))],
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help=speak(
                "llama-swap's config.yaml; or Ollama's models folder, a Modelfile, or \"default\" for the models that "
                "Ollama has here."
            ),
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help=speak("Write it there; an existing file is never replaced.")),
    ] = None,
) -> None:
    """Print the configuration, or write it; what could not be taken over is told."""
    from ansambl.app.importing.draft import written
    from ansambl.app.importing.llama_swap import import_llama_swap
    from ansambl.app.importing.ollama import import_ollama
    from ansambl.cli.output import note, say
    from ansambl.domain.errors import UsageError
    from ansambl.domain.text import text
    from ansambl.foundation.paths import expanded

    if kind not in KINDS:
        raise UsageError(
            text("there is nothing to take over from '{kind}'; give one of: {kinds}", kind=kind[:40],
                 kinds=", ".join(KINDS))
        )  # fmt: skip
    draft = import_ollama(path, os.environ) if kind == "ollama" else import_llama_swap(expanded(path), os.environ)
    document = written(draft)
    for one in draft.left:
        note(f"{one.where}: {one.reason.render(speak)}")
    if out is None:
        typer.echo(document, nl=False)
        return
    target = expanded(out)
    try:
        # Opened for a new file only: nothing of the user's is ever replaced.
        with target.open("x", encoding="utf-8") as file:
            file.write(document)
    except FileExistsError:
        raise UsageError(
            text("{path} exists already and is not replaced; give another name", path=str(target))
        ) from None
    except OSError as failure:
        raise UsageError(
            text("{path} cannot be written ({reason}); give another place", path=str(target),
                 reason=failure.strerror or str(failure))
        ) from failure  # fmt: skip
    say(speak("Written: {path}").format(path=target))
