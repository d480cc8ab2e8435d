"""What ``ansambl doctor`` finds about Open WebUI beside Ansambl."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from ansambl.app.check import Check, Level
from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.running_state import read_state
from ansambl.companions.open_webui import installing
from ansambl.companions.open_webui.building import VERSION
from ansambl.companions.open_webui.keeping import Places
from ansambl.companions.open_webui.records import NAME
from ansambl.companions.open_webui.watching import stranger_on_port
from ansambl.domain.text import Text, text
from ansambl.foundation.paths import DataPaths
from ansambl.runtime.store import text_from_json

_READY = "ready"


def open_webui_checks(loaded: LoadedSettings, paths: DataPaths) -> list[Check]:
    """What is to be said of it; nothing where it is neither wanted nor installed."""
    wanted = loaded.settings.open_webui
    programs = Places(paths.companions).programs
    program = installing.installed_program(programs, wanted.build)
    if program is None and installing.is_being_installed(programs):
        return [Check("open_webui", Level.OK, text("Open WebUI is being installed"))]
    trouble = _trouble(paths)
    if trouble is not None:
        return [Check("open_webui", Level.WARNING, trouble)]
    if program is None and not wanted.start:
        return []
    if program is None:
        return [Check("open_webui", Level.WARNING, text("Open WebUI is to start with Ansambl and is not installed"),
                      text("install it with: ansambl open-webui install"))]  # fmt: skip
    owner = stranger_on_port(wanted.port, program)
    if owner is not None:
        message = text("Port {port} of Open WebUI is taken by {program}, process {pid}", port=wanted.port,
                       program=owner[1], pid=owner[0])  # fmt: skip
        fix = text("stop what uses it, or set port under [open_webui]")
        return [Check("open_webui", Level.WARNING, message, fix)]
    return [Check("open_webui", Level.OK, text("Open WebUI {version} ({build}) is installed", version=VERSION,
                                                build=wanted.build))]  # fmt: skip


def _trouble(paths: DataPaths) -> Text | None:
    """What went wrong with it in this run of Ansambl, where nothing better has happened since."""
    state = read_state(paths)
    if state is None:
        return None
    try:
        with closing(sqlite3.connect(f"{paths.database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            row = connection.execute(
                "SELECT kind, message FROM events WHERE model = ? AND time >= ? ORDER BY id DESC LIMIT 1",
                (NAME, state.started),
            ).fetchone()
    except sqlite3.Error:
        return None
    return None if row is None or row[0] == _READY else text_from_json(row[1])
