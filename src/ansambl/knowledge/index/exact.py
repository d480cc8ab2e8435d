"""The index that needs nothing installed: SQLite's full text (FTS5) and an exact search over all vectors with numpy.

Durable as the contract wants it: vectors are appended to a file and flushed first, and one SQLite transaction says last
which of its rows count. What stands behind them is cut off at the next opening. What is put is found once it is
committed. Terms are stored as short hashes, so that FTS5 divides and folds nothing: a term may be of any script and any
length. FTS5's bm25 has k1 = 1.2 and b = 0.75 (sqlite.org/fts5.html, 5.1.1) and no weights for terms: a term that weighs
more is asked for more often.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ansambl.domain.knowledge import Filters
from ansambl.domain.text import text
from ansambl.knowledge.embedding import Vectors, VectorSpace
from ansambl.knowledge.index.checking import (
    asked_terms,
    bounded,
    check_entries,
    check_vector,
    filters_nothing,
    finds_nothing,
)
from ansambl.knowledge.index.contract import Entry, IndexPlace, IndexState, Ranked
from ansambl.knowledge.index.errors import IndexFailedError
from ansambl.knowledge.index.exact_rows import RowBook
from ansambl.knowledge.index.exact_sql import (
    INSERT,
    ROWS,
    SCHEMA,
    condition,
    match_query,
    stored_terms,
    values_of,
)
from ansambl.knowledge.index.folders import FolderLock, bytes_of, set_all_aside

_FILE = "exact.db"
_COMPACT_FROM = 1000
"""Fewer rows that nobody uses are not worth writing the file anew."""


class _BadFilesError(Exception):
    """The files are there and do not belong together."""


class ExactIndex:
    """See the module. One writer at a time; any number of threads search."""

    def __init__(self, place: IndexPlace) -> None:
        """Open the index in ``place.folder``, or make it.

        Raises:
            IndexInUseError: another process has it.
            IndexDamagedError: its files cannot be used; they were set aside, and opening again makes an empty one.
        """
        self._folder = Path(place.folder)
        self._space = place.space
        self._lock = FolderLock(self._folder)
        self._write = threading.RLock()
        self._readers: list[sqlite3.Connection] = []
        self._readers_lock = threading.Lock()
        self._file: Any = None
        self._connection: sqlite3.Connection | None = None
        try:
            self._open()
        except (sqlite3.DatabaseError, _BadFilesError) as error:
            self._give_back()
            damaged = set_all_aside(self._folder, str(error))
            self._lock.release()
            raise damaged from error
        except BaseException:
            self._give_back()
            self._lock.release()
            raise

    # -- opening and closing

    def _open(self) -> None:
        self._connection = connection = self._connect()
        connection.executescript(SCHEMA)
        meta = dict(connection.execute("SELECT name, value FROM meta"))
        space = self._space
        if not meta:
            meta = {
                "applied": 0, "rows": 0, "generation": 0, "model": space.model if space else "",
                "dimension": space.dimension if space else 0,
            }  # fmt: skip
            connection.executemany("INSERT INTO meta VALUES (?, ?)", list(meta.items()))
        found = VectorSpace(str(meta["model"]), int(meta["dimension"])) if meta["dimension"] else None
        if space is not None and space != found:
            raise _BadFilesError(f"it holds vectors of {found}, and {space} is wanted")
        self._space = found
        self._applied, self._generation = int(meta["applied"]), int(meta["generation"])
        self._committed_rows = self._rows = int(meta["rows"])
        if found is not None:
            self._open_vectors(found.dimension)
        # Together in one attribute, so that a search never takes the one before and the other after a change.
        self._view = (RowBook.read(connection.execute(ROWS), self._rows), self._mapped())
        self._entries = int(connection.execute("SELECT count(*) FROM entries").fetchone()[0])
        self._pending: list[tuple[int, tuple[Any, ...]]] = []
        self._buried: list[int] = []

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._folder / _FILE, check_same_thread=False, isolation_level=None, timeout=30, cached_statements=32
        )
        connection.execute("PRAGMA journal_mode = WAL")
        # Full, because the vectors of a generation are removed after the commit that names the next one.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA mmap_size = 1073741824")
        return connection

    def _vectors_path(self) -> Path:
        return self._folder / f"vectors-{self._generation}.f32"

    def _open_vectors(self, dimension: int) -> None:
        for other in self._folder.glob("vectors-*.f32"):
            if other != self._vectors_path():
                other.unlink()
        self._file = self._vectors_path().open("ab")
        length = self._rows * dimension * 4
        if os.fstat(self._file.fileno()).st_size < length:
            raise _BadFilesError(
                f"{self._vectors_path().name} is shorter than the {self._rows} rows that it should hold"
            )
        self._file.truncate(length)

    def _mapped(self) -> Vectors:
        dimension = self._space.dimension if self._space else 0
        if not self._rows or not dimension:
            return np.zeros((0, dimension), np.float32)
        return np.memmap(self._vectors_path(), np.float32, "r", shape=(self._rows, dimension))

    def _give_back(self) -> None:
        with self._readers_lock:
            connections, self._readers = self._readers, []
        for one in (*connections, self._connection):
            if one is not None:
                with contextlib.suppress(sqlite3.Error):
                    one.close()
        self._connection = None
        if self._file is not None:
            self._file.close()
            self._file = None

    def close(self) -> None:
        """Give back what it holds; what was not committed is forgotten."""
        with self._write:
            self._give_back()
            self._lock.release()

    @contextlib.contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        with self._readers_lock:
            connection = self._readers.pop() if self._readers else None
        if connection is None:
            connection = self._connect()
        try:
            yield connection
        except sqlite3.DatabaseError as error:
            raise _failed(error) from error
        finally:
            with self._readers_lock:
                self._readers.append(connection)

    # -- writing

    def _writer(self) -> sqlite3.Connection:
        connection = self._connection
        if connection is None:
            message = text("the index is closed")
            raise IndexFailedError(message)
        if not connection.in_transaction:
            connection.execute("BEGIN IMMEDIATE")
        return connection

    def put(self, entries: Sequence[Entry]) -> None:
        """Add or replace; found once it is committed."""
        check_entries(entries, self._space)
        # Of entries with the same id the last one counts.
        wanted = {one.id: one for one in entries}
        with self._write, self._failing():
            connection = self._writer()
            self._remove(connection, list(wanted))
            rows: list[Vectors] = []
            values = []
            for one in wanted.values():
                row = None
                if one.vector is not None:
                    row = self._rows + len(rows)
                    rows.append(_unit(one.vector))
                    self._pending.append((row, values_of(one, row)))
                values.append((*values_of(one, row), stored_terms(one.terms)))
            if rows:
                self._file.write(np.stack(rows).tobytes())
                self._rows += len(rows)
            connection.executemany(INSERT, values)
            connection.executemany("INSERT INTO words (rowid, terms) VALUES (?, ?)", [(v[0], v[-1]) for v in values])

    def remove(self, ids: Sequence[int]) -> None:
        """Remove; unknown ids are ignored."""
        with self._write, self._failing():
            self._remove(self._writer(), [one for one in dict.fromkeys(ids) if 0 <= one < 2**63])

    def _remove(self, connection: sqlite3.Connection, ids: list[int]) -> None:
        for start in range(0, len(ids), 500):
            part = ids[start : start + 500]
            marks = ",".join("?" * len(part))
            known = connection.execute(f"SELECT id, row, terms FROM entries WHERE id IN ({marks})", part).fetchall()  # noqa: S608 - question marks
            self._buried.extend(row for _, row, _ in known if row is not None)
            connection.executemany(
                "INSERT INTO words (words, rowid, terms) VALUES ('delete', ?, ?)", [(i, terms) for i, _, terms in known]
            )
            connection.executemany("DELETE FROM entries WHERE id = ?", [(one[0],) for one in known])

    def commit(self, applied: int) -> None:
        """Vectors to disk first, the transaction that counts them last."""
        with self._write, self._failing():
            connection = self._writer()
            if self._file is not None:
                self._file.flush()
                os.fsync(self._file.fileno())
            self._set(connection, applied=applied, rows=self._rows)
            connection.execute("COMMIT")
            book = self._view[0].changed(self._pending, self._buried, self._rows)
            entries = int(connection.execute("SELECT count(*) FROM entries").fetchone()[0])
            self._committed_rows, self._applied, self._entries = self._rows, applied, entries
            self._view = (book, self._mapped())
            self._pending, self._buried = [], []
            if book.unused > max(_COMPACT_FROM, book.used):
                self._compact(connection)

    @staticmethod
    def _set(connection: sqlite3.Connection, **values: int) -> None:
        connection.executemany(
            "UPDATE meta SET value = ? WHERE name = ?", [(value, name) for name, value in values.items()]
        )

    def _compact(self, connection: sqlite3.Connection) -> None:
        """Write the vectors that are in use to a new file. The old one serves whoever searches it at this moment."""
        former, (book, matrix) = self._vectors_path(), self._view
        kept = np.flatnonzero(book.alive)
        generation = self._generation + 1
        target = self._folder / f"vectors-{generation}.f32"
        with target.open("wb") as file:
            for start in range(0, len(kept), 4096):
                file.write(np.ascontiguousarray(matrix[kept[start : start + 4096]]).tobytes())
            file.flush()
            os.fsync(file.fileno())
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "UPDATE entries SET row = ? WHERE id = ?",
            list(enumerate(book.ids[kept].tolist())),
        )
        self._set(connection, rows=len(kept), generation=generation)
        connection.execute("COMMIT")
        self._file.close()
        self._generation, self._rows, self._committed_rows = generation, len(kept), len(kept)
        self._file = target.open("ab")
        self._view = (book.kept(kept), self._mapped())
        former.unlink(missing_ok=True)

    def clear(self) -> None:
        """Empty, at revision 0, durably."""
        with self._write, self._failing():
            connection = self._writer()
            connection.execute("DELETE FROM entries")
            connection.execute("INSERT INTO words (words) VALUES ('delete-all')")
            self._buried = list(range(self._rows))
            self._pending = []
            self.commit(0)
            if self._space is not None and self._rows:
                self._compact(self._connection or connection)

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        """What a write cannot do undoes all since the last commit, so that a full disk leaves no half."""
        try:
            yield
        except (sqlite3.DatabaseError, OSError) as error:
            connection = self._connection
            if connection is not None and connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
            self._pending, self._buried = [], []
            self._rows = self._committed_rows
            if self._space is not None and self._file is not None:
                with contextlib.suppress(OSError):
                    self._file.close()
                self._open_vectors(self._space.dimension)
            raise _failed(error) from error

    # -- searching

    def by_vector(self, vector: Vectors, filters: Filters, limit: int) -> list[Ranked]:
        """Every vector that may be found is compared: the ranking is exact."""
        check_vector(vector, self._space)
        limit = bounded(limit)
        book, matrix = self._view
        if not limit or finds_nothing(filters) or not len(matrix):
            return []
        wanted = _unit(vector)
        mask = book.alive if filters_nothing(filters) else book.mask(filters)
        count = int(np.count_nonzero(mask))
        if count == 0:
            return []
        rows: NDArray[np.int64] | None = None
        if count * 8 < len(matrix):
            rows = np.flatnonzero(mask)
            scores = matrix[rows] @ wanted
        else:
            scores = matrix @ wanted
            if count < len(matrix):
                scores[~mask] = -np.inf
        best = _best(scores, min(limit, count))
        found = [(float(scores[one]), int(book.ids[one if rows is None else rows[one]])) for one in best]
        return [Ranked(one, score) for score, one in sorted(found, key=lambda pair: (-pair[0], pair[1]))]

    def by_terms(self, terms: Mapping[str, float], filters: Filters, limit: int) -> list[Ranked]:
        """Ranked by FTS5's bm25, whose sign is turned: higher is better."""
        asked, limit = asked_terms(terms), bounded(limit)
        if not asked or not limit or finds_nothing(filters):
            return []
        where, values = condition(filters)
        join = f"JOIN entries e ON e.id = words.rowid WHERE {where} AND" if where else "WHERE"
        query = f"SELECT words.rowid, rank FROM words {join} words MATCH ? ORDER BY rank LIMIT ?"  # noqa: S608 - our own words
        with self._reader() as connection:
            found = connection.execute(query, (*values, match_query(asked), limit)).fetchall()
        ranked = [(-float(score), int(one)) for one, score in found]
        return [Ranked(one, score) for score, one in sorted(ranked, key=lambda pair: (-pair[0], pair[1]))]

    def state(self) -> IndexState:
        """What is committed."""
        facts = {"kind": "exact", "folder": str(self._folder), "disk_bytes": str(bytes_of(self._folder))}
        return IndexState(self._entries, self._view[0].used, self._applied, facts)


def _failed(error: BaseException) -> IndexFailedError:
    return IndexFailedError(text("the index could not do it: {reason}", reason=str(error)))


def _unit(vector: Vectors) -> Vectors:
    length = float(np.linalg.norm(vector))
    return np.asarray(vector / length if length > 0 else vector, np.float32)


def _best(scores: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    if count >= len(scores):
        return np.argsort(-scores, kind="stable")
    return np.argpartition(-scores, count - 1)[:count]
