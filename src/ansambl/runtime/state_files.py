"""Folders for the states of slots: private, in memory where there is room, and emptied whatever happens.

A state is a conversation as numbers. Its file lives for the moment between saving it and restoring it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import psutil

from ansambl.domain.units import GIB, Bytes
from ansambl.foundation.paths import PRIVATE_FILE

_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of mode 0700 with an unforeseeable name is made in it
_ENOUGH = GIB
"""Free bytes that make a file system in memory worth using: several long conversations of a small model."""
_SPARE = 2
"""Times the bytes of a state that must be free before it is saved: a full memory ends programs, not only copies."""


class StateFolders:
    """Makes and removes the folders of one data folder, `root`.

    `memory` are folders on file systems in memory, best first; None takes the usual ones of this machine.
    """

    def __init__(self, root: Path, memory: Iterable[Path] | None = None) -> None:
        self._root = root
        owner = hashlib.blake2b(str(root.absolute()).encode(), digest_size=6).hexdigest()
        self._prefix = f"ansambl-states-{owner}-"
        self._memory = tuple(_usual() if memory is None else memory)

    def make(self) -> Path:
        """A new folder of mode 0700 for one run of an engine.

        Raises:
            OSError: it can be made nowhere.
        """
        for parent in self._memory:
            with contextlib.suppress(OSError):
                if _free(parent) >= _ENOUGH:
                    return Path(tempfile.mkdtemp(prefix=self._prefix, dir=parent))
        return Path(tempfile.mkdtemp(prefix=self._prefix, dir=self._root))

    def remove_leftovers(self, keep: Iterable[str] = ()) -> int:
        """Remove the folders of engines that are gone, all but those to `keep`; returns how many there were."""
        kept, count = {str(Path(one)) for one in keep}, 0
        for parent in (*self._memory, self._root):
            with contextlib.suppress(OSError):
                for folder in parent.glob(self._prefix + "*"):
                    if str(folder) not in kept and folder.is_dir() and folder.stat().st_uid == os.getuid():
                        shutil.rmtree(folder, ignore_errors=True)
                        count += 1
        return count


def remove_folder(folder: str | None) -> None:
    """Remove a folder of `StateFolders.make` with what is in it."""
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def remove_file(folder: str, name: str) -> None:
    """Remove one state; a missing one is no error."""
    with contextlib.suppress(OSError):
        Path(folder, name).unlink(missing_ok=True)


def make_private(folder: str, name: str) -> None:
    """Give a state's file mode 0600, whatever its engine made it with.

    Raises:
        OSError: it is not there.
    """
    Path(folder, name).chmod(PRIVATE_FILE)


def has_room(folder: str, size: float) -> bool:
    """Whether a state of `size` bytes may be saved there."""
    with contextlib.suppress(OSError):
        return _free(Path(folder)) >= size * _SPARE
    return False


def _free(folder: Path) -> Bytes:
    """Free bytes: of the file system, and of the memory behind it, which a file there takes away."""
    return Bytes(min(shutil.disk_usage(folder).free, psutil.virtual_memory().available))


def _usual() -> list[Path]:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return [one for one in (_MEMORY, Path(runtime) if runtime else None) if one is not None and one.is_dir()]
