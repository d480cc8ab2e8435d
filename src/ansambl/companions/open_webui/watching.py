"""Open WebUI as a child of ours: started, watched, started again after a crash, ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from ansambl.companions.open_webui.building import VERSION
from ansambl.companions.open_webui.environment import SECRET_NAMES
from ansambl.companions.open_webui.records import NAME, State, Status, Wanted
from ansambl.domain.engine import ExitExplanation, ExitReason, LaunchSpec, ProbeSpec
from ansambl.domain.text import Text, text
from ansambl.domain.units import Seconds
from ansambl.foundation import network
from ansambl.foundation.clock import Clock, RealClock
from ansambl.foundation.paths import PRIVATE_FILE
from ansambl.runtime import readiness
from ansambl.runtime.engine.restarts import RestartPolicy
from ansambl.runtime.launcher import EngineProcess, Launcher, LaunchFailedError

PROBE = ProbeSpec("/health", 200, Seconds(600.0))
"""A first start makes its database and took 95 s on two busy cores."""

_BEGIN = "import sys; from open_webui import app; sys.exit(app())"
"""What its script ``open-webui`` does; the script itself names its Python by a path, which a moved folder breaks."""

_GOODBYE = 5.0
"""Seconds that it may take to end: it waits for open pages, which do not close."""

_LONGEST_LOG = 16 << 20
_TAIL = 4096
_SHOWN = 200

Tell = Callable[[str, Text], None]
"""Told what happened: a short word for its kind, and a sentence."""


def launch_spec(program: Path, wanted: Wanted, environment: dict[str, str], folder: Path) -> LaunchSpec:
    """How it is started. Nothing secret stands on the command line. Pure."""
    return LaunchSpec(
        engine=NAME,
        argv=(str(program), "-P", "-c", _BEGIN, "serve", "--host", wanted.host, "--port", str(wanted.port)),
        port=wanted.port,
        environment=environment,
        secret_environment=SECRET_NAMES,
        host=wanted.host,
        base_path="",
        working_folder=str(folder),
    )


class Watched:
    """One Open WebUI. `spec` is asked at each start, `tell` is told what happens; `log` is where it writes."""

    def __init__(
        self, wanted: Wanted, spec: Callable[[], LaunchSpec], launcher: Launcher, log: Path, tell: Tell, *,
        clock: Clock | None = None, probe: ProbeSpec = PROBE,
    ) -> None:  # fmt: skip
        self._wanted = wanted
        self._spec = spec
        self._launcher = launcher
        self._log = log
        self._tell = tell
        self._clock = clock or RealClock()
        self._probe = probe
        self.status = Status(wanted.address, State.STOPPED, VERSION, wanted.build)

    def show(self, state: State, message: Text | None = None, **more: Any) -> None:
        """Stand so from now on."""
        self.status = replace(self.status, state=state, message=message, **more)

    def fail(self, reason: Text) -> None:
        """It does not run, and is not tried again in this run."""
        self.show(State.FAILED, reason, pid=None)
        self._tell("failed", text("Open WebUI does not run: {reason}", reason=reason))

    async def run(self) -> None:
        """Have it running until this is cancelled, or it is given up. Nothing of it is left afterwards."""
        policy = RestartPolicy()
        self.show(State.STARTING)
        try:
            while True:
                self._shorten_log()
                try:
                    process = await self._launcher.start(self._spec(), self._log)
                except LaunchFailedError as failure:
                    self.fail(_unstarted(failure.explanation))
                    return
                self.show(self.status.state, self.status.message, pid=process.identity.pid)
                ready_seconds, reason = await self._one_run(process)
                pause = policy.after_end(ExitExplanation(ExitReason.CRASHED, reason), ready_seconds)
                if pause is None:
                    self.fail(text("{reason}; it was started several times in vain; see its log {log}, and start "
                                   "Ansambl again", reason=reason, log=str(self._log)))  # fmt: skip
                    return
                self.show(State.RESTARTING, reason, pid=None, restarts=self.status.restarts + 1)
                self._tell("restarting", text("Open WebUI ended by itself ({reason}); it is started again",
                                              reason=reason))  # fmt: skip
                await self._clock.sleep(pause)
        finally:
            if self.status.state is not State.FAILED:
                self.show(State.STOPPED, pid=None)

    async def _one_run(self, process: EngineProcess) -> tuple[float | None, Text]:
        """From its start to its end: the seconds for which it was ready, None if it never was, and why it ended."""
        ready_at: float | None = None
        ending = asyncio.ensure_future(process.wait())
        looking = asyncio.ensure_future(
            readiness.wait_until_ready(
                self._probe, self._wanted.port, key="", clock=self._clock, host=self._wanted.near_host
            )
        )
        try:
            await asyncio.wait({ending, looking}, return_when=asyncio.FIRST_COMPLETED)
            if not ending.done() and looking.result():
                ready_at = self._clock.monotonic()
                again = self.status.state is State.RESTARTING
                self.show(State.READY)
                self._tell("ready", text("Open WebUI answers again at {address}", address=self._wanted.address)
                           if again else text("Open WebUI: {address}", address=self._wanted.address))  # fmt: skip
                await asyncio.wait({ending})
            if not ending.done():
                return None, text("it did not answer within {seconds} s", seconds=round(self._probe.patience))
            code = ending.result()
            return None if ready_at is None else self._clock.monotonic() - ready_at, self._words(code)
        finally:
            for one in (looking, ending):
                one.cancel()
            await asyncio.gather(looking, ending, return_exceptions=True)
            await process.stop(_GOODBYE)
            await process.wait()
            await self._launcher.forget(self._log)

    def _words(self, code: int | None) -> Text:
        if code is not None and code < 0:
            return text("signal {number}", number=-code)
        said = _last_line(self._log)
        return text("exit code {code}: {words}", code="?" if code is None else code, words=said or "-")

    def _shorten_log(self) -> None:
        """Begin a new log where the old one has grown long; one earlier is kept."""
        with contextlib.suppress(OSError):
            if self._log.stat().st_size > _LONGEST_LOG:
                self._log.replace(self._log.with_name(self._log.name + ".1"))
        with contextlib.suppress(OSError):
            os.close(os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE_FILE))


def _unstarted(explanation: ExitExplanation) -> Text:
    """Why it could not even be started, with the setting that helps."""
    if explanation.reason is not ExitReason.PORT_TAKEN:
        return explanation.message
    return text("{reason} ('port' under [open_webui]), and start Ansambl again", reason=explanation.message)


def _last_line(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    last = next((one.strip() for one in reversed(lines) if one.strip()), "")
    return "".join(one for one in last if one.isprintable())[:_SHOWN]


def stranger_on_port(port: int, program: Path) -> tuple[int, str] | None:
    """Process id and name of who listens on a port and was not started from `program`; None where nobody does."""
    owner = network.port_owner(port)
    if owner is None:
        return None
    try:
        words = psutil.Process(owner[0]).cmdline()
    except psutil.Error:
        words = []
    return None if words[:1] == [str(program)] else owner
