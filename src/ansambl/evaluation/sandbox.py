"""Running the code of an answer: inside bubblewrap, or not at all.

The code sees a read-only system without homes, a small /tmp of its own, no network, no process but its own, and a clean
environment; CPU seconds, memory, processes, files, output and wall time are limited. Options: bwrap(1).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from ansambl.domain.text import Text, text

_NOBODY = 65534
_KILLED = {-9, 137, -24, 152}
_INSIDE = Path(__file__).with_name("inside.py")
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/alternatives")
# bubblewrap's own /dev is a file system in memory without a size, in which files could fill the machine's.
_READ_ONLY = ("--remount-ro", "/dev", "--remount-ro", "/")
_PYTHONS = ("/usr/bin/python3", "/usr/local/bin/python3")
_PROBE = ("def probe():\n    return 6 * 7\n", "assert probe() == 42\n")
INSTALL = "apt-get install bubblewrap"
"""What installs bubblewrap on Debian and Ubuntu."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the code of one answer may use: seconds, bytes and processes."""

    wall_seconds: float = 15.0
    cpu_seconds: int = 10
    memory: int = 512 * 2**20
    processes: int = 16
    file_size: int = 16 * 2**20
    output: int = 64 * 2**10


class Verdict(StrEnum):
    """How a run of tests ended. ``CUT`` means that it went over a limit that ends it from outside."""

    PASSED = "passed"
    FAILED = "failed"
    CUT = "cut"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of an answer's code with its tests; `reason` says why it did not pass."""

    verdict: Verdict
    reason: str = ""


class Sandbox:
    """Runs code inside bubblewrap. `program` None means: look for ``bwrap`` on the PATH."""

    def __init__(self, limits: Limits = Limits(), program: str | None = None) -> None:
        self._limits = limits
        self._program = program or shutil.which("bwrap")
        self._python: str | None = None

    async def problem(self) -> Text | None:
        """Why code cannot be run safely here, with what to do; None when it can. The first call tries it."""
        if self._python is not None:
            return None
        if not sys.platform.startswith("linux"):
            return text("code is run inside bubblewrap only, which needs Linux")
        if self._program is None:
            return text("code is run inside bubblewrap only, and bwrap is not installed; install it: {command}",
                        command=INSTALL)  # fmt: skip
        said = ""
        for python in _pythons():
            self._python = python
            done = await self.run(*_PROBE)
            if done.verdict is Verdict.PASSED:
                return None
            said = done.reason or said
        self._python = None
        return text(
            "code is run inside bubblewrap only, and bwrap does not work here ({reason}); "
            "user namespaces may be forbidden: see sysctl kernel.unprivileged_userns_clone and AppArmor",
            reason=said or "no Python that it may read",
        )

    async def run(self, code: str, tests: str) -> Run:
        """Run an answer's `code` and then its `tests`; they pass only when they ran through to their end.

        Call it after `problem` found none.
        """
        if self._program is None or self._python is None:
            return Run(Verdict.CUT, "no sandbox")
        token = secrets.token_hex(16)
        reader, writer = os.pipe()
        try:
            os.write(writer, token.encode())
            os.close(writer)
            limits = self._limits
            numbers = (reader, limits.memory, limits.cpu_seconds, limits.processes, limits.file_size)
            argv = (*self._options, *_python_binds(self._python), self._python, "-I", "-S", "-c",
                    _INSIDE.read_text(encoding="utf-8"), *(str(one) for one in numbers))  # fmt: skip
            job = json.dumps({"code": code, "tests": tests}).encode()
            return await self._execute(argv, job, token, reader)
        finally:
            os.close(reader)

    async def _execute(self, argv: Sequence[str], job: bytes, token: str, descriptor: int) -> Run:
        # As root, nobody runs it: the kernel holds no limit on processes against root.
        user = _NOBODY if os.geteuid() == 0 else None
        others: list[int] | None = None if user is None else []
        try:
            process = await asyncio.create_subprocess_exec(
                *argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                pass_fds=(descriptor,), env={"PATH": "/usr/bin:/bin"}, cwd="/", user=user, group=user,
                extra_groups=others,
            )  # fmt: skip
        except OSError as error:
            return Run(Verdict.CUT, str(error))
        try:
            async with asyncio.timeout(self._limits.wall_seconds):
                out, error_words = await self._exchange(process, job)
                code = await process.wait()
        except TimeoutError:
            return Run(Verdict.CUT, f"took over {self._limits.wall_seconds:g} s")
        finally:
            await _end(process)
        if max(len(out), len(error_words)) > self._limits.output:
            return Run(Verdict.CUT, f"wrote over {self._limits.output} bytes")
        if out.decode("utf-8", "replace").strip() == token:
            return Run(Verdict.PASSED)
        words = error_words.decode("utf-8", "replace").strip()
        if not words and code in _KILLED:
            return Run(Verdict.CUT, f"was killed: over {self._limits.cpu_seconds} CPU seconds, or out of memory")
        last = words.splitlines()[-1] if words else f"ended with {code} before its tests were through"
        return Run(Verdict.FAILED, last[:300])

    async def _exchange(self, process: asyncio.subprocess.Process, job: bytes) -> tuple[bytes, bytes]:
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise OSError
        limit = self._limits.output
        _, out, error_words = await asyncio.gather(
            _feed(process.stdin, job), _read(process.stdout, limit, process), _read(process.stderr, limit, process)
        )
        return out, error_words

    @cached_property
    def _options(self) -> tuple[str, ...]:
        binds = [part for path in _SYSTEM for part in ("--ro-bind-try", path, path)]
        return (
            str(self._program), "--unshare-all", "--die-with-parent", "--new-session", "--clearenv",
            "--setenv", "PATH", "/usr/bin:/bin", "--setenv", "LANG", "C.UTF-8", "--setenv", "HOME", "/tmp",  # noqa: S108 - the sandbox's own
            *binds, "--proc", "/proc", "--dev", "/dev", *self._temporary, *_READ_ONLY, "--chdir", "/tmp",  # noqa: S108 - as above
        )  # fmt: skip

    @property
    def _temporary(self) -> tuple[str, ...]:
        # bubblewrap before 0.7 cannot limit the size of a tmpfs; the limit on a file's size holds there alone.
        import subprocess

        try:
            page = subprocess.run([str(self._program), "--help"], capture_output=True, text=True, check=False).stdout
        except OSError:
            page = ""
        sized = ("--size", str(self._limits.file_size * 2)) if "--size" in page else ()
        return (*sized, "--tmpfs", "/tmp")  # noqa: S108 - the sandbox's own


async def _feed(stream: asyncio.StreamWriter, job: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        stream.write(job)
        await stream.drain()
    stream.close()


async def _read(stream: asyncio.StreamReader, limit: int, process: asyncio.subprocess.Process) -> bytes:
    """All that a stream gives; over `limit` the process is ended and the rest is thrown away."""
    kept = b""
    while chunk := await stream.read(65_536):
        if len(kept) <= limit:
            kept += chunk
            if len(kept) > limit:
                _kill(process)
    return kept


async def _end(process: asyncio.subprocess.Process) -> None:
    """Make sure that nothing of it is left: when bwrap's first process dies, the kernel ends all in its namespace."""
    _kill(process)
    for stream in (process.stdout, process.stderr):
        # asyncio's wait() returns only when the pipes were read to their ends.
        while stream is not None and await stream.read(65_536):
            pass
    await process.wait()


def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()


def _pythons() -> tuple[str, ...]:
    # Our own only from a folder of its own: what it stands in is shown to the code.
    own = Path(sys.base_prefix)
    ours = () if Path.home().is_relative_to(own) else (str(own / "bin" / "python3"),)
    return tuple(one for one in dict.fromkeys((*_PYTHONS, *ours)) if Path(one).exists())


def _python_binds(python: str) -> tuple[str, ...]:
    """Show the Python's own folder where it lies outside the system's."""
    prefix = str(Path(python).parent.parent)
    return () if prefix.startswith("/usr") else ("--ro-bind", prefix, prefix)
