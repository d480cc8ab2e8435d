"""``ansambl up``: start everything, say where it answers, stay until told to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ansambl.cli.options import Config, Yes
from ansambl.foundation.locales import speak

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("up", help=speak("Start everything and stay in the foreground; Ctrl-C stops everything."))(up)


def up(
    config: Config = None,
    host: Annotated[
        str | None, typer.Option(help=speak("Address to listen on; loopback while there are no keys."))
    ] = None,
    port: Annotated[int | None, typer.Option(help=speak("Port to listen on."), min=0, max=65535)] = None,
    offline: Annotated[bool, typer.Option("--offline", help=speak("Fetch nothing."))] = False,
    open_webui: Annotated[
        bool,
        typer.Option("--open-webui", help=speak("Start Open WebUI beside it, connected; see: ansambl open-webui.")),
    ] = False,
    yes: Yes = False,
) -> None:
    """Start Ansambl: its engines, the API and the console. Stays in the foreground; Ctrl-C stops everything."""
    import asyncio
    from contextlib import closing

    from ansambl.foundation import collector

    collector.begin()

    from ansambl import __version__
    from ansambl.app.configuration.settings_file import LoadedSettings, load_settings
    from ansambl.app.data_folder import DataLock, open_log, prepare_folder
    from ansambl.app.lifecycle import serve
    from ansambl.cli.output import console
    from ansambl.cli.reporter import TerminalReporter

    def read() -> LoadedSettings:
        return load_settings(config, {"gateway.host": host, "gateway.port": port})

    loaded = read()
    paths = loaded.paths
    if open_webui:
        from ansambl.cli.open_webui_installing import agreed

        open_webui = agreed(loaded, offline=offline, yes=yes)
    prepare_folder(paths)
    out = console()
    with DataLock(paths), closing(TerminalReporter(out, yes=yes)) as reporter:
        open_log(paths)
        out.print("Ansambl", style="bold", end=" ")
        out.print(__version__)
        with asyncio.Runner(loop_factory=_event_loop()) as runner:
            runner.run(serve(loaded, paths, reporter, reread=read, offline=offline, open_webui=open_webui))
        out.print(speak("Stopped; nothing is left running."), style="dim")


def _event_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    import asyncio

    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop
