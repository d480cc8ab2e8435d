"""The folder of an index: one opener at a time, and damaged ones set aside."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from pathlib import Path

from ansambl.domain.text import Text, text
from ansambl.foundation.paths import PRIVATE_FOLDER
from ansambl.knowledge.index.errors import IndexDamagedError, IndexInUseError

_LOCK = "lock"
PATIENCE = 2.0
"""Seconds: a process of ours that was killed may take a moment to end, and holds its lock until then."""


class FolderLock:
    """The right to use an index's folder, for as long as this lives; the system takes it back when we die."""

    def __init__(self, folder: Path, patience: float = PATIENCE) -> None:
        """Make `folder` where it is missing, and lock it.

        Raises:
            IndexInUseError: another process has it, and still had it after `patience` seconds.
        """
        folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        self._descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        end = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() < end:
                    time.sleep(0.05)
                    continue
                os.close(self._descriptor)
                message = text(
                    "another process uses the index in {folder}: stop it, or ask it instead", folder=str(folder)
                )
                raise IndexInUseError(message) from None
            return

    def release(self) -> None:
        """Let others have it."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


def set_aside(folder: Path, contents: list[Path], reason: Text | str) -> IndexDamagedError:
    """Move damaged files into a folder beside them, keeping only the newest such; returns the error to raise."""
    aside = folder / "damaged"
    _remove_tree(aside)
    aside.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    for one in contents:
        with contextlib.suppress(FileNotFoundError):
            one.replace(aside / one.name)
    message = text(
        "the index in {folder} is damaged and is built anew from the store; its files are in {aside} ({reason})",
        folder=str(folder), aside=str(aside), reason=reason,
    )  # fmt: skip
    return IndexDamagedError(message)


def set_all_aside(folder: Path, reason: Text | str) -> IndexDamagedError:
    """`set_aside` for everything in the folder but its lock."""
    return set_aside(folder, [one for one in folder.iterdir() if one.name not in {_LOCK, "damaged"}], reason)


def _remove_tree(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def bytes_of(folder: Path) -> int:
    """What the files of a folder take on disk, what was set aside left out."""
    total = 0
    for where, folders, files in os.walk(folder):
        if "damaged" in folders:
            folders.remove("damaged")
        for name in files:
            with contextlib.suppress(OSError):
                total += os.stat(os.path.join(where, name)).st_blocks * 512  # noqa: PTH116, PTH118 - thousands of files
    return total
