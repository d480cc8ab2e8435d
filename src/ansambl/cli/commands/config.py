"""``ansambl config show``: the effective configuration and where each value came from."""

from __future__ import annotations

import json
from typing import Any

import typer

from ansambl.cli.options import Config, Json
from ansambl.foundation.locales import speak


def register(app: typer.Typer) -> None:
    """Add the command."""
    group = typer.Typer(help=speak("The configuration."))
    group.command("show", help=speak("Print every setting in effect, and where it came from."))(show)
    app.add_typer(group, name="config")


def show(config: Config = None, as_json: Json = False) -> None:
    """Print every setting in effect."""
    from ansambl.app.catalog import catalog_of
    from ansambl.app.configuration.configuration_file import shown_path
    from ansambl.app.configuration.settings_file import load_settings
    from ansambl.app.configuration.shown_settings import without_secrets
    from ansambl.cli.output import console, print_json, say

    loaded = load_settings(config)
    # What contradicts itself is not in effect.
    catalog_of(loaded)
    effective = without_secrets(loaded.settings.model_dump())
    if as_json:
        file = str(loaded.file.absolute()) if loaded.file else None
        print_json({"file": file, "settings": effective, "origins": dict(loaded.origins)})
        return
    file_line = shown_path(loaded.file) if loaded.file else speak("no file; everything has a default")
    say(f"# {file_line}")
    out = console()
    for header, lines in _tables(effective):
        if header:
            out.print(f"\n[{header}]", style="bold")
        for name, path, value in lines:
            out.print(f"{name} = {value}", end="")
            out.print(f"  # {loaded.origins.get(path, '')}", style="dim")


def _tables(settings: dict[str, Any]) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Each table's header with the name, the path and the written value of its keys; unset keys are left out."""
    from ansambl.app.configuration.settings_lines import KeyPath, written_path

    found: list[tuple[str, list[tuple[str, str, str]]]] = []

    def walk(table: dict[str, Any], path: KeyPath) -> None:
        plain = {name: one for name, one in table.items() if not isinstance(one, dict) and one is not None}
        lines = [(written_path((name,)), written_path((*path, name)), written(one)) for name, one in plain.items()]
        if lines:
            found.append((written_path(path), lines))
        for name, inner in table.items():
            if isinstance(inner, dict):
                walk(inner, (*path, name))

    walk(settings, ())
    return found


def written(value: object) -> str:
    """A value as TOML writes it."""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(written(one) for one in value) + "]"
    return json.dumps(value, ensure_ascii=False)
