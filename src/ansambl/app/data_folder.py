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
from ansambl.domain.errors import DataFolderError
from ansambl.domain.text import text
from ansambl.foundation.paths import DataPaths
from ansambl.foundation.sqlite import Database, NewerDatabaseError, load_migrations

MIGRATIONS = Path(__file__).parent / "migrations"


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


def _not_usable(paths: DataPaths, error: OSError) -> DataFolderError:
    return DataFolderError(
        text(
            "The data folder {folder} cannot be used ({reason}). Give yourself write permission, or name another "
            "folder in the variable ANSAMBL_DATA.",
            folder=paths.root,
            reason=error.strerror or error,
        )
    )


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
        raise DataFolderError(
            text(
                "The database {file} cannot be read ({reason}). Put back a copy from {backups}, or move it away to "
                "start with an empty one.",
                file=paths.database,
                reason=error,
                backups=paths.backups,
            )
        ) from error
