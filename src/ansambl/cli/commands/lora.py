"""``ansambl lora``: LoRA adapters for the models that run here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ansambl.cli.options import Config, Json, Yes
from ansambl.foundation.locales import speak

if TYPE_CHECKING:
    from ansambl.app.lora_book import Added, LoraBook
    from ansambl.domain.lora import LoraAdapter
    from ansambl.domain.text import Text

Name = Annotated[str, typer.Argument(metavar="NAME", help=speak("What clients and roles ask for."))]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help=speak("LoRA adapters: small trained differences that requests choose by name."))
    group.command("add", help=speak("Check a LoRA adapter and add it to a model."))(add)
    group.command("list", help=speak("List the LoRA adapters that were added."))(list_loras)
    group.command("remove", help=speak("Delete a LoRA adapter that was added."))(remove)
    app.add_typer(group, name="lora")


def add(
    name: Name,
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help=speak("A folder as PEFT saves it, a GGUF file, or a repository of the hub (owner/name)."),
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="MODEL", help=speak("The model that it is for, as the configuration names it.")
        ),
    ] = None,
    config: Config = None,
    offline: Annotated[bool, typer.Option("--offline", help=speak("Fetch nothing."))] = False,
    as_json: Json = False,
    yes: Yes = False,
) -> None:
    """Check a LoRA adapter and add it."""
    from ansambl.cli.output import print_json
    from ansambl.foundation.paths import expanded

    with _book(config, changes=True) as (book, taken):
        wanted = _model(book, model)
        source = expanded(path)
        with contextlib.ExitStack() as stack:
            if not source.exists() and _is_reference(path):
                source = stack.enter_context(_fetched(config, path, offline=offline, yes=yes))
            added = book.add(name, source, wanted, taken=taken)
    effect = _apply(config, wanted)
    if as_json:
        print_json({
            **_document(added.adapter), "engine": added.engine, "converted": added.converted,
            "notes": [one.render(speak) for one in added.notes], "effect": effect,
        })  # fmt: skip
    else:
        _print_added(added, effect)


def _model(book: LoraBook, model: str | None) -> str:
    from ansambl.domain.errors import UsageError
    from ansambl.domain.text import text

    found = model or book.only_model()
    if found is None:
        raise UsageError(text("several models run here, or none; say with --model which one the LoRA adapter is for"))
    return found


def _is_reference(path: str) -> bool:
    """Whether it can only be a name on the hub; what begins like a path was a mistyped path."""
    from ansambl.model_catalog.references import parse_reference

    return not path.startswith((".", "~", "/")) and parse_reference(path) is not None


@contextlib.contextmanager
def _fetched(config: Path | None, reference: str, *, offline: bool, yes: bool) -> Iterator[Path]:
    """The files of a repository on the hub, fetched into a folder that is deleted after the block."""
    import shutil
    from contextlib import closing

    from ansambl.app.configuration.configuration_file import load_data_paths
    from ansambl.cli.model_tables import print_announcement
    from ansambl.cli.output import ask_yes, console
    from ansambl.cli.progress import DownloadBar
    from ansambl.model_catalog import download

    folder = load_data_paths(config).loras / ".fetched"
    announced = download.announce(reference, folder, offline=offline)
    print_announcement(announced)
    download.check_room(announced)
    if not ask_yes(speak("Fetch it?"), yes=yes):
        raise typer.Exit(1)
    with closing(DownloadBar(console(error=True))) as bar:
        path = download.fetch(announced, bar.show, offline=offline)
    try:
        yield path
    finally:
        # Only what came whole is deleted; what a broken connection left is gone on with.
        shutil.rmtree(announced.folder, ignore_errors=True)


def list_loras(config: Config = None, as_json: Json = False) -> None:
    """List the LoRA adapters."""
    from ansambl.cli.output import console, print_json, print_table, say
    from ansambl.domain.units import size_words

    with _book(config, changes=False) as (book, _):
        adapters = book.all()
        unfit: dict[str, Text] = {}
        for model in sorted({one.model for one in adapters}):
            unfit |= {one.adapter.name: one.reason for one in book.unfit(model)}
    if as_json:
        print_json({
            "loras": [
                {**_document(one), "problem": unfit[one.name].render(speak) if one.name in unfit else None}
                for one in adapters
            ]
        })  # fmt: skip
        return
    if not adapters:
        say(speak("There is no LoRA adapter; add one with: ansambl lora add NAME PATH --model MODEL"))
        return
    headers = (
        speak("Name"),
        speak("Model"),
        speak("Rank"),
        speak("Size"),
        speak("Formats"),
        speak("Kind"),
        speak("Base"),
    )
    print_table(speak("LoRA adapters"), headers, [
        (one.name, one.model, str(one.rank), size_words(one.size, speak), ", ".join(sorted(one.files)),
         speak("activated") if one.activated else speak("ordinary"), one.base or speak("unknown"))
        for one in adapters
    ])  # fmt: skip
    for name, reason in unfit.items():
        console().print(speak("{name} is not in use: {reason}").format(name=name, reason=reason.render(speak)))


def remove(name: Name, config: Config = None, as_json: Json = False, yes: Yes = False) -> None:
    """Delete a LoRA adapter."""
    from ansambl.cli.output import ask_yes, note, print_json, say
    from ansambl.cli.role_access import access
    from ansambl.domain.units import size_words

    with _book(config, changes=False) as (book, _):
        found = book.find(name)
    with access(config, changes=False) as reached:
        users = [one["name"] for one in reached.entries("roles") if one["fields"].get("lora") == found.name]
    note(
        speak("The LoRA adapter {name} of '{model}' ({size}) will be deleted.").format(
            name=found.name, model=found.model, size=size_words(found.size, speak)
        )
    )
    if users:
        note(speak("These roles use it and will not answer without it: {names}").format(names=", ".join(users)))
    if not ask_yes(speak("Delete it?"), yes=yes):
        raise typer.Exit(1)
    with _book(config, changes=True) as (book, _):
        found = book.remove(found.name)
    effect = _apply(config, found.model)
    if as_json:
        print_json({**_document(found), "effect": effect})
    else:
        say(speak("Deleted the LoRA adapter {name}.").format(name=found.name))


@contextlib.contextmanager
def _book(config: Path | None, *, changes: bool) -> Iterator[tuple[LoraBook, dict[str, Text]]]:
    """The adapters, and what names roles and ensembles have. The data folder is locked while nothing runs on it."""
    from ansambl.app.configuration.settings_file import load_settings
    from ansambl.app.lora_book import LoraBook
    from ansambl.cli.role_access import access
    from ansambl.domain.text import text

    loaded = load_settings(config)
    book = LoraBook(loaded.paths, loaded)
    if not changes:
        yield book, {}
        return
    with access(config, changes=True) as reached:
        taken: dict[str, Text] = {}
        for one in reached.entries("roles"):
            taken |= dict.fromkeys((one["name"], *one["aliases"]), text("a role"))
        for one in reached.entries("ensembles"):
            taken |= dict.fromkeys((one["name"], *one["aliases"]), text("an ensemble"))
        yield book, taken


def _apply(config: Path | None, model: str) -> str:
    """Have a running Ansambl follow; when the change takes effect: "now", "restart" (when idle) or "start"."""
    from ansambl.cli.client import NotRunningError, connect

    try:
        with connect(config) as client:
            answer = client.admin("POST", "/loras/reload")
    except NotRunningError:
        return "start"
    return str(answer.get("models", {}).get(model, "start"))


def _document(adapter: LoraAdapter) -> dict[str, Any]:
    """What ``--json`` says of an adapter."""
    return {
        "name": adapter.name, "model": adapter.model, "files": dict(adapter.files), "rank": adapter.rank,
        "alpha": adapter.alpha, "size": adapter.size, "base": adapter.base, "targets": list(adapter.targets),
        "activated": adapter.activated, "invocation": list(adapter.invocation), "identity": adapter.identity,
    }  # fmt: skip


def _print_added(added: Added, effect: str) -> None:
    from ansambl.cli.output import note, say
    from ansambl.domain.units import size_words

    found = added.adapter
    say(
        speak("Added the LoRA adapter {name} to '{model}': rank {rank}, {size}.").format(
            name=found.name, model=found.model, rank=found.rank, size=size_words(found.size, speak)
        )
    )
    if added.converted:
        note(speak("It was converted from PEFT to GGUF, which llama.cpp needs; the original lies beside it."))
    if found.activated:
        note(speak("It is an activated one (aLoRA): what stands before its invocation keeps the plain model's cache."))
    for one in added.notes:
        note(one.render(speak))
    if effect == "now":
        say(speak("It can be asked for at once."))
    elif effect == "restart":
        say(speak("The engine starts again to load it, as soon as nobody uses it."))
    else:
        say(speak("It is loaded with the model's next start."))
