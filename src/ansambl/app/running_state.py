"""The state file: how commands find the running Ansambl of a data folder and are let in."""

from __future__ import annotations

import json
import os
import secrets
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ansambl import __version__
from ansambl.foundation import processes
from ansambl.foundation.paths import DataPaths, write_atomically
from ansambl.foundation.redaction import register_secret

if TYPE_CHECKING:
    import ssl

_FOR_ALL = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not listened on
"""Where a program of this machine reaches what listens on all addresses."""


@dataclass(frozen=True, slots=True)
class RunningState:
    """What the state file says: how commands reach the running Ansambl.

    `started` is in seconds since the epoch; `mark` is the process's `processes.start_time`, which tells it from a
    later one with the same id. `certificate` is what it shows where it speaks https, in PEM; None where it does not.
    """

    pid: int
    started: float
    host: str
    port: int
    token: str = field(repr=False)
    version: str = __version__
    mark: float = 0.0
    certificate: str | None = None

    @property
    def address(self) -> str:
        """The base address, without a final slash."""
        name = _FOR_ALL.get(self.host, self.host)
        host = f"[{name}]" if ":" in name else name
        return f"{'http' if self.certificate is None else 'https'}://{host}:{self.port}"

    def verification(self) -> ssl.SSLContext | bool:
        """How an HTTP client makes sure that it speaks with this process."""
        from ansambl.app.tls import pinned_context

        return True if self.certificate is None else pinned_context(self.certificate)


def read_state(paths: DataPaths) -> RunningState | None:
    """The state of the Ansambl that runs on this data folder; None when none does."""
    try:
        found = json.loads(paths.state.read_text(encoding="utf-8"))
        state = RunningState(
            int(found["pid"]), float(found["started"]), str(found["host"]), int(found["port"]), str(found["token"]),
            str(found["version"]), float(found["mark"]), _optional(found.get("certificate")),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    return state if processes.is_same_process(state.pid, state.mark) else None


def _optional(found: Any) -> str | None:
    return None if found is None else str(found)


def write_state(
    paths: DataPaths, host: str, port: int, token: str, certificate: str | None = None
) -> RunningState:  # fmt: skip
    """Say how this process is reached; only the user may read it."""
    pid = os.getpid()
    state = RunningState(
        pid, time.time(), host, port, token, mark=processes.start_time(pid) or 0.0, certificate=certificate
    )
    write_atomically(paths.state, json.dumps(asdict(state)).encode())
    return state


def new_token() -> str:
    """A fresh admin token."""
    token = secrets.token_urlsafe(32)
    register_secret(token, lasting=True)
    return token
