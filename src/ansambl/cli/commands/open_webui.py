"""``ansambl open-webui``: installing Open WebUI, removing it, and how to connect one that you run yourself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ansambl.cli.options import Config, Json, Yes
from ansambl.foundation.locales import speak

if TYPE_CHECKING:
    from ansambl.app.configuration.settings_file import LoadedSettings
    from ansambl.companions.open_webui.keeping import Places

_KEY = "YOUR_KEY"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help=speak("Open WebUI beside Ansambl; 'ansambl up --open-webui' starts it."))
    group.command("install", help=speak("Install it into an environment of its own; its licence is shown first."))(
        install
    )
    group.command("remove", help=speak("Remove its program; its chats and accounts stay without --data."))(remove)
    group.command("environment", help=speak("Print the environment for an Open WebUI that you run yourself."))(
        environment
    )
    app.add_typer(group, name="open-webui")


def install(
    config: Config = None,
    build: Annotated[
        str | None, typer.Option("--build", metavar="BUILD", help=speak("full or slim; default: the configuration's."))
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help=speak("Fetch nothing."))] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Install Open WebUI."""
    from ansambl.app.data_folder import prepare_folder
    from ansambl.cli.installing import say_installed, show_installation
    from ansambl.cli.open_webui_installing import may_install
    from ansambl.companions.open_webui import installing
    from ansambl.companions.open_webui.building import build_of
    from ansambl.engines.install import installer
    from ansambl.hardware import inventory

    loaded, places = _places(config)
    chosen, machine = build or loaded.settings.open_webui.build, inventory.detect()
    announced = installing.announce(places.programs, chosen, machine)
    manifest = announced.installed if announced.is_done else None
    if manifest is None:
        installer.check_allowed(build_of(chosen), offline=offline)
        if not may_install(announced, yes=yes):
            raise typer.Exit(1)
        prepare_folder(loaded.paths)
        manifest = show_installation(
            lambda progress: installing.install(places.programs, chosen, machine, progress, offline=offline)
        )
    say_installed(announced, manifest, as_json=as_json)


def remove(
    config: Config = None,
    data: Annotated[bool, typer.Option("--data", help=speak("Remove its chats, accounts and settings, too."))] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Remove Open WebUI."""
    from ansambl.cli.output import ask_yes, note, print_json, say
    from ansambl.companions.open_webui import installing
    from ansambl.companions.open_webui.records import NAME
    from ansambl.domain.errors import UsageError
    from ansambl.domain.text import text
    from ansambl.domain.units import size_words
    from ansambl.engines.install.folders import bytes_below, remove_tree
    from ansambl.engines.install.installer import standing

    _, places = _places(config)
    program = places.programs / NAME
    if not program.is_dir() and not (data and places.own.is_dir()):
        raise UsageError(text("Ansambl has not installed Open WebUI; nothing is to be removed"))
    if program.is_dir():
        # Refuses while it runs.
        standing(NAME, places.programs)
    folders = [one for one in (program, *((places.own,) if data else ())) if one.is_dir()]
    for one in folders:
        note(
            speak("{engine}: {size} in {path} will be deleted.").format(
                engine="Open WebUI", size=size_words(bytes_below(one), speak), path=one
            )
        )
    if not ask_yes(speak("Delete it?"), yes=yes):
        raise typer.Exit(1)
    freed = sum(bytes_below(one) for one in folders)
    if program.is_dir():
        installing.remove(places.programs)
    if data:
        remove_tree(places.own)
    if as_json:
        print_json({"name": NAME, "freed_bytes": freed, "paths": [str(one) for one in folders]})
        return
    for one in folders:
        say(speak("Deleted: {path}").format(path=one))


def environment(config: Config = None) -> None:
    """Print the environment, one variable a line, as files for containers and systemd take it."""
    from pathlib import Path

    from ansambl.app.running_state import RunningState
    from ansambl.companions.open_webui.environment import environment_of
    from ansambl.companions.open_webui.records import Connection

    loaded, _ = _places(config)
    gateway = loaded.settings.gateway
    certificate = "-" if gateway.tls_certificate else None
    address = RunningState(0, 0.0, gateway.host, gateway.port, "", certificate=certificate).address
    wanted = loaded.settings.open_webui.wanted()
    found = environment_of(wanted, Connection(address, _KEY), Path("DATA"), "SECRET")
    for name in ("DATA_DIR", "WEBUI_SECRET_KEY", "WEBUI_AUTH", "WEBUI_URL", "CORS_ALLOW_ORIGIN", "PYTHONUNBUFFERED"):
        # Whoever runs it has their own of these.
        found.pop(name, None)
    for name, value in found.items():
        typer.echo(f"{name}={value}")


def _places(config: Config) -> tuple[LoadedSettings, Places]:
    from ansambl.app.configuration.settings_file import load_settings
    from ansambl.companions.open_webui.keeping import Places

    loaded = load_settings(config)
    return loaded, Places(loaded.paths.companions)
