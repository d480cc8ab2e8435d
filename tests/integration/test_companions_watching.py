"""A companion as a child: a small stand-in program that answers /health is started, watched and ended."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil

from ansambl.companions.open_webui.records import State, Wanted
from ansambl.companions.open_webui.watching import PROBE, Watched, stranger_on_port
from ansambl.domain.engine import LaunchSpec
from ansambl.domain.text import Text
from ansambl.domain.units import Seconds
from ansambl.foundation.network import free_port
from ansambl.runtime.launcher import LocalLauncher

STAND_IN = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
BROKEN = "import sys; print('ValueError: the database is broken', file=sys.stderr); sys.exit(3)"


class Stage:
    """A watched stand-in and what was told of it."""

    def __init__(self, folder: Path, program: str, patience: float = 60.0) -> None:
        self.port = free_port()
        self.told: list[tuple[str, str]] = []
        wanted = Wanted(build="slim", port=self.port)
        self.log = folder / "open-webui.log"

        def spec() -> LaunchSpec:
            return LaunchSpec("open-webui", (sys.executable, "-c", program, str(self.port)), self.port)

        probe = replace(PROBE, patience=Seconds(patience))
        self.watched = Watched(wanted, spec, LocalLauncher(), self.log, self.tell, probe=probe)

    def tell(self, kind: str, message: Text) -> None:
        self.told.append((kind, message.render()))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - the status is a plain field
                await asyncio.sleep(0.01)

    async def ready(self) -> int:
        await self.until(lambda: self.watched.status.state is State.READY)
        assert self.watched.status.pid is not None
        return self.watched.status.pid


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_it_is_started_told_of_and_ended_with_us(tmp_path: Path) -> None:
    stage = Stage(tmp_path, STAND_IN)
    running = asyncio.create_task(stage.watched.run())
    pid = await stage.ready()
    assert stage.told == [("ready", f"Open WebUI: http://127.0.0.1:{stage.port}")]
    assert stranger_on_port(stage.port, Path(sys.executable)) is None
    assert stranger_on_port(stage.port, Path("/other/python")) == (pid, psutil.Process(pid).name())
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert is_gone(pid)
    assert stage.watched.status.state is State.STOPPED
    assert stage.watched.status.pid is None
    assert stage.log.stat().st_mode & 0o777 == 0o600


async def test_killed_it_is_started_again_and_that_is_said(tmp_path: Path) -> None:
    stage = Stage(tmp_path, STAND_IN)
    running = asyncio.create_task(stage.watched.run())
    try:
        first = await stage.ready()
        os.kill(first, signal.SIGKILL)
        await stage.until(lambda: stage.watched.status.state is State.RESTARTING)
        assert await stage.ready() != first
        assert stage.watched.status.restarts == 1
        assert [kind for kind, _ in stage.told] == ["ready", "restarting", "ready"]
        assert stage.told[1][1] == "Open WebUI ended by itself (signal 9); it is started again"
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_what_cannot_start_is_given_up_with_its_own_words(tmp_path: Path) -> None:
    stage = Stage(tmp_path, BROKEN)
    await asyncio.wait_for(stage.watched.run(), 60)
    status = stage.watched.status
    assert status.state is State.FAILED
    assert status.message is not None
    assert "exit code 3: ValueError: the database is broken" in status.message.render()
    assert str(stage.log) in status.message.render()
    assert [kind for kind, _ in stage.told][-1] == "failed"
    assert status.restarts == 2, "three starts in all, as an engine has"


async def test_a_taken_port_is_told_with_its_owner(tmp_path: Path) -> None:
    stage = Stage(tmp_path, STAND_IN)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", stage.port))
        taken.listen()
        await asyncio.wait_for(stage.watched.run(), 60)
    ((kind, words),) = stage.told
    assert kind == "failed"
    assert f"port {stage.port} is taken by" in words
    assert f"process {os.getpid()}" in words


async def test_one_that_never_answers_is_ended_and_given_up(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "import time; time.sleep(600)", patience=0.3)
    running = asyncio.create_task(stage.watched.run())
    await stage.until(lambda: stage.watched.status.pid is not None)
    pid = stage.watched.status.pid or 0
    await asyncio.wait_for(running, 60)
    assert stage.watched.status.state is State.FAILED
    assert is_gone(pid)


async def test_a_long_log_is_begun_anew(tmp_path: Path) -> None:
    stage = Stage(tmp_path, BROKEN)
    with stage.log.open("wb") as file:
        file.truncate(17 << 20)
    await asyncio.wait_for(stage.watched.run(), 60)
    assert stage.log.stat().st_size < 1 << 20
    assert stage.log.with_name("open-webui.log.1").stat().st_size == 17 << 20
