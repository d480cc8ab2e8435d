"""The data folder: one running Ansambl for each, with a database that is never lost."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Self

from ansambl.app.running_state import read_state
from ansambl.domain.errors import DataFolderError, DiskFullError
from ansambl.domain.text import text
from ansambl.foundation import logging
from ansambl.foundation.paths import DataPaths
from ansambl.foundation.sqlite import Database, NewerDatabaseError, load_migrations

MIGRATIONS = Path(__file__).parent / "migrations"

_FOLDER_FAULTS = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN})
"""SQLite's codes for what is wrong with the folder or its disk and not with the database."""


class AlreadyRunningError(DataFolderError):
    """Another Ansambl uses this data folder."""


def prepare_folder(paths: DataPaths) -> None:
    """Make the data folder.

    Raises:
        DataFolderError: it cannot be made or written.
    """
    try:
        paths.create()
    except OSError as error:
        raise _not_usable(paths, error) from error


def open_log(paths: DataPaths) -> None:
    """Send this process's log into the data folder.

    Raises:
        DataFolderError: the log cannot be written there.
    """
    try:
        logging.configure(paths.logs / "ansambl.log")
    except OSError as error:
        raise _not_usable(paths, error) from error


def _not_usable(paths: DataPaths, error: OSError | sqlite3.Error) -> DataFolderError:
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        return DataFolderError(
            text(
                "{file} is a file where the data folder needs a folder. Move it away, or name another data folder in "
                "the variable ANSAMBL_DATA.",
                file=error.filename or paths.root,
            )
        )
    if error.errno == errno.ENOSPC if isinstance(error, OSError) else _sqlite_code(error) == sqlite3.SQLITE_FULL:
        return DiskFullError(
            text(
                "The disk of the data folder {folder} is full. Free some space there, or name another folder in the "
                "variable ANSAMBL_DATA.",
                folder=paths.root,
            )
        )
    return DataFolderError(
        text(
            "The data folder {folder} cannot be used ({reason}). Give yourself write permission, or name another "
            "folder in the variable ANSAMBL_DATA.",
            folder=paths.root,
            reason=(error.strerror if isinstance(error, OSError) else None) or error,
        )
    )


def _sqlite_code(error: sqlite3.Error) -> int:
    # The low byte is the primary code; errors that the module itself raises have none.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


class DataLock:
    """Held by the one process that may use the data folder. The kernel frees it when the process ends, however."""

    def __init__(self, paths: DataPaths) -> None:
        self._paths = paths
        self._descriptor = -1

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            AlreadyRunningError: another process holds it.
            DataFolderError: the lock file cannot be opened or locked.
        """
        try:
            self._descriptor = os.open(self._paths.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _not_usable(self._paths, error) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            if error.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
                raise _not_usable(self._paths, error) from error
            raise self._already_running() from None
        return self

    def _already_running(self) -> AlreadyRunningError:
        state = read_state(self._paths)
        if state is None:
            return AlreadyRunningError(
                text(
                    "Another ansambl command is using the data folder {folder}. Wait until it has ended, or name "
                    "another folder in the variable ANSAMBL_DATA.",
                    folder=self._paths.root,
                )
            )
        return AlreadyRunningError(
            text(
                "Ansambl already runs on this data folder, at {address} (process {pid}). Use it, stop it with "
                "'ansambl down', or name another folder in the variable ANSAMBL_DATA.",
                address=state.address,
                pid=state.pid,
            )
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)


def open_database(paths: DataPaths) -> Database:
    """Open the database, bringing it to the newest schema.

    Raises:
        DataFolderError: it was written by a newer Ansambl, or it is damaged.
    """
    try:
        return Database(paths.database, load_migrations(MIGRATIONS), backups=paths.backups)
    except NewerDatabaseError as error:
        raise DataFolderError(
            text(
                "The data folder {folder} was written by a newer Ansambl (schema {found}, this version knows {known}). "
                "Update Ansambl, or name another folder in the variable ANSAMBL_DATA.",
                folder=paths.root,
                found=error.found,
                known=error.known,
            )
        ) from error
    except sqlite3.DatabaseError as error:
        if _sqlite_code(error) in _FOLDER_FAULTS:
            raise _not_usable(paths, error) from error
        raise DataFolderError(
            text(
                "The database {file} cannot be read ({reason}). Put back a copy from {backups}, or move it away to "
                "start with an empty one.",
                file=paths.database,
                reason=error,
                backups=paths.backups,
            )
        ) from error
