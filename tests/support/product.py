"""The product as its users start it: ``ansambl up`` as a process of its own, on a data folder of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from secrets_watch import heard, learn_from_product

from ansambl.foundation.network import free_port

START_LIMIT = 90.0


@dataclass
class Started:
    """A running ``ansambl up``."""

    process: subprocess.Popen[bytes]
    port: int
    data: Path
    log: Path
    client: httpx.Client = field(repr=False)
    seen: set[int] = field(default_factory=set)
    """Its processes, as far as they were seen: none may be left at the end."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def state(self) -> dict[str, Any]:
        return self.client.get("/admin/api/state").json()

    @property
    def token(self) -> str:
        """The admin token of this run."""
        return str(json.loads((self.data / "state.json").read_text(encoding="utf-8"))["token"])

    def instance(self, model: str = "embedded") -> dict[str, Any]:
        return next(one for one in self.state()["instances"] if one["model"] == model)

    def chat(self, model: str, *messages: dict[str, Any] | str, **fields: Any) -> httpx.Response:
        listed = [{"role": "user", "content": one} if isinstance(one, str) else one for one in messages]
        body = {"model": model, "messages": listed, "max_tokens": 16, "temperature": 0, **fields}
        return self.client.post("/v1/chat/completions", json=body)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run_command(*arguments, data=self.data)

    def stop(self, number: int = signal.SIGINT, limit: float = 40.0) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(limit)

    def end(self) -> None:
        """Stop it however it stands, as a test's last act."""
        self.seen.update(family(self.process.pid))
        learn_from_product(self.data, self.seen)
        self.client.close()
        try:
            self.stop(signal.SIGTERM)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def environment(data: Path, **more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ANSAMBL_")}
    return {**clean, "ANSAMBL_DATA": str(data), "ANSAMBL_LANG": "en", "COLUMNS": "200", **more}


def run_command(*arguments: str, data: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "ansambl", *arguments],
        env=environment(data, **more), capture_output=True, text=True, timeout=120, check=False,
        stdin=subprocess.DEVNULL, cwd=next(one for one in data.parents if one.is_dir()),
    )  # fmt: skip


def make_data_folder(folder: Path, embedded_model_folder: Path) -> Path:
    """A data folder that has the embedded model already, as links to its files where the disk can."""
    models = folder / "models"
    models.mkdir(parents=True)
    for file in filter(Path.is_file, embedded_model_folder.iterdir()):
        try:
            os.link(file, models / file.name)
        except OSError:
            (models / file.name).symlink_to(file)
    return folder


def start_product(
    data: Path, config: Path, log: Path, *arguments: str, port: int | None = None, path: str = "/ready",
    program: Sequence[str] = ("-m", "ansambl"),
) -> Started:  # fmt: skip
    """Run ``ansambl up`` and wait until `path` answers; `Started.end` ends it. `program` is what Python runs."""
    port = port or free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *program, "up", "--config", str(config), "--port", str(port), *arguments],
            env=environment(data), stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    client = httpx.Client(
        base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False, event_hooks={"response": [_hear]}
    )
    started = Started(process, port, data, log, client)

    def answers() -> bool:
        if process.poll() is not None:
            pytest.fail(f"ansambl up ended with {process.returncode}: {started.output}")
        started.seen.update(family(process.pid))
        with contextlib.suppress(httpx.HTTPError):
            return client.get(path).status_code == 200
        return False

    try:
        wait_for(answers, f"{path} of ansambl up", START_LIMIT)
        learn_from_product(data, started.seen)
    except BaseException:
        started.end()
        raise
    return started


@contextlib.contextmanager
def running_product(
    folder: Path, embedded_model_folder: Path, configuration: str = "", *arguments: str
) -> Iterator[Started]:
    """A product with a data folder and a configuration of its own below `folder`; no process of it is left."""
    config = folder / "ansambl.toml"
    config.write_text(configuration, encoding="utf-8")
    data = make_data_folder(folder / "data", embedded_model_folder)
    started = start_product(data, config, folder / "up.log", *arguments)
    try:
        yield started
    finally:
        started.end()
    wait_for(lambda: not alive(started.seen), f"no process left of {started.seen}", 15)


def _hear(response: httpx.Response) -> None:
    """No answer holds a secret, but the one that shows a new key, once. Streams are read by whoever asked for them."""
    shown = response.request.method == "POST" and "/keys" in response.request.url.path
    if "content-length" in response.headers and not shown:
        heard(f"{response.request.method} {response.request.url.path}", response.read())


def wait_for(condition: Callable[[], Any], what: str, limit: float = 30.0) -> Any:
    """Wait until `condition` returns something true, and return that."""
    end = time.monotonic() + limit
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            pytest.fail(f"waited {limit:.0f} s in vain: {what}")
        time.sleep(0.05)


def family(pid: int) -> set[int]:
    """A process and all its descendants."""
    try:
        process = psutil.Process(pid)
        return {pid, *(one.pid for one in process.children(recursive=True))}
    except psutil.Error:
        return set()


def alive(pids: set[int]) -> set[int]:
    """Those of `pids` that still run."""
    found = set()
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.add(pid)
    return found


def stream_events(lines: Iterator[str]) -> list[Any]:
    """The events of a stream, decoded; ``[DONE]`` as that word."""
    events = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    return [one if one == "[DONE]" else json.loads(one) for one in events]
