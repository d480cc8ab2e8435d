"""``ansambl down``: stop Ansambl and its engines, and return when nothing of them is left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

import typer

from ansambl.cli.options import Config
from ansambl.foundation.locales import speak

_LIMIT = 60.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("down", help=speak("Stop Ansambl and its engines."))(down)


def down(config: Config = None) -> None:
    """Stop Ansambl and its engines."""
    from ansambl.app.configuration.configuration_file import load_data_paths
    from ansambl.app.data_folder import open_log
    from ansambl.app.lifecycle import end_leftovers
    from ansambl.app.running_state import read_state
    from ansambl.cli.client import Client
    from ansambl.cli.output import note, say
    from ansambl.domain.errors import AnsamblError
    from ansambl.domain.text import text
    from ansambl.foundation import processes

    paths = load_data_paths(config)
    state = read_state(paths)
    if state is None:
        if paths.logs.is_dir():
            open_log(paths)
        ended = asyncio.run(end_leftovers(paths)) if paths.root.is_dir() else 0
        if ended:
            say(
                speak("Ansambl was not running; engines left over from a crash and ended now: {count}").format(
                    count=ended
                )
            )
        else:
            say(speak("Ansambl is not running."))
        return
    try:
        with Client(state) as client:
            client.stop()
    except AnsamblError as error:
        # It hangs, or its port is out of reach from here: the signal asks for the same.
        note(error.message.render(speak))
        with contextlib.suppress(ProcessLookupError):
            os.kill(state.pid, signal.SIGTERM)

    async def wait() -> None:
        await asyncio.wait_for(processes.wait_for_end(state.pid, state.mark), _LIMIT)

    try:
        asyncio.run(wait())
    except TimeoutError:
        raise AnsamblError(
            text(
                "Ansambl (process {pid}) still runs {limit} s after it was told to stop; see: ansambl logs",
                pid=state.pid,
                limit=int(_LIMIT),
            )
        ) from None
    say(speak("Ansambl has stopped."))
