"""The code of answers in the sandbox: what passes, what fails, and what tries to get out."""

import asyncio
import socket
import threading
import time

import psutil
import pytest
from product import wait_for

from ansambl.evaluation import sandbox
from ansambl.evaluation.grading import Grader, State
from ansambl.evaluation.sandbox import Limits, Sandbox, Verdict
from ansambl.evaluation.task_file import load_tasks
from ansambl.evaluation.tasks import CodeCheck, Task

QUICK = Limits(wall_seconds=6.0, cpu_seconds=1, memory=256 * 2**20, processes=12)
TASK = Task("t", ("q",), CodeCheck("assert f(2) == 3", entry_point="f"))


@pytest.fixture(scope="module", autouse=True)
def _needs_bubblewrap():
    problem = asyncio.run(Sandbox().problem())
    if problem is not None:
        pytest.skip(str(problem))


@pytest.fixture
def run():
    async def begin(code, tests="", limits=QUICK):
        box = Sandbox(limits)
        assert await box.problem() is None
        return await box.run(code, tests)

    return lambda *given, **named: asyncio.run(begin(*given, **named))


def test_tests_that_run_through_pass(run):
    assert run("def f(x):\n    return x + 1", "assert f(2) == 3").verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("def f(x):\n    return x", "AssertionError"),
        ("def f(x) return", "SyntaxError"),
        ("import sys\nsys.exit(0)", "SystemExit"),
        ("import os\nos._exit(0)", "ended with 0 before its tests were through"),
        ("import sys\ndef f(x):\n    sys.exit(0)", "SystemExit"),
        ("import os\ndef f(x):\n    os._exit(0)", "ended with 0"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)", "ended with"),
        ("import atexit, os\natexit.register(os._exit, 0)\nraise SystemExit", "SystemExit"),
        ("raise BaseException('stop')", "stop"),
        ("f = 'x' * 10**10", "MemoryError"),
        ("print('0' * 32)\nf = None", "TypeError"),
    ],
)
def test_all_that_does_not_run_through_its_tests_fails(run, code, reason):
    found = run(code, "assert f(2) == 3")
    assert found.verdict is Verdict.FAILED
    assert reason in found.reason


@pytest.mark.parametrize("loop", ["while True: pass", "while True: print('x' * 1000)"])
def test_an_endless_loop_is_ended_by_its_cpu_seconds(run, loop):
    found = run(loop)
    assert found.verdict is Verdict.CUT
    assert "CPU seconds" in found.reason


def test_code_that_waits_is_ended_by_the_clock(run):
    began = time.monotonic()
    found = run("import time\ntime.sleep(60)", limits=Limits(wall_seconds=2.0))
    assert (found.verdict, found.reason) == (Verdict.CUT, "took over 2 s")
    assert time.monotonic() - began < 30


def test_huge_output_is_ended(run):
    found = run("import os\nwhile True:\n    os.write(2, b'x' * 4096)")
    assert found.verdict is Verdict.CUT
    assert "wrote over" in found.reason


def test_a_fork_bomb_ends_and_leaves_nothing(run):
    before = set(psutil.pids())
    found = run("import os\nwhile True:\n    os.fork()", "assert True")
    assert found.verdict is not Verdict.PASSED
    wait_for(lambda: not [one for one in set(psutil.pids()) - before if _sandboxed(one)], "no process left", 10)


def _sandboxed(pid):
    try:
        return "bwrap" in psutil.Process(pid).name() or "resource.setrlimit" in " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return False


def test_processes_are_limited(run):
    found = run(
        "import os, time\nfor _ in range(100):\n    if os.fork() == 0:\n        time.sleep(30)\n        os._exit(0)"
    )
    assert "BlockingIOError" in found.reason


def test_there_is_no_network_not_even_this_machines(run):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.2)
        port = listening.getsockname()[1]
        reached = threading.Event()

        def listen():
            try:
                listening.accept()
                reached.set()
            except TimeoutError:
                pass

        found = run(f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 2)")
        thread = threading.Thread(target=listen)
        thread.start()
        thread.join()
    assert found.verdict is Verdict.FAILED
    assert "refused" in found.reason.lower() or "unreachable" in found.reason.lower()
    assert not reached.is_set()


@pytest.mark.parametrize("path", ["/usr/ansambl-was-here", "/ansambl-was-here", "/etc/ansambl-was-here"])
def test_nothing_outside_can_be_written(run, path):
    found = run(f"open({path!r}, 'w').write('x')")
    assert found.verdict is Verdict.FAILED
    assert "Error" in found.reason


def test_the_users_files_and_environment_cannot_be_read(run, tmp_path, monkeypatch):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    secret.chmod(0o644)
    monkeypatch.setenv("ANSAMBL_SECRET", "secret")
    for code in (
        f"open({str(secret)!r})",
        "open('/etc/passwd')",
        "import os\nos.listdir('/home')",
        "import os\nos.environ['ANSAMBL_SECRET']",
        "open('/proc/1/environ').read().index('ANSAMBL_SECRET')",
    ):
        assert run(code).verdict is Verdict.FAILED, code


def test_other_processes_cannot_be_seen(run):
    found = run("import os\nseen = [one for one in os.listdir('/proc') if one.isdigit()]", "assert len(seen) < 5, seen")
    assert found.verdict is Verdict.PASSED, found.reason


def test_the_own_temporary_folder_can_be_used_and_is_small(run):
    assert run("open('/tmp/x', 'w').write('x')").verdict is Verdict.PASSED
    found = run("with open('/tmp/x', 'wb') as out:\n    for _ in range(64):\n        out.write(b'x' * 2**20)")
    assert found.verdict is not Verdict.PASSED


@pytest.mark.parametrize("folder", ["/dev", "/dev/shm"])  # noqa: S108 - the sandbox's own
def test_no_file_system_in_memory_but_its_small_one_can_be_written_to(run, folder):
    found = run(f"open('{folder}/x', 'wb')")
    assert found.verdict is Verdict.FAILED
    assert "Read-only" in found.reason
    assert run("open('/dev/null', 'w').write('x')\nopen('/dev/urandom', 'rb').read(3)").verdict is Verdict.PASSED


def test_a_python_in_the_users_own_folder_is_not_used(monkeypatch):
    monkeypatch.setattr(sandbox.sys, "base_prefix", str(sandbox.Path.home()))
    assert not any(str(sandbox.Path.home()) in one for one in sandbox._pythons())
    monkeypatch.setattr(sandbox.sys, "base_prefix", "/")
    assert "/bin/python3" not in sandbox._pythons()


async def test_the_grader_takes_the_code_out_of_the_answer():
    grader = Grader(Sandbox(QUICK))
    good = await grader.grade(TASK, "Sure:\n```python\ndef f(x):\n    return x + 1\n```\nDone.")
    bad = await grader.grade(TASK, "Sure:\n```python\ndef f(x):\n    return x\n```\nDone.")
    none = await grader.grade(TASK, "```bash\nls\n```")
    assert [one.state for one in (good, bad, none)] == [State.RIGHT, State.WRONG, State.WRONG]
    assert none.reason == "no code"


async def test_a_body_alone_goes_on_after_the_head():
    check = CodeCheck("assert f(2) == 3", entry_point="f", prefix="def f(x):\n")
    assert (await Grader(Sandbox(QUICK)).grade(Task("t", ("q",), check), "    return x + 1")).state is State.RIGHT


async def test_every_shipped_program_passes_and_its_wrong_one_fails():
    grader = Grader(Sandbox(QUICK))
    tasks = [one for one in load_tasks("shipped").tasks if one.kind == "code"]
    assert tasks
    for task in tasks:
        right, wrong = await grader.grade(task, task.reference), await grader.grade(task, task.wrong)
        assert (right.state, wrong.state) == (State.RIGHT, State.WRONG), (task.id, right.reason)
