"""Programs that installing needs: which are here, and running one while its progress is looked at."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from ansambl.engines.install.records import Around
from ansambl.foundation.processes import is_same_process, signal_group, start_time

_POLL, _PATIENCE = 0.2, 10.0
_TAIL = 8192
_CHILD = "child"
"""The file beside the log that says which program runs, and since when."""
_COMPILERS = {"c++": ("c++", "g++", "clang++"), "nvcc": ("nvcc",), "hipcc": ("hipcc",), "glslc": ("glslc",)}
_MINORS = ("3.13", "3.12", "3.11")
_USUAL_NVCC = Path("/usr/local/cuda/bin/nvcc")
_OF_OTHERS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_ROOT")
"""Variables of whoever started us that would send packages elsewhere, or bring modules of another Python in."""


class ProgramError(Exception):
    """A program ended with a failure; `words` are its last ones."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


def look_around() -> Around:
    """The Pythons and compilers of this machine."""
    return Around(tuple(find_pythons()), frozenset(name for name in _COMPILERS if find_program(name)))


def find_program(name: str) -> str | None:
    """The path of a compiler; None when it is not there."""
    for one in _COMPILERS.get(name, (name,)):
        found = shutil.which(one)
        if found:
            return found
    return str(_USUAL_NVCC) if name == "nvcc" and _USUAL_NVCC.exists() else None


def find_pythons() -> dict[str, str]:
    """The Pythons that can make environments with pip in them, by version; our own comes first."""
    found: dict[str, str] = {}
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    base = getattr(sys, "_base_executable", None) or sys.executable
    if importlib.util.find_spec("ensurepip") is not None:
        found[own] = base
    for version in _MINORS:
        path = shutil.which(f"python{version}")
        if version not in found and path and _makes_environments(path, version):
            found[version] = path
    return found


def _makes_environments(path: str, version: str) -> bool:
    code = "import ensurepip, venv, sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run(
            [path, "-I", "-c", code], capture_output=True, timeout=20, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0 and done.stdout.decode("utf-8", "replace").strip() == version


def clean_environment(temporary: Path, **added: str) -> dict[str, str]:
    """Our environment without what would misguide a Python of its own; temporary files go to `temporary`."""
    kept = {name: value for name, value in os.environ.items() if name not in _OF_OTHERS}
    return {**kept, "TMPDIR": str(temporary), "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", **added}


def run_program(
    argv: Sequence[str], environment: Mapping[str, str], log: Path, *, folder: Path | None = None,
    look: Callable[[str], None] = lambda _: None,
) -> str:  # fmt: skip
    """Run a program to its end, its output in the file `log`; returns its last words.

    It leads a session of its own, so that an interrupt reaches us and not it; then it and what it started are ended
    before the interrupt goes on.

    Args:
        argv: the program and its arguments.
        environment: its whole environment.
        log: what it says goes there, after what is in it.
        folder: where it starts.
        look: called again and again meanwhile with its last words so far.

    Raises:
        ProgramError: it cannot be started or failed.
    """
    child = log.with_name(_CHILD)
    with log.open("ab") as output:
        begin = output.tell()
        try:
            process = subprocess.Popen(
                list(argv), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=dict(environment),
                cwd=folder, start_new_session=True,
            )  # fmt: skip
        except OSError as failure:
            raise ProgramError(127, f"{argv[0]}: {failure.strerror}") from failure
        try:
            child.write_text(f"{process.pid} {start_time(process.pid) or 0.0}", encoding="ascii")
            while process.poll() is None:
                look(_tail(log, begin))
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_POLL)
        except BaseException:
            _end(process)
            raise
    child.unlink(missing_ok=True)
    words = _tail(log, begin)
    if process.returncode != 0:
        raise ProgramError(process.returncode, words)
    look(words)
    return words


def end_leftover(folder: Path) -> None:
    """End the program that an installer which was killed has left behind, before its files are touched.

    Args:
        folder: where the killed one kept its log.
    """
    child = folder / _CHILD
    try:
        pid, started = child.read_text(encoding="ascii").split()
        process, mark = int(pid), float(started)
    except (OSError, ValueError):
        return
    if process > 1 and is_same_process(process, mark):
        signal_group(process, signal.SIGKILL)
        deadline = time.monotonic() + _PATIENCE
        while is_same_process(process, mark) and time.monotonic() < deadline:
            time.sleep(_POLL)
    child.unlink(missing_ok=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    signal_group(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_POLL)
    signal_group(process.pid, signal.SIGKILL)
    process.wait()


def _tail(log: Path, begin: int) -> str:
    with log.open("rb") as file:
        file.seek(max(begin, file.seek(0, os.SEEK_END) - _TAIL))
        return file.read().decode("utf-8", "replace")


def counted(pattern: str, words: str) -> tuple[int, int] | None:
    """The last ``n/m`` that `pattern` finds in `words`."""
    found = re.findall(pattern, words)
    return (int(found[-1][0]), int(found[-1][1])) if found else None


def processes_in(folder: Path) -> list[int]:
    """The processes whose program lies below `folder`: by the path that they were started with, or by their file."""
    top = str(folder.absolute()) + os.sep
    found = []
    for one in psutil.process_iter(["cmdline", "exe"]):
        words = one.info["cmdline"] or [""]
        if words[0].startswith(top) or (one.info["exe"] or "").startswith(top):
            found.append(one.pid)
    return sorted(found)
