"""The state file: how commands find the running Ansambl of a data folder and are let in."""

from __future__ import annotations

import json
import os
import secrets
import time
from dataclasses import asdict, dataclass, field

from ansambl import __version__
from ansambl.foundation import processes
from ansambl.foundation.paths import DataPaths, write_atomically
from ansambl.foundation.redaction import register_secret


@dataclass(frozen=True, slots=True)
class RunningState:
    """What the state file says: how commands reach the running Ansambl.

    `started` is in seconds since the epoch; `mark` is the process's `processes.start_time`, which tells it from a
    later one with the same id.
    """

    pid: int
    started: float
    host: str
    port: int
    token: str = field(repr=False)
    version: str = __version__
    mark: float = 0.0

    @property
    def address(self) -> str:
        """The base address, without a final slash."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


def read_state(paths: DataPaths) -> RunningState | None:
    """The state of the Ansambl that runs on this data folder; None when none does."""
    try:
        found = json.loads(paths.state.read_text(encoding="utf-8"))
        state = RunningState(
            int(found["pid"]), float(found["started"]), str(found["host"]), int(found["port"]), str(found["token"]),
            str(found["version"]), float(found["mark"]),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    return state if processes.is_same_process(state.pid, state.mark) else None


def write_state(paths: DataPaths, host: str, port: int, token: str) -> RunningState:
    """Say how this process is reached; only the user may read it."""
    pid = os.getpid()
    state = RunningState(pid, time.time(), host, port, token, mark=processes.start_time(pid) or 0.0)
    write_atomically(paths.state, json.dumps(asdict(state)).encode())
    return state


def new_token() -> str:
    """A fresh admin token."""
    token = secrets.token_urlsafe(32)
    register_secret(token)
    return token
