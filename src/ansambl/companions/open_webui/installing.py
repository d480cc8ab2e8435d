"""Installing Open WebUI: what it would be, doing it here, and doing it in a child while Ansambl answers already.

The child is ``python -m ansambl.companions.open_webui.installing FOLDER BUILD``: it writes one JSON object a line, how
far it is, then what came of it. A signal, or the end of its input, which is the end of whoever started it, ends it with
all that it started, and the next run goes on from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from ansambl.companions.open_webui.building import LOCKS, build_of, check_python, check_system
from ansambl.companions.open_webui.records import NAME
from ansambl.domain.errors import AnsamblError
from ansambl.domain.hardware import Machine
from ansambl.domain.text import Text, text
from ansambl.domain.units import Bytes
from ansambl.engines.install import folders, installer
from ansambl.engines.install.choice import system_of
from ansambl.engines.install.failures import InstallError
from ansambl.engines.install.installer import Announcement
from ansambl.engines.install.programs import find_pythons
from ansambl.engines.install.records import Progress, Stage
from ansambl.engines.install.wheels import CHECKING, FETCHING, MAKING, UNPACKING
from ansambl.engines.installations import InstallManifest, engine_folder, read_install_manifest
from ansambl.foundation.child_process import command_of
from ansambl.foundation.locales import speak, supported
from ansambl.foundation.processes import end_group, start_time
from ansambl.hardware import inventory

_LONGEST_LINE = 1 << 16
_TRYING = text("trying it out")
"""What the last stage is called here: it is no engine that is tried."""

_STAGES = {one.render(): one for one in (MAKING, FETCHING, UNPACKING, _TRYING)}


def is_being_installed(programs: Path) -> bool:
    """Whether another process installs or removes it at this moment."""
    return programs.is_dir() and folders.is_being_installed(programs, NAME)


def installed_program(programs: Path, build: str) -> Path | None:
    """The program of this very build and version, where it is installed; also another build of it does not count."""
    wanted = build_of(build)
    found = read_install_manifest(engine_folder(programs, NAME))
    if found is None or found.program != f"{wanted.folder}/{wanted.program}":
        return None
    return engine_folder(programs, NAME) / found.program


def announce(programs: Path, build: str, machine: Machine | None = None) -> Announcement:
    """What installing a build would mean. Changes nothing.

    Raises:
        NotSupportedError: it cannot run here.
        InstallError: the disk has no room.
    """
    wanted = build_of(build)
    announced = installer.announce(wanted, programs)
    if not announced.is_done:
        check_system(wanted, system_of(machine or inventory.detect()))
        check_python(find_pythons())
        installer.check_room(announced)
    return announced


def install(
    programs: Path, build: str, machine: Machine, progress: Progress, *, offline: bool = False
) -> InstallManifest:  # fmt: skip
    """Install a build. Blocks; called again, it goes on where it stopped.

    Raises:
        AnsamblError: as `ansambl.engines.install.installer.install`.
    """

    def told(stage: Stage) -> None:
        progress(replace(stage, name=_TRYING) if stage.name == CHECKING else stage)

    return installer.install(build_of(build), programs, machine, told, offline=offline, locks=LOCKS)


def remove(programs: Path) -> Bytes:
    """Remove the program; what it keeps stays. Returns the bytes that were freed.

    Raises:
        AnsamblError: nothing is there, it runs, or it cannot be removed.
    """
    if not engine_folder(programs, NAME).is_dir():
        raise InstallError(text("Ansambl has not installed Open WebUI"))
    return installer.remove(NAME, programs)


async def install_in_child(programs: Path, build: str, tell: Callable[[Text], None]) -> None:
    """Install a build in a child process, telling how far it is; when this is cancelled the child is ended.

    Raises:
        AnsamblError: it failed; the message is the child's.
    """
    child = await asyncio.create_subprocess_exec(
        *command_of(__name__, programs, build, speak.language), stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, start_new_session=True, limit=_LONGEST_LINE,
    )  # fmt: skip
    started = start_time(child.pid) or 0.0
    last: dict[str, Any] = {}
    try:
        assert child.stdout is not None  # noqa: S101 - it is a pipe, as asked for above
        async for line in child.stdout:
            last = _decoded(line)
            if "doing" in last:
                tell(_told(last))
        await child.wait()
    finally:
        await end_group(child.pid, started)
        await child.wait()
    if last.get("done") is not True:
        raise InstallError(text("{reason}", reason=str(last.get("failed") or f"exit code {child.returncode}")))


def _told(said: dict[str, Any]) -> Text:
    doing = _STAGES.get(str(said["doing"]), _TRYING)
    if said.get("total"):
        return text("{doing}: {done} of {total}", doing=doing, done=said["at"], total=said["total"])
    return doing


def _decoded(line: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        found = json.loads(line)
        if isinstance(found, dict):
            return found
    return {}


def _stop(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - the form of a signal's handler
    raise KeyboardInterrupt


def _end_with_parent() -> None:
    """Be ended when the other end of the input is closed: by whoever started us, or by the kernel after it was killed.

    An installation that nobody waits for would keep the next Ansambl from going on with it.
    """

    def wait() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def _write(**said: Any) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def _main(programs: str, build: str, language: str) -> int:
    speak.language = supported(language) or speak.language
    # So that what it started is ended, too, which a plain SIGTERM would leave behind.
    signal.signal(signal.SIGTERM, _stop)
    _end_with_parent()
    shown: list[object] = []

    def progress(stage: Stage) -> None:
        now = [stage.name.render(), stage.done, stage.total]
        if now != shown:
            shown[:] = now
            _write(doing=stage.name.render(), at=stage.done, total=stage.total)

    try:
        install(Path(programs), build, inventory.detect(), progress)
    except AnsamblError as error:
        _write(failed=error.message.render(speak))
        return 1
    except KeyboardInterrupt:
        return 130
    _write(done=True)
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
