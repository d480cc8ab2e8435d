"""Processes: real ones, told apart, waited for and ended with all that they started."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ansambl.foundation import processes

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]
# Starts a sleeping child, writes its number, then does what the second argument says.
PARENT = (
    "import subprocess, sys, time, pathlib\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import signal, time; signal.signal(signal.SIGTERM, "
    "signal.SIG_IGN); print(1, flush=True); time.sleep(60)'], stdout=subprocess.PIPE)\n"
    "child.stdout.readline()\n"
    "target = pathlib.Path(sys.argv[1]); part = target.with_suffix('.part')\n"
    "part.write_text(str(child.pid)); part.rename(target)\n"
    "sys.exit(3) if sys.argv[2] == 'die' else time.sleep(60)\n"
)


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


async def until(condition, limit=10.0):
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        await asyncio.sleep(0.01)


@pytest.fixture
def start(tmp_path):
    started = []

    def begin(argv):
        child = processes.spawn(argv, os.environ, tmp_path / "log")
        started.append(child)
        return child

    yield begin
    for child in started:
        processes.signal_group(child.pid, signal.SIGKILL)
        child.wait(10)


def test_a_program_gets_its_own_session_and_a_private_log(start, tmp_path):
    child = start([sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr)"])
    assert child.wait(10) == 0
    log = tmp_path / "log"
    assert set(log.read_text().split()) == {"out", "err"}
    assert log.stat().st_mode & 0o777 == 0o600
    sleeper = start(SLEEPER)
    assert os.getsid(sleeper.pid) == os.getpgid(sleeper.pid) == sleeper.pid != os.getsid(0)


def test_a_program_that_does_not_exist_is_an_error_and_leaks_no_descriptor(tmp_path):
    before = descriptors()
    with pytest.raises(OSError, match="no-such-program"):
        processes.spawn(["/no-such-program"], {}, tmp_path / "log")
    assert descriptors() == before


def test_a_process_is_known_again_until_it_ends(start):
    child = start(SLEEPER)
    mark = processes.start_time(child.pid)
    assert mark is not None
    assert processes.is_same_process(child.pid, mark)
    assert not processes.is_same_process(child.pid, mark + 1)
    assert not processes.is_same_process(os.getpid(), mark)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert processes.start_time(child.pid) is None, "a zombie does not run"
    child.wait(10)
    assert processes.start_time(child.pid) is None


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the kernel itself keeps the time of day")
def test_setting_the_clock_does_not_change_who_a_process_is(start, monkeypatch):
    child = start(SLEEPER)
    mark = processes.start_time(child.pid)
    monkeypatch.setattr(psutil, "boot_time", lambda: 12345.0)
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: 12345.0)
    assert processes.is_same_process(child.pid, mark)


def test_start_times_count_forward(start):
    assert processes.start_time(os.getpid()) <= processes.start_time(start(SLEEPER).pid)


@pytest.mark.parametrize("pid", [-1, 0, 2**22 + 1, 10**30])
def test_numbers_of_no_process(pid):
    assert processes.start_time(pid) is None
    assert not processes.is_same_process(pid, 0.0)
    assert processes.resident_bytes(2**22 + 1) is None


async def test_waiting_for_a_child_and_for_a_foreign_process(start, tmp_path):
    child = start(SLEEPER)
    waiter = asyncio.create_task(processes.wait_for_end(child.pid, processes.start_time(child.pid)))
    start([sys.executable, "-c", PARENT, str(tmp_path / "pid"), "stay"])
    await until((tmp_path / "pid").exists)
    foreign = int((tmp_path / "pid").read_text())
    other = asyncio.create_task(processes.wait_for_end(foreign, processes.start_time(foreign)))
    await asyncio.sleep(0)
    assert not waiter.done()
    child.kill()
    os.kill(foreign, signal.SIGKILL)
    await asyncio.wait_for(asyncio.gather(waiter, other), 5)


async def test_waiting_without_pidfd(start, monkeypatch):
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    child = start(SLEEPER)
    waiter = asyncio.create_task(processes.wait_for_end(child.pid, processes.start_time(child.pid), poll=0.01))
    child.kill()
    await asyncio.wait_for(waiter, 5)


async def test_waiting_for_what_is_gone_or_somebody_else_returns_at_once(start):
    child = start(SLEEPER)
    await asyncio.wait_for(processes.wait_for_end(child.pid, 1.0), 2)
    await asyncio.wait_for(processes.wait_for_end(2**22 + 1, 1.0), 2)
    assert child.poll() is None


async def test_a_cancelled_wait_leaves_no_descriptor(start):
    child = start(SLEEPER)
    before = descriptors()
    waiter = asyncio.create_task(processes.wait_for_end(child.pid, processes.start_time(child.pid)))
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    assert descriptors() == before


@pytest.mark.parametrize("then", ["stay", "die"])
async def test_ending_a_group_ends_grandchildren_that_refuse(start, tmp_path, then):
    child = start([sys.executable, "-c", PARENT, str(tmp_path / "pid"), then])
    mark = processes.start_time(child.pid)
    await until((tmp_path / "pid").exists)
    grandchild = int((tmp_path / "pid").read_text())
    alive = processes.start_time(grandchild)
    if then == "die":
        await until(lambda: processes.start_time(child.pid) is None)
    assert processes.is_same_process(grandchild, alive)
    await processes.end_group(child.pid, mark, patience=2)
    assert not processes.is_same_process(grandchild, alive)
    child.wait(10)


async def test_ending_somebody_else_does_nothing(start):
    child = start(SLEEPER)
    await processes.end_group(child.pid, 1.0)
    await processes.end_group(2**22 + 1, 1.0)
    assert child.poll() is None


@pytest.mark.parametrize("pid", [-5, 0, 1])
def test_groups_that_are_never_ours_are_refused(pid):
    with pytest.raises(ValueError, match="no group of ours"):
        processes.signal_group(pid, signal.SIGTERM)


def _until(condition, limit=20.0):
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_memory_counts_the_children(start):
    child = start(SLEEPER)
    # Right after its start a process holds next to nothing yet.
    _until(lambda: processes.resident_bytes(child.pid) > 1_000_000)
    mine = subprocess.Popen(SLEEPER)
    try:
        _until(lambda: processes.resident_bytes(os.getpid()) > psutil.Process().memory_info().rss + 500_000)
    finally:
        mine.kill()
        mine.wait(10)


def test_a_log_in_a_missing_folder_is_an_error():
    with pytest.raises(OSError, match="nowhere"):
        processes.spawn(SLEEPER, {}, Path("/nowhere/log"))


def test_what_a_program_says_is_heard_with_its_status():
    said = processes.hear([sys.executable, "-c", "import sys; print('a'); sys.exit('b')"], patience=20)
    assert (said.returncode, said.stdout, said.stderr) == (1, b"a\n", b"b\n")


def test_a_program_that_never_stops_talking_is_ended():
    """Its whole output would fill the memory."""
    said = processes.hear(["/bin/sh", "-c", "exec cat /dev/zero"], patience=20, most=100_000)
    assert (said.returncode, len(said.stdout)) == (0, 100_000)


def test_a_program_that_hangs_is_ended_with_what_it_started(tmp_path):
    script = tmp_path / "script"
    script.write_text(f"sleep 60 & echo $! > {tmp_path}/child; wait")
    with pytest.raises(subprocess.TimeoutExpired):
        processes.hear(["/bin/sh", str(script)], patience=0.3)
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 5
    while processes.start_time(child) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def test_a_stopped_program_ends_politely(start, tmp_path):
    words = "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\nprint(1, flush=True)\n"
    child = start([sys.executable, "-c", words + "time.sleep(60)"])
    await until(lambda: (tmp_path / "log").read_text().strip() == "1")
    os.kill(child.pid, signal.SIGSTOP)
    await processes.end_group(child.pid, processes.start_time(child.pid), patience=20)
    assert child.wait(10) == 7


async def test_programs_are_found_by_a_mark_in_their_environment(start, monkeypatch):
    monkeypatch.setenv("ANSAMBL_TEST_MARK", "here")
    child = start([sys.executable, "-c", "import time; time.sleep(60)"])
    monkeypatch.delenv("ANSAMBL_TEST_MARK")
    other = start([sys.executable, "-c", "import time; time.sleep(60)"])
    await until(lambda: processes.marked("ANSAMBL_TEST_MARK") == {child.pid: "here"})
    started = processes.start_time(child.pid)
    assert processes.groups_of([child.pid], ()) == {child.pid: started}
    assert processes.groups_of([child.pid], [child.pid]) == {}
    assert processes.groups_of([child.pid], [os.getpid()]) == {}, "a known process has started it"
    assert processes.groups_of([os.getpid()], ()) == {}, "never our own group"
    assert other.pid not in processes.marked("ANSAMBL_TEST_MARK")


async def test_the_effort_of_a_program_grows_as_it_computes(start):
    busy = start([sys.executable, "-c", "while True: pass"])
    before = processes.effort(busy.pid)
    await until(lambda: processes.effort(busy.pid).cpu > before.cpu + 0.05)
    busy.kill()
    busy.wait(10)
    assert processes.effort(busy.pid) is None
