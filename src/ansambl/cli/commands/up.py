"""``ansambl up``: start everything, say where it answers, stay until told to stop."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ansambl import __version__
from ansambl.app.data_folder import DataLock, RunningState, prepare_folder
from ansambl.app.lifecycle import serve
from ansambl.app.settings import EMBEDDED
from ansambl.app.settings_file import load_settings
from ansambl.app.wiring import Product
from ansambl.cli.output import ask_yes
from ansambl.domain.plan import Attachment
from ansambl.domain.text import Text
from ansambl.foundation import logging
from ansambl.foundation.locales import speak

_QUESTION = "Write a haiku about loops"


class TerminalReporter:
    """Shows on a terminal what happens while Ansambl starts and stops. `yes` answers its questions."""

    def __init__(self, console: Console, *, yes: bool) -> None:
        self._console = console
        self._yes = yes
        self._progress: Progress | None = None
        self._task = TaskID(0)

    def say(self, message: Text) -> None:
        """One line about what is happening."""
        self._console.print(message.render(speak), style="dim", markup=False, highlight=False, soft_wrap=True)

    def warn(self, message: Text) -> None:
        """One line about what went wrong while the rest goes on."""
        self._console.print(
            speak("warning: {message}").format(message=message.render(speak)), style="yellow", markup=False,
            highlight=False, soft_wrap=True,
        )  # fmt: skip

    def fetching(self, done: int, total: int) -> None:
        """Bytes of the embedded model that have arrived."""
        if not self._console.is_terminal:
            return
        if self._progress is None:
            self._progress = Progress(
                TextColumn("  "), BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn(),
                console=self._console, transient=True,
            )  # fmt: skip
            self._progress.start()
            self._task = self._progress.add_task("", total=total)
        self._progress.update(self._task, completed=done, total=total)
        if done >= total:
            self._progress.stop()

    def offer(self, found: Attachment) -> bool:
        """Ask whether a server that was found running shall answer; without a terminal say how to use it."""
        self._line(
            speak("{server} is running here, at {address}, with the model {model}.").format(
                server=found.server, address=found.address, model=found.name
            )
        )
        if self._yes:
            self._line(speak("Roles and council run on it."))
            return True
        if sys.stdin.isatty() and self._console.is_terminal:
            question = speak("Shall roles and council run on it, instead of the tiny embedded model?")
            return ask_yes(question, yes=False, default=True)
        self._line(speak("To run roles and council on it, start with --yes, or put this into ansambl.toml:"))
        self._line(f'\n    [models.main]\n    address = "{found.address}"\n    name = "{found.name}"\n')
        return False

    def ready(self, running: RunningState, product: Product) -> None:
        """Say where everything is and give one command to try."""
        catalog = product.catalog
        names = ", ".join((*catalog.roles, *catalog.ensembles, *catalog.models))
        address = running.address
        rows = (
            (speak("Console"), f"{address}/"),
            (speak("API"), speak("{address}/v1 (OpenAI; any key)").format(address=address)),
            (speak("Models"), names),
        )
        self._line("")
        width = max(len(title) for title, _ in rows)
        for title, value in rows:
            self._line(f"  {title.ljust(width)}  {value}")
        self._line("\n  " + speak("Try it:"))
        self._line(
            f"    curl {address}/v1/chat/completions -H 'content-type: application/json' \\\n"
            f"""      -d '{{"model": "coder", "messages": [{{"role": "user", "content": "{_QUESTION}"}}]}}'"""
        )
        if any(one.name == EMBEDDED for one in catalog.models.values()):
            self._line(
                "\n  "
                + speak(
                    "The embedded model is a demonstration: tiny, English only. For real work give Ansambl a GGUF file "
                    "or the address of a running engine under [models] in ansambl.toml."
                )
            )
        self._line("\n  " + speak("Ctrl-C stops everything."))

    def _line(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def up(
    config: Annotated[
        Path | None, typer.Option("--config", help=speak("Configuration file."), show_default=False)
    ] = None,
    host: Annotated[
        str | None, typer.Option(help=speak("Address to listen on; loopback while there are no keys."))
    ] = None,
    port: Annotated[int | None, typer.Option(help=speak("Port to listen on."), min=0, max=65535)] = None,
    offline: Annotated[bool, typer.Option("--offline", help=speak("Fetch nothing."))] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help=speak("Answer every question with yes."))] = False,
) -> None:
    """Start Ansambl: its engines, the API and the console. Stays in the foreground; Ctrl-C stops everything."""
    loaded = load_settings(config, {"gateway.host": host, "gateway.port": port})
    paths = loaded.paths
    prepare_folder(paths)
    console = Console(highlight=False)
    with DataLock(paths):
        logging.configure(paths.logs / "ansambl.log")
        console.print(f"[bold]Ansambl[/bold] {__version__}")
        reporter = TerminalReporter(console, yes=yes)
        with asyncio.Runner(loop_factory=_event_loop()) as runner:
            runner.run(serve(loaded, paths, reporter, offline=offline))
        console.print(speak("Stopped; nothing is left running."), style="dim")


def _event_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(help=speak("Start everything and stay in the foreground; Ctrl-C stops everything."))(up)
