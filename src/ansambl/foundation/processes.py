"""Processes of this machine: starting one in a session of its own, knowing it again, waiting for it, ending it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
import time
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

import psutil

START_TOLERANCE = 0.05
"""Start times are rounded to clock ticks of 10 ms; a process id cannot come round again within this time."""

_LONGEST_UPTIME = 2.0**20
"""Seconds, twelve days: what lies further apart is of another boot, or so old that we rather leave it alone."""

_HAS_PROC = Path("/proc/self/stat").exists()
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@cache
def _boot_number() -> float:
    """A number for this boot of the machine, so that a start time of an earlier boot is never taken for one of now."""
    try:
        return float(zlib.crc32(_BOOT_ID.read_bytes()) % 2**20) * _LONGEST_UPTIME
    except OSError:
        return 0.0


def start_time(pid: int) -> float | None:
    """When process `pid` started, in seconds; None when there is none, or only a zombie is left.

    Only for telling processes apart with `is_same_process`: on Linux the seconds count from a point of their own for
    every boot (proc_pid_stat(5), field 22), because the epoch's seconds of a running process change whenever the
    machine's clock is set. Elsewhere they count from the epoch.
    """
    if _HAS_PROC:
        try:
            # The program's name stands in brackets and may hold anything; the fields behind it are plain.
            fields = Path(f"/proc/{pid:d}/stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            return None
        if fields[0] in {b"Z", b"X"}:
            return None
        return _boot_number() + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except (psutil.Error, ValueError, OverflowError):
        return None


def is_same_process(pid: int, started: float) -> bool:
    """Whether `pid` is still the process that started at `started`."""
    now = start_time(pid)
    return now is not None and abs(now - started) <= START_TOLERANCE


def spawn(
    argv: Sequence[str], environment: Mapping[str, str], log: Path, folder: str | None = None
) -> subprocess.Popen[bytes]:
    """Start a program in its own session, its output appended to `log`; in `folder`, or where we are.

    A file and not a pipe, because the program must outlive us: writing to a pipe without a reader would end it.

    Raises:
        OSError: the program or the folder does not exist, or it cannot be executed.
    """
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return subprocess.Popen(
            list(argv), stdin=subprocess.DEVNULL, stdout=descriptor, stderr=subprocess.STDOUT,
            env=dict(environment), start_new_session=True, close_fds=True, cwd=folder,
        )  # fmt: skip
    finally:
        os.close(descriptor)


def hear(
    argv: Sequence[str], *, patience: float, most: int = 1 << 20, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a program that nobody vouches for, and return what it says; nothing of it is left running.

    Args:
        argv: the program and its arguments.
        patience: seconds that it may take.
        most: bytes of each of its two outputs that are read. One that says more is ended, and counts as done.
        environment: its whole environment; ours when left out.

    Raises:
        OSError: it cannot be started.
        subprocess.TimeoutExpired: it took longer.
    """
    heard = [b"", b""]
    process = subprocess.Popen(
        list(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        env=None if environment is None else dict(environment),
    )  # fmt: skip
    ended_by_us = threading.Event()

    def end() -> None:
        # With what it started itself: the whole of its session.
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)

    def read(number: int, pipe: IO[bytes]) -> None:
        with pipe:
            heard[number] = pipe.read(most)
            if len(heard[number]) >= most:
                ended_by_us.set()
                end()

    assert process.stdout is not None  # noqa: S101 - both are pipes, as asked for above
    assert process.stderr is not None  # noqa: S101 - see above
    readers = [
        threading.Thread(target=read, args=(number, pipe), daemon=True)
        for number, pipe in enumerate((process.stdout, process.stderr))
    ]
    for one in readers:
        one.start()
    try:
        code = process.wait(patience)
    finally:
        end()
        process.wait()
    for one in readers:
        one.join(1.0)
    return subprocess.CompletedProcess(list(argv), 0 if ended_by_us.is_set() else code, *heard)


async def wait_for_end(pid: int, started: float, *, poll: float = 0.2) -> None:
    """Return when the process `pid` of that start time has ended; it need not be our child."""
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):
        # No pidfd on this system, or the process is gone already.
        while is_same_process(pid, started):  # noqa: ASYNC110 - no event tells of a foreign process's end
            await asyncio.sleep(poll)
        return
    try:
        if not is_same_process(pid, started):
            return
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()

        def on_end() -> None:
            if not ended.done():
                ended.set_result(None)

        loop.add_reader(descriptor, on_end)
        try:
            await ended
        finally:
            loop.remove_reader(descriptor)
    finally:
        os.close(descriptor)


def signal_group(pid: int, number: signal.Signals) -> None:
    """Send a signal to the whole process group that `pid` leads; silent when it is gone.

    Raises:
        ValueError: no process that we start can have this number; 0 would mean our own group.
    """
    if pid <= 1:
        message = f"{pid} leads no group of ours"
        raise ValueError(message)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _left_behind(pid: int, started: float) -> bool:
    """Whether the group of a leader that has ended lives on, and is its own: of its session, and not older than it."""
    for one in psutil.pids():
        with contextlib.suppress(OSError):
            if os.getpgid(one) == pid and os.getsid(one) == pid:
                since = start_time(one)
                # None is the leader itself, not reaped yet. Another boot counts from a point far away.
                if since is not None:
                    return -START_TOLERANCE <= since - started < _LONGEST_UPTIME
    return False


_KILLED, _GLANCE = 5.0, 0.02
"""Seconds that killed processes may take to be gone, and between two looks."""


async def end_group(pid: int, started: float, *, patience: float = 10.0) -> None:
    """End a process that we started (it leads its own group): politely first, for good after `patience` seconds.

    When the leader has ended already, what it left behind in its session is ended at once. Returns when nothing of it
    runs any more: a process that was killed takes a moment to give its memory back.
    """
    if not is_same_process(pid, started):
        if start_time(pid) is None and _left_behind(pid, started):
            signal_group(pid, signal.SIGKILL)
            await _until_group_is_gone(pid, started)
        return
    signal_group(pid, signal.SIGTERM)
    # One that was stopped hears it only when it goes on.
    signal_group(pid, signal.SIGCONT)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(wait_for_end(pid, started), patience)
    # Also when the leader ended politely: whatever else is left of its group must not outlive it.
    signal_group(pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(wait_for_end(pid, started), _KILLED)
    await _until_group_is_gone(pid, started)


async def _until_group_is_gone(pid: int, started: float) -> None:
    end = time.monotonic() + _KILLED
    while _left_behind(pid, started) and time.monotonic() < end:  # noqa: ASYNC110 - nothing tells of their end
        await asyncio.sleep(_GLANCE)


def marked(variable: str) -> dict[int, str]:
    """The processes, by their numbers, that were started with this environment variable, and its value there.

    Processes of others, whose environment is not ours to read, are left out.
    """
    found = {}
    for pid in psutil.pids():
        with contextlib.suppress(psutil.Error, OSError):
            value = psutil.Process(pid).environ().get(variable)
            if value is not None:
                found[pid] = value
    return found


def groups_of(pids: Iterable[int], known: Collection[int]) -> dict[int, float]:
    """The process groups of `pids`, each with the start time of its oldest process, but for those of `known`.

    Left out are our own, what `known` processes started, and a group whose leader lives and is not among `pids`.
    """
    ours, listed = os.getpgrp(), set(pids)
    groups: dict[int, float] = {}
    for pid in listed:
        with contextlib.suppress(psutil.Error, OSError):
            group, session = os.getpgid(pid), os.getsid(pid)
            ancestors = {pid, session, *(one.pid for one in psutil.Process(pid).parents())}
            leads_another = group not in listed and start_time(group) is not None
            since = start_time(pid)
            if group in {0, 1, ours} or leads_another or since is None or not ancestors.isdisjoint(known):
                continue
            groups[group] = min(since, groups.get(group, since))
    return groups


def resident_bytes(pid: int) -> int | None:
    """Memory that a process and its children hold in RAM; None when it is gone."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        return sum(one.memory_info().rss for one in family)
    except psutil.Error:
        return None


@dataclass(frozen=True, slots=True)
class Effort:
    """What a process and its children have used so far: processor time in seconds, bytes that came from disks.

    It shrinks when a child ends. Where the system does not tell what is read, that is 0.
    """

    cpu: float
    read: int


def effort(pid: int) -> Effort | None:
    """The effort of a process and its children; None when it is gone."""
    cpu, read = 0.0, 0
    try:
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            times = one.cpu_times()
            cpu += times.user + times.system
            with contextlib.suppress(psutil.AccessDenied, AttributeError, NotImplementedError):
                read += one.io_counters().read_bytes
    except psutil.Error:
        return None
    return Effort(cpu, read)


def family(pid: int) -> tuple[int, ...]:
    """A process and all that it started, by their numbers; empty when it is gone."""
    try:
        process = psutil.Process(pid)
        return (pid, *(one.pid for one in process.children(recursive=True)))
    except psutil.Error:
        return ()
