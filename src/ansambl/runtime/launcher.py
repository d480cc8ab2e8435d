"""Start, adopt and end engine processes on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ansambl.domain.engine import ExitExplanation, ExitReason, LaunchSpec
from ansambl.domain.instance import ProcessIdentity
from ansambl.domain.text import text
from ansambl.domain.units import Bytes
from ansambl.foundation import network, processes
from ansambl.foundation.processes import Effort
from ansambl.foundation.redaction import register_secret, registered_secrets
from ansambl.runtime.run_files import remove_run_files, write_run_files

LOG_VARIABLE = "ANSAMBL_ENGINE_LOG"
"""Environment variable by which the processes of an engine are known: where its log lies, in which data folder."""

_PATIENCE = 10.0
# Ours and the user's secrets are none of an engine's business; what it needs is in the spec's own environment.
_SECRET = re.compile(
    r"^ANSAMBL_|(?:^|_)(?:API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|PASS|PAT|CREDENTIALS?)$", re.IGNORECASE
)


class LaunchFailedError(Exception):
    """The process could not be started at all; `explanation` says why in words."""

    def __init__(self, explanation: ExitExplanation) -> None:
        super().__init__(explanation.message.render())
        self.explanation = explanation


class EngineProcess(Protocol):
    """One engine process, started by us or adopted."""

    identity: ProcessIdentity

    def alive(self) -> bool:
        """Whether it still runs; quick enough for every request."""
        ...

    async def wait(self) -> int | None:
        """Wait for its end; the exit code, negative for a signal, None when it was not our child."""
        ...

    async def stop(self, patience: float = _PATIENCE) -> None:
        """End it and all that it started; for good after `patience` seconds."""
        ...

    def memory(self) -> Bytes | None:
        """What it and its children hold in RAM."""
        ...

    def effort(self) -> Effort | None:
        """What it and its children have used so far; None where nobody can tell."""
        ...


class Launcher(Protocol):
    """Where engines run: this machine here, another one in a cluster."""

    def choose_port(self) -> int:
        """A port that is free now."""
        ...

    async def start(self, spec: LaunchSpec, log: Path) -> EngineProcess:
        """Start what `spec` says, its output appended to `log`; its files are written for it first.

        Raises:
            LaunchFailedError: the port is taken, the program does not exist or cannot be executed, or the files
                cannot be written.
        """
        ...

    async def forget(self, log: Path) -> None:
        """Remove the files that were written for the run whose output goes to `log`; it must have ended."""
        ...

    def adopt(self, identity: ProcessIdentity) -> EngineProcess | None:
        """The process that was started by an earlier Ansambl, when it still runs."""
        ...

    async def unknown(self, logs: Path, known: Collection[int]) -> Sequence[EngineProcess]:
        """What still runs of engines whose logs lie in the folder `logs`, but for the processes `known` and theirs.

        An Ansambl that was killed just after it had started an engine wrote nothing down of it.
        """
        ...


class LocalProcess:
    """A process of this machine; `child` when it is ours."""

    def __init__(self, identity: ProcessIdentity, child: subprocess.Popen[bytes] | None = None) -> None:
        self.identity = identity
        self._child = child

    def alive(self) -> bool:
        """Whether it still runs. A child that ended is reaped by this."""
        if self._child is not None:
            return self._child.poll() is None
        return processes.is_same_process(self.identity.pid, self.identity.started)

    async def wait(self) -> int | None:
        """Wait for its end, end what is left of its group, and reap it when it is our child."""
        if self._child is None or self._child.poll() is None:
            await processes.wait_for_end(self.identity.pid, self.identity.started)
            # What it started must not outlive it. While it is not reaped, its number belongs to its group alone.
            processes.signal_group(self.identity.pid, signal.SIGKILL)
        if self._child is None:
            return None
        # It is a zombie by now: this does not wait.
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._child.wait(timeout=1)
        return None

    async def stop(self, patience: float = _PATIENCE) -> None:
        """End its process group."""
        await processes.end_group(self.identity.pid, self.identity.started, patience=patience)

    def memory(self) -> Bytes | None:
        """Resident bytes of the process and its children."""
        size = processes.resident_bytes(self.identity.pid)
        return None if size is None else Bytes(size)

    def effort(self) -> Effort | None:
        """What the process and its children have used so far; None when it is gone."""
        return processes.effort(self.identity.pid)


def clean_environment(own: Mapping[str, str], added: Mapping[str, str]) -> dict[str, str]:
    """The environment of an engine: `own` without secrets, and what the spec adds.

    A secret is what looks like one by its name, and what is registered as one: the configuration lets people choose the
    names of the variables in which other engines' keys and the password of the certificate's key stand.
    """
    known = frozenset(registered_secrets())
    return {**{name: one for name, one in own.items() if one not in known and not _SECRET.search(name)}, **added}


class LocalLauncher:
    """Runs engines as processes of this machine, each in a session of its own, so that it outlives us."""

    def choose_port(self) -> int:
        """A TCP port that is free on the loopback interface."""
        return network.free_port()

    async def start(self, spec: LaunchSpec, log: Path) -> EngineProcess:
        """Start a process.

        Raises:
            LaunchFailedError: the port is taken, the program does not exist or cannot be executed, or the files
                cannot be written.
        """
        _check_port(spec)
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            filled = write_run_files(spec, log)
        except OSError as failure:
            remove_run_files(log)
            raise LaunchFailedError(
                ExitExplanation(
                    ExitReason.UNKNOWN,
                    text("the files that {engine} reads at its start cannot be written ({reason}); make room on the "
                         "disk, or correct the rights of {folder}", engine=spec.engine,
                         reason=failure.strerror or str(failure), folder=str(log.parent)))
            ) from failure  # fmt: skip
        try:
            environment = clean_environment(os.environ, {**filled.environment, **_mark(log)})
            for name, value in filled.environment.items():
                if _SECRET.search(name):
                    # What an engine says of its own settings is shown in errors and in our log.
                    register_secret(value)
            child = processes.spawn(filled.argv, environment, log, filled.working_folder)
        except OSError as failure:
            remove_run_files(log)
            raise LaunchFailedError(
                ExitExplanation(
                    ExitReason.MISSING_PROGRAM,
                    text("{program} cannot be started ({reason}); install it, or correct the path",
                         program=str(failure.filename or spec.argv[0]), reason=failure.strerror or str(failure)),
                    restart_helps=False)
            ) from failure  # fmt: skip
        # One that ended already keeps its number until it is reaped, so its start time does not matter.
        started = processes.start_time(child.pid)
        return LocalProcess(ProcessIdentity(child.pid, 0.0 if started is None else started), child)

    async def forget(self, log: Path) -> None:
        """Remove what was written for the run with this log."""
        await asyncio.to_thread(remove_run_files, log)

    def adopt(self, identity: ProcessIdentity) -> EngineProcess | None:
        """The process of an earlier Ansambl; None when it is gone or its number belongs to another one now."""
        process = LocalProcess(identity)
        return process if process.alive() else None

    async def unknown(self, logs: Path, known: Collection[int]) -> Sequence[EngineProcess]:
        """What still runs of engines with a log in `logs` and is not of `known`, by the mark in its environment."""
        groups = await asyncio.to_thread(_marked_groups, logs, known)
        return [LocalProcess(ProcessIdentity(leader, started)) for leader, started in groups.items()]


def _mark(log: Path) -> dict[str, str]:
    return {LOG_VARIABLE: str(log.absolute())}


def _marked_groups(logs: Path, known: Collection[int]) -> dict[int, float]:
    folder, found = logs.absolute(), processes.marked(LOG_VARIABLE)
    return processes.groups_of([pid for pid, log in found.items() if Path(log).parent == folder], known)


def _check_port(spec: LaunchSpec) -> None:
    try:
        network.bound_socket(spec.host, spec.port).close()
    except OSError:
        owner = network.port_owner(spec.port)
    else:
        return
    if owner:
        message = text("port {port} is taken by {name} (process {pid}); end it or choose another port", port=spec.port,
                       name=owner[1], pid=owner[0])  # fmt: skip
    else:
        message = text("port {port} is taken by another program; end it or choose another port", port=spec.port)
    raise LaunchFailedError(ExitExplanation(ExitReason.PORT_TAKEN, message))
