"""Where an installation lies on the disk: its folder, the lock that one installer holds, sizes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ansambl.domain.errors import UnavailableError
from ansambl.domain.text import text
from ansambl.domain.units import Bytes
from ansambl.engines.installations import engine_folder
from ansambl.foundation.paths import PRIVATE_FILE, PRIVATE_FOLDER

_TRIES, _BETWEEN = 4, 0.02


def make_private(folder: Path) -> Path:
    """Make a folder, and those above it, for the user alone; as it is when it is there.

    Raises:
        OSError: no permission, no room, or something else stands there.
    """
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    return folder


@contextlib.contextmanager
def only_installer(engines_folder: Path, engine: str) -> Iterator[Path]:
    """Hold the engine's folder against other installers; the kernel frees it when the process ends, however.

    Raises:
        UnavailableError: another process installs or removes this engine at this moment.
        OSError: the folder cannot be written.
    """
    make_private(engines_folder)
    descriptor = os.open(engines_folder / f".{engine}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        _lock(descriptor, engine)
        yield engine_folder(engines_folder, engine)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, engine: str) -> None:
    """Whoever only looks whether somebody installs holds the lock for a moment, too; that is no installer."""
    for left in reversed(range(_TRIES)):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as failure:
            if not left:
                raise busy(engine) from failure
            time.sleep(_BETWEEN)
        else:
            return


def busy(engine: str) -> UnavailableError:
    """Why nothing can be done with an engine that another process installs or removes."""
    return UnavailableError(
        text("another Ansambl is installing or removing {engine} at this moment; wait for it", engine=engine)
    )


def is_being_installed(engines_folder: Path, engine: str) -> bool:
    """Whether another process holds the engine's folder at this moment."""
    try:
        with only_installer(engines_folder, engine):
            return False
    except UnavailableError:
        return True
    except OSError:
        return False


def free_bytes(folder: Path) -> Bytes:
    """The free bytes of the disk that `folder` is, or would be, on."""
    for one in (folder, *folder.parents):
        with contextlib.suppress(OSError):
            return Bytes(shutil.disk_usage(one).free)
    return Bytes(0)


def bytes_below(folder: Path) -> Bytes:
    """The bytes of all files below a folder; what vanishes meanwhile is left out."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(root, name)).st_size  # noqa: PTH118 - tens of thousands of files
    return Bytes(total)


def remove_tree(folder: Path) -> None:
    """Remove a folder and all below it; silent where there is none.

    Raises:
        OSError: something of it cannot be removed.
    """
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)


def remove_slowly(folder: Path, look: Callable[[], None]) -> None:
    """Remove a folder of tens of thousands of files: `look` is called before each folder, and may raise to end it.

    An engine that was moved to another disk, with a link to it in its place, goes with the link. Links within are
    removed, and what they lead to stays.

    Raises:
        OSError: something of it cannot be removed.
    """
    for one in [Path(root) for root, _, _ in os.walk(folder.resolve(), topdown=False)]:
        look()
        for entry in os.scandir(one):
            # What stands below it is gone by now; a link is no folder, wherever it leads.
            if not entry.is_dir(follow_symlinks=False):
                Path(entry.path).unlink()
        one.rmdir()
    if folder.is_symlink():
        folder.unlink()
