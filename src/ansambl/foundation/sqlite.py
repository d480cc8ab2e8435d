"""SQLite with numbered migrations, one writer at a time, and blocking work kept off the event loop."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ansambl.foundation.logging import get_logger

log = get_logger(__name__)

T = TypeVar("T")


class NewerDatabaseError(Exception):
    """The database was written by a newer version of the program."""

    def __init__(self, found: int, known: int) -> None:
        super().__init__(f"database has schema {found}, this program knows {known}")
        self.found = found
        self.known = known


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema. `number` counts up from 1 without gaps; a step that was released is never edited."""

    number: int
    name: str
    script: str


def load_migrations(folder: Path) -> tuple[Migration, ...]:
    """Read ``0001_name.sql``, ``0002_…`` from `folder`.

    Raises:
        ValueError: the numbers have a gap or a double.
    """
    found = []
    for path in sorted(folder.glob("[0-9]*.sql")):
        number, _, name = path.stem.partition("_")
        found.append(Migration(int(number), name, path.read_text(encoding="utf-8")))
    if [one.number for one in found] != list(range(1, len(found) + 1)):
        message = f"migrations in {folder} are not numbered 1, 2, 3, …"
        raise ValueError(message)
    return tuple(found)


class Database:
    """One SQLite file. Calls block; `run` sends them to the one worker thread that owns the connection."""

    def __init__(self, path: Path, migrations: Sequence[Migration], *, backups: Path | None = None) -> None:
        """Open `path`, bringing it to the newest schema (after a backup, when it held an older one).

        Raises:
            NewerDatabaseError: it was written by a newer program.
            sqlite3.DatabaseError: it is not a database, or it is damaged.
        """
        self.path = path
        self._lock = threading.RLock()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite")
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
        try:
            path.chmod(0o600)
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._migrate(migrations, backups)
        except BaseException:
            self.close()
            raise

    def _migrate(self, migrations: Sequence[Migration], backups: Path | None) -> None:
        current = int(self._connection.execute("PRAGMA user_version").fetchone()[0])
        newest = migrations[-1].number if migrations else 0
        if current > newest:
            raise NewerDatabaseError(current, newest)
        if 0 < current < newest and backups is not None:
            self.backup(backups / f"{self.path.stem}-schema{current}-{time.strftime('%Y%m%d-%H%M%S')}.db")
        for step in migrations[current:]:
            # executescript commits by itself, so the transaction and the version stand inside the script.
            self._connection.executescript(
                f"BEGIN IMMEDIATE;\n{step.script}\n;PRAGMA user_version = {step.number};\nCOMMIT;"
            )

    def backup(self, target: Path) -> Path:
        """Write a consistent copy to `target` while the database is in use."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._lock, closing(sqlite3.connect(target)) as copy:
            target.chmod(0o600)
            self._connection.backup(copy)
        return target

    def transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in one transaction: all of it is kept, or nothing."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(self._connection)
                self._connection.execute("COMMIT")
            except BaseException:
                # After some failures (a full disk) SQLite has rolled back by itself.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            return result

    def read(self, query: str, values: Sequence[object] = ()) -> list[sqlite3.Row]:
        """Return all rows of a query."""
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` as a transaction in the worker thread."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, self.transaction, work)

    def submit(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Write later, in order, without waiting; `close` waits for what was submitted. A failure is logged."""
        self._executor.submit(self.transaction, work).add_done_callback(self._log_failure)

    def _log_failure(self, done: Future[object]) -> None:
        error = done.exception()
        if error is not None:
            log.error("submitted_write_failed", database=self.path.name, reason=str(error))

    def close(self) -> None:
        """Finish what was submitted and close the file."""
        self._executor.shutdown(wait=True)
        with self._lock:
            self._connection.close()
