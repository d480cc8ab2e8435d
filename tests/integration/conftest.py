"""The product as its users start it, on a data folder of its own that has the embedded model already."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
import pytest
from gateway_stage import running as running  # noqa: PLC0414 - a fixture of the gateway's tests
from product import Started, alive, environment, family, run_command, wait_for

from ansambl.foundation.network import free_port

START_LIMIT = 90.0
Starter = Callable[..., Started]


@pytest.fixture
def data_folder(tmp_path: Path, embedded_model_folder: Path) -> Path:
    """A data folder that has the embedded model already."""
    models = tmp_path / "data" / "models"
    models.mkdir(parents=True)
    for file in embedded_model_folder.iterdir():
        if file.is_file():
            (models / file.name).symlink_to(file) if not _linked(file, models / file.name) else None
    return tmp_path / "data"


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:
        return False
    return True


@pytest.fixture
def start(tmp_path: Path, data_folder: Path) -> Iterator[Starter]:
    """Start products; all are ended, with their engines, when the test is over."""
    running: list[Started] = []
    seen: set[int] = set()

    def begin(
        configuration: str = "", *, arguments: Sequence[str] = (), ready: bool = True, data: Path = data_folder,
        port: int | None = None,
    ) -> Started:  # fmt: skip
        config = tmp_path / "ansambl.toml"
        config.write_text(configuration, encoding="utf-8")
        log = tmp_path / f"up-{len(running)}.log"
        port = port or free_port()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "ansambl", "up", "--config", str(config), "--port", str(port), *arguments],
                env=environment(data), stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False)
        started = Started(process, port, data, log, client)
        running.append(started)
        path = "/ready" if ready else "/health"

        def answers() -> bool:
            if process.poll() is not None:
                pytest.fail(f"ansambl up ended with {process.returncode}: {started.output}")
            seen.update(family(process.pid))
            with contextlib.suppress(httpx.HTTPError):
                return client.get(path).status_code == 200
            return False

        wait_for(answers, f"{path} of ansambl up", START_LIMIT)
        return started

    yield begin
    for one in running:
        seen.update(family(one.process.pid))
        one.client.close()
        if one.process.poll() is None:
            one.process.send_signal(signal.SIGTERM)
            try:
                one.process.wait(40)
            except subprocess.TimeoutExpired:
                one.process.kill()
                one.process.wait()
    run_command("down", data=data_folder)
    wait_for(lambda: not alive(seen), f"no process left of {seen}", 15)
