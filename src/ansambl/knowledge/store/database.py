"""The database of knowledge: one writer, several readers that never wait for it, and failures in words."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from queue import Empty, LifoQueue
from typing import TypeVar

from ansambl.domain.errors import DataFolderError, DiskFullError
from ansambl.domain.text import Text, text
from ansambl.foundation.paths import PRIVATE_FILE, PRIVATE_FOLDER
from ansambl.foundation.sqlite import Database, NewerDatabaseError, load_migrations

T = TypeVar("T")

MIGRATIONS = Path(__file__).parent / "migrations"
FILE = "knowledge.db"
_READERS = 8
_CACHE_KIB = 16_384
_PATIENCE = 5.0
_TIGHT = 4 * 2**20


class KnowledgeDatabase:
    """`knowledge.db` in a folder that one process uses at a time."""

    def __init__(self, folder: Path) -> None:
        """Open it, making what is missing.

        Raises:
            DataFolderError: it cannot be used: no permission, a newer or a damaged database, another process.
        """
        self.folder = folder
        self.path = folder / FILE
        self._closed = False
        self._readers: LifoQueue[sqlite3.Connection] = LifoQueue()
        self._room = threading.BoundedSemaphore(_READERS)
        with self._in_words():
            folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
            folder.chmod(PRIVATE_FOLDER)
        self._lock = _locked(folder)
        try:
            with self._in_words():
                self._prepare()
                self._database = Database(self.path, load_migrations(MIGRATIONS), backups=folder / "backups")
        except NewerDatabaseError as error:
            os.close(self._lock)
            message = text(
                "The knowledge in {folder} was written by a newer Ansambl (schema {found}, this version knows "
                "{known}). Update Ansambl, or move the folder away to start with an empty one.",
                folder=folder, found=error.found, known=error.known,
            )  # fmt: skip
            raise DataFolderError(message) from error
        except BaseException:
            os.close(self._lock)
            raise

    def _prepare(self) -> None:
        """A new file gives freed pages back and overwrites what is deleted: both are settled before the first table."""
        if self.path.exists():
            if self.path.stat().st_size:
                return
            # A crash at the very first start leaves it empty, too, but nothing of it in an index.
            if any((self.folder / "index").glob("*/*")):
                raise DataFolderError(self._unreadable(text("the file is empty, but an index of it is there")))
        self.path.touch(mode=PRIVATE_FILE)
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("VACUUM")

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in one transaction: all of it is kept, or nothing.

        Raises:
            DataFolderError: the disk is full, or the file cannot be written.
        """

        def secure(connection: sqlite3.Connection) -> T:
            connection.execute("PRAGMA secure_delete = ON")
            return work(connection)

        with self._in_words():
            return self._database.transaction(secure)

    def read(self, query: str, values: Sequence[object] = ()) -> list[sqlite3.Row]:
        """All rows of a query, as the newest transaction left them."""
        with self.snapshot() as connection:
            return connection.execute(query, values).fetchall()

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one moment for as long as it is held, whatever is written meanwhile."""
        with self._in_words(), self._room:
            if self._closed:
                raise DataFolderError(self._was_closed())
            connection = self._reader()
            try:
                connection.execute("BEGIN")
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                self._readers.put(connection)

    def _reader(self) -> sqlite3.Connection:
        with contextlib.suppress(Empty):
            return self._readers.get_nowait()
        connection = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None, timeout=_PATIENCE)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA query_only = ON")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB // _READERS}")
        return connection

    def shrink(self) -> None:
        """Give freed pages back to the disk, and leave nothing of what was deleted in the log beside the database."""
        with self._in_words(), closing(sqlite3.connect(self.path, isolation_level=None, timeout=_PATIENCE)) as one:
            one.execute("PRAGMA secure_delete = ON")
            one.execute("PRAGMA incremental_vacuum").fetchall()
            end = time.monotonic() + _PATIENCE
            # The first value is 1 while somebody still reads the log.
            while one.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] and time.monotonic() < end:
                time.sleep(0.01)

    def size(self) -> int:
        """Bytes on the disk, what is in the log included."""
        total = 0
        for name in (FILE, f"{FILE}-wal"):
            with contextlib.suppress(OSError):
                total += (self.folder / name).stat().st_size
        return total

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._explained(error) from error
        except UnicodeDecodeError as error:
            # SQLite quotes what it cannot read of a damaged file, and Python cannot read the quotation.
            raise DataFolderError(self._unreadable(error.reason)) from error
        except OSError as error:
            if error.errno in _FULL:
                raise DiskFullError(_full(self.folder)) from error
            raise DataFolderError(_unusable(self.folder, error)) from error

    def _explained(self, error: sqlite3.Error) -> DataFolderError:
        code = getattr(error, "sqlite_errorcode", None)
        if self._closed:
            return DataFolderError(self._was_closed())
        # Where it is not the disk but a quota or a limit that is full, SQLite calls it an error of input and output.
        if code == sqlite3.SQLITE_FULL or (code is not None and code & 0xFF == sqlite3.SQLITE_IOERR and self._tight()):
            return DiskFullError(_full(self.folder))
        if code is not None and code & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            return DataFolderError(_in_use(self.folder))
        if code is not None and code & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            return DataFolderError(self._unreadable(error))
        return DataFolderError(_unusable(self.folder, error))

    def _unreadable(self, reason: object) -> Text:
        return text(
            "The knowledge in {file} cannot be read ({reason}). Put back a copy of it, or move it away to start "
            "with an empty one.",
            file=self.path, reason=reason,
        )  # fmt: skip

    def _tight(self) -> bool:
        return shutil.disk_usage(self.folder).free < _TIGHT

    def close(self) -> None:
        """Finish and let others have the folder."""
        if self._closed:
            return
        self._closed = True
        # Whoever still reads is waited for.
        held = sum(self._room.acquire(timeout=_PATIENCE) for _ in range(_READERS))
        with contextlib.suppress(Empty):
            while True:
                self._readers.get_nowait().close()
        self._database.close()
        os.close(self._lock)
        for _ in range(held):
            # Whoever comes now is told; waiting for ever, a thread would keep the whole program from ending.
            self._room.release()

    def _was_closed(self) -> Text:
        return text("The knowledge in {folder} was closed.", folder=self.folder)


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def _full(folder: Path) -> Text:
    return text(
        "There is no room left on the disk of {folder}: what was taken in so far stays. Make room, and do it again.",
        folder=folder,
    )


def _in_use(folder: Path) -> Text:
    return text(
        "Another process uses the knowledge in {folder}: ask the running Ansambl, or stop it with 'ansambl down'.",
        folder=folder,
    )


def _unusable(folder: Path, reason: object) -> Text:
    return text("The knowledge in {folder} cannot be used: {reason}", folder=folder, reason=reason)


def _locked(folder: Path) -> int:
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() < end:
                time.sleep(0.05)
                continue
            os.close(descriptor)
            raise DataFolderError(_in_use(folder)) from None
        return descriptor
