"""Programs that a benchmark starts: started in their own sessions, waited for, measured, always ended."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from ansambl.foundation.network import free_port
from ansambl.foundation.processes import signal_group, spawn

_started: dict[int, subprocess.Popen[bytes]] = {}


class BenchmarkError(Exception):
    """The benchmark cannot go on; says why in one line."""


def start(argv: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> int:
    """Start a program with its output in `log`; returns its process id. `stop` ends it."""
    process = spawn(argv, environment if environment is not None else os.environ, log)
    _started[process.pid] = process
    return process.pid


def stop(pid: int, patience: float = 25.0) -> None:
    """End a program of `start` and its whole process group: politely first, for good after `patience` seconds."""
    process = _started.pop(pid, None)
    if process is None:
        return
    signal_group(pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(patience)
    signal_group(pid, signal.SIGKILL)
    process.wait()


def stop_all() -> None:
    """End whatever is still running, last started first."""
    for pid in reversed(list(_started)):
        stop(pid)


@contextlib.contextmanager
def clean_up() -> Iterator[None]:
    """End all programs however the block ends, also on SIGTERM."""

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        stop_all()
        signal.signal(signal.SIGTERM, before)


def wait_until_answers(pid: int, port: int, path: str, log: Path, limit: float) -> None:
    """Return when GET `path` answers 200.

    Raises:
        BenchmarkError: the program ended, or `limit` seconds passed.
    """
    end = time.monotonic() + limit
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        process = _started[pid]
        if process.poll() is not None or time.monotonic() > end:
            ended = process.poll()
            why = f"was not ready in {limit:.0f} s" if ended is None else f"ended with {ended}"
            words = " ".join(log.read_text(errors="replace").split()[-60:])
            raise BenchmarkError(f"{log.stem} {why}; its last words: {words}")
        time.sleep(0.05)


def start_ansambl(config_text: str, data_folder: Path, *, limit: float = 120.0) -> tuple[int, int]:
    """Start Ansambl as users do, on a configuration and a data folder of its own; returns process id and port.

    The folder also gets ``ansambl.toml`` and ``ansambl.log``. `stop` ends it.

    Raises:
        BenchmarkError: it did not become ready within `limit` seconds.
    """
    port, log = free_port(), data_folder / "ansambl.log"
    pid = start(*_with_log(ansambl_command(config_text, data_folder, port), log))
    wait_until_answers(pid, port, "/ready", log, limit)
    return pid, port


def _with_log(command: tuple[list[str], dict[str, str]], log: Path) -> tuple[list[str], Path, dict[str, str]]:
    return command[0], log, command[1]


def start_upstream(folder: Path, *, chunks: int = 100, pace: float = 0.005) -> tuple[int, int]:
    """Start the fixed upstream, whose streams have that many chunks, `pace` s apart; returns process id and port."""
    port, log = free_port(), folder / "upstream.log"
    program = [sys.executable, str(Path(__file__).with_name("upstream.py")), str(port), str(chunks), str(pace)]
    pid = start(program, log)
    wait_until_answers(pid, port, "/health", log, 20.0)
    return pid, port


def litellm_program(named: str | None) -> str | None:
    """LiteLLM's proxy: the program that was named, else one that is installed; None where there is none."""
    return shutil.which(named or os.environ.get("LITELLM_PROGRAM") or "litellm")


def litellm_command(program: str, upstream: int, folder: Path) -> tuple[list[str], dict[str, str], int]:
    """How LiteLLM's proxy is started before the upstream, with one worker: arguments, environment, port."""
    port, config = free_port(), folder / "litellm.yaml"
    config.write_text(
        "model_list:\n  - model_name: fixed\n    litellm_params:\n      model: openai/fixed\n"
        f"      api_base: http://127.0.0.1:{upstream}/v1\n      api_key: none\n"
        "litellm_settings:\n  telemetry: false\n"
    )
    argv = [program, "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    # Or it would ask the network for prices when it starts.
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "127.0.0.1"}
    # And it does not start without a key of its own unless that is said; a key would need its database.
    open_to_all = {"LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}
    return argv, {**_compiled(folder), **quiet, **open_to_all}, port


def ansambl_command(config_text: str, folder: Path, port: int) -> tuple[list[str], dict[str, str]]:
    """How Ansambl is started on a configuration and a data folder of its own: arguments and environment."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "ansambl.toml"
    config.write_text(config_text)
    program = [sys.executable, "-m", "ansambl", "up", "--config", str(config), "--port", str(port)]
    return program, {**_compiled(folder.parent), "ANSAMBL_DATA": str(folder / "data"), "ANSAMBL_LANG": "en"}


def _compiled(folder: Path) -> dict[str, str]:
    """An environment in which modules are compiled once and not at each start, as they are when pip installs them."""
    found = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**found, "PYTHONPYCACHEPREFIX": str(folder / "compiled")}


def start_and_ask(
    argv: Sequence[str], environment: Mapping[str, str], log: Path, port: int, content: bytes, limit: float
) -> tuple[int, float]:
    """Start a proxy; returns its process id and the seconds until it first answered a request with 200.

    Raises:
        BenchmarkError: the program ended, or `limit` seconds passed.
    """
    began = time.monotonic()
    pid = start(argv, log, environment)
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(content)
            if connection.recv(16).startswith(b"HTTP/1.1 200"):
                return pid, time.monotonic() - began
        if _started[pid].poll() is not None or time.monotonic() - began > limit:
            words = " ".join(log.read_text(errors="replace").split()[-60:])
            raise BenchmarkError(f"{log.stem} did not answer in {limit:.0f} s; its last words: {words}")
        time.sleep(0.005)


_NGINX = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx-errors.log;
{user}
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  client_body_buffer_size 1m; client_max_body_size 64m; keepalive_requests 1000000;
  upstream fixed {{ server 127.0.0.1:{upstream}; keepalive 128; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://fixed; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }}
  }}
}}
"""


def start_nginx(upstream: int, folder: Path) -> tuple[int, int] | None:
    """Start nginx before the upstream; returns its worker's process id and its port, None when it is not installed."""
    # Debian keeps it where the paths of ordinary users do not lead.
    program = shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]))
    if program is None:
        return None
    port, log, config = free_port(), folder / "nginx.log", folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(_NGINX.format(folder=folder, user=user, upstream=upstream, port=port))
    pid = start([program, "-p", str(folder), "-e", str(folder / "nginx-errors.log"), "-c", str(config)], log)
    wait_until_answers(pid, port, "/health", log, 20.0)
    return psutil.Process(pid).children()[0].pid, port


class CpuClock:
    """CPU seconds (user and system) that one process spends, its children left out.

    Linux counts in nanoseconds per thread; where it does not, or a thread ended meanwhile and took its count with it,
    the process's own count in ticks of 10 ms serves.
    """

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._threads = _nanoseconds(pid)
        self._ticks = self._total()

    def _total(self) -> float:
        times = self._process.cpu_times()
        return times.user + times.system

    def seconds(self) -> float:
        """CPU seconds since this clock was made."""
        now = _nanoseconds(self._process.pid)
        if self._threads and self._threads.keys() <= now.keys():
            return (sum(now.values()) - sum(self._threads.values())) / 1e9
        return self._total() - self._ticks


def _nanoseconds(pid: int) -> dict[str, int]:
    found: dict[str, int] = {}
    with contextlib.suppress(OSError, ValueError, IndexError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found[task.name] = int((task / "schedstat").read_text().split()[0])
    return found
