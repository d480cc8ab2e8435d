"""Copying the data folder's content, and removing it: never anything that is not ours."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ansambl.app.data_folder import DataLock
from ansambl.domain.errors import DataFolderError
from ansambl.domain.text import text
from ansambl.foundation.paths import PRIVATE_FILE, PRIVATE_FOLDER, DataPaths

KNOWLEDGE_FILE = "knowledge.db"
"""The database of documents and past conversations, in the folder of knowledge."""


@dataclass(frozen=True, slots=True)
class Removal:
    """A file or folder that would be removed, and its size in bytes."""

    path: Path
    size: int


def back_up(paths: DataPaths, configuration: Path | None, target: Path) -> list[Path]:
    """Copy the databases, consistently also while Ansambl runs, and the configuration into the new folder `target`.

    The index of knowledge stays out: it is made anew from its database. Saved conversations stay out: their states can
    be computed again, are large, and belong to one engine build. A row whose file is missing is dropped at the next
    start.

    Raises:
        DataFolderError: there is nothing to copy, or it cannot be written.
    """
    if not paths.database.is_file() and configuration is None:
        raise DataFolderError(
            text("there is nothing to back up: {folder} holds no database, and there is no configuration file",
                 folder=paths.root)
        )  # fmt: skip
    made = []
    try:
        target.mkdir(mode=PRIVATE_FOLDER, parents=True)
        for database, copy in (
            (paths.database, target / paths.database.name),
            (paths.knowledge / KNOWLEDGE_FILE, target / paths.knowledge.name / KNOWLEDGE_FILE),
        ):
            if database.is_file():
                copy.parent.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
                with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as written:
                    source.backup(written)
                copy.chmod(PRIVATE_FILE)
                made.append(copy)
        if configuration is not None:
            made.append(Path(shutil.copyfile(configuration, target / "ansambl.toml")))
            made[-1].chmod(PRIVATE_FILE)
    except (OSError, sqlite3.Error) as error:
        raise DataFolderError(
            text("the copy to {folder} failed ({reason}); name another folder with --out", folder=target, reason=error)
        ) from error
    return made


def plan_removal(paths: DataPaths) -> list[Removal]:
    """What of the data folder is ours and would be removed; nothing is touched.

    Raises:
        AlreadyRunningError: Ansambl runs on this folder.
        DataFolderError: the folder does not exist, or does not look like ours.
    """
    root = paths.root
    if not root.is_dir():
        raise DataFolderError(text("there is no data folder {folder}; nothing is to be removed", folder=root))
    # The lock is made by the first start and by nothing else; a home folder that ANSAMBL_DATA names has none.
    if root.is_symlink() or not paths.lock.is_file() or root in {Path.home(), Path(root.anchor)}:
        raise DataFolderError(
            text("{folder} does not look like a data folder of Ansambl; remove it by hand if you are sure", folder=root)
        )
    with DataLock(paths):
        pass
    return [Removal(one, _size(one)) for one in _ours(paths) if one.exists() or one.is_symlink()]


def remove(paths: DataPaths, plan: list[Removal]) -> list[Path]:
    """Remove what `plan_removal` found, then the folder when nothing else is in it. Returns what was left there.

    Raises:
        AlreadyRunningError: Ansambl runs on this folder.
        DataFolderError: something could not be removed.
    """
    try:
        with DataLock(paths):
            for one in plan:
                if one.path == paths.lock:
                    continue
                if one.path.is_dir() and not one.path.is_symlink():
                    shutil.rmtree(one.path)
                else:
                    one.path.unlink(missing_ok=True)
            paths.lock.unlink(missing_ok=True)
        left = sorted(paths.root.iterdir())
        if not left:
            paths.root.rmdir()
    except OSError as error:
        raise DataFolderError(
            text("{path} could not be removed ({reason}); give yourself permission and run it again",
                 path=error.filename or paths.root, reason=error.strerror or error)
        ) from error  # fmt: skip
    return left


def _ours(paths: DataPaths) -> list[Path]:
    database = paths.database
    beside = [database.with_name(database.name + ending) for ending in ("-wal", "-shm")]
    return [
        paths.models,
        paths.engines,
        paths.loras,
        paths.conversations,
        paths.knowledge,
        paths.companions,
        paths.logs,
        paths.backups,
        database,
        *beside,
        paths.state,
        paths.lock,
    ]


def _size(path: Path) -> int:
    if path.is_symlink() or path.is_file():
        return path.lstat().st_size
    return sum(one.lstat().st_size for one in path.rglob("*") if one.is_symlink() or one.is_file())
