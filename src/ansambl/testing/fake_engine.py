"""Run the fake engine for the length of a test, and see what it received."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from ansambl.domain.engine import KEY_VARIABLE
from ansambl.foundation.network import free_port

_PATIENCE, _PAUSE = 10.0, 0.02


def fake_engine_command(port: int | str, *, script: str = "", **options: object) -> list[str]:
    """The command line that starts it; `options` are its other arguments, ``tokens_per_second=50`` and the like."""
    command = [sys.executable, "-P", "-m", "ansambl.testing.fake_engine_server", "--port", str(port)]
    if script:
        command += ["--script", script]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    return command


@dataclass(slots=True)
class RunningFakeEngine:
    """A fake engine that runs. `address` is what a configuration calls it: it ends with ``/v1``."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def address(self) -> str:
        """Where it speaks OpenAI."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def requests(self) -> list[dict[str, Any]]:
        """Every chat request that came: ``path``, ``headers``, ``body`` (text), ``state``, ``tokens_sent``."""
        async with httpx.AsyncClient(trust_env=False, timeout=_PATIENCE) as client:
            answer = await client.get(f"http://127.0.0.1:{self.port}/_requests")
            found: list[dict[str, Any]] = answer.raise_for_status().json()
            return found

    async def wait_for(self, condition: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        """Wait until `condition` holds for `requests`, and return them.

        Raises:
            TimeoutError: it did not hold within ten seconds.
        """
        async with asyncio.timeout(_PATIENCE):
            while not condition(found := await self.requests()):  # noqa: ASYNC110 - it is in another process
                await asyncio.sleep(_PAUSE)
            return found


@asynccontextmanager
async def running_fake_engine(
    *, script: str = "", port: int | None = None, wait: bool = True, **options: object
) -> AsyncIterator[RunningFakeEngine]:
    """Start the fake engine on a free port, wait until it listens, and end it afterwards.

    Args:
        script: its faults, see `fake_engine_server`.
        port: where it listens; a free port by default.
        wait: whether to wait until it listens (it may answer 503 then).
        options: its other arguments, ``model="m2"``, ``slots=2``, ``tokens_per_second=50``…

    Raises:
        RuntimeError: it ended instead of listening; the message holds what it printed.
    """
    chosen = port or free_port()
    # A key meant for another engine must not become its own.
    environment = {name: value for name, value in os.environ.items() if name != KEY_VARIABLE}
    with tempfile.TemporaryDirectory(prefix="fake-engine-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: ASYNC220 - starting takes milliseconds; waiting happens in a thread
                fake_engine_command(chosen, script=script, **options), stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, env=environment,
            )  # fmt: skip
        engine = RunningFakeEngine(chosen, process, log)
        try:
            if wait:
                await _until_it_listens(engine)
            yield engine
        finally:
            process.terminate()
            try:
                await asyncio.to_thread(process.wait, 5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


async def _until_it_listens(engine: RunningFakeEngine) -> None:
    async with asyncio.timeout(_PATIENCE):
        while True:
            if engine.process.poll() is not None:
                raise RuntimeError(engine.log.read_text("utf-8", "replace"))
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", engine.port)
            except OSError:
                await asyncio.sleep(_PAUSE)
                continue
            writer.close()
            return
