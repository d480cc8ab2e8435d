"""The index on a PostgreSQL server with pgvector, for several machines: many may search it, one at a time writes.

Each space has a schema of its own, so another model of embeddings begins anew beside the former. What is put is in one
transaction until `commit`. Words are found through a GIN index over our own terms and ranked by BM25: each passage has
its part as a sparse vector, the rarity of terms is counted in a table, and the database multiplies. Vectors are kept in
half precision and found through HNSW; where its answer is too short because of filters, the search is exact.
A password comes from the environment (``PGPASSWORD``), from ``~/.pgpass`` or with the address; no message shows it.
"""

from __future__ import annotations

import contextlib
import threading
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ansambl.domain.errors import UnavailableError, UsageError
from ansambl.domain.knowledge import Filters
from ansambl.domain.text import Text, text
from ansambl.knowledge.embedding import Vectors, VectorSpace
from ansambl.knowledge.index import postgresql_sql as sql
from ansambl.knowledge.index.checking import (
    asked_terms,
    bounded,
    check_entries,
    check_vector,
    filters_nothing,
    finds_nothing,
)
from ansambl.knowledge.index.contract import Entry, IndexPlace, IndexState, Ranked
from ansambl.knowledge.index.errors import IndexFailedError, IndexInUseError, gone, missing
from ansambl.knowledge.index.exact_sql import token
from ansambl.knowledge.index.spaces import space_mark

if TYPE_CHECKING:
    import psycopg

_CONNECT = 10
"""Seconds that the server may take to answer."""

_LONGEST_NAME = 40
"""Characters of a name: a schema's is 63 bytes at most, with the space's mark behind it."""

_CANDIDATES = 50
"""For each passage that is wanted, how many may be looked at by their words."""

_MOST_EF = 1000
"""pgvector's limit for hnsw.ef_search."""


class PostgresqlIndex:
    """See the module."""

    def __init__(self, place: IndexPlace) -> None:
        """Connect, and bring the schema to the newest form.

        Raises:
            NotSupportedError: psycopg is not installed, or the server has no pgvector.
            UnavailableError: the server does not answer.
            UsageError: the address or the name cannot be used.
        """
        try:
            import psycopg
        except ImportError as error:
            raise missing("psycopg", "postgresql", error) from error
        self._psycopg = psycopg
        self._place, self._space = place, place.space
        self._shown = _without_password(psycopg, place.address)
        self._schema = schema_name(place.name, place.space)
        self._write = threading.RLock()
        self._writer: psycopg.Connection[Any] | None = None
        self._readers: list[psycopg.Connection[Any]] = []
        self._readers_lock = threading.Lock()
        with self._reader() as connection:
            self._migrate(connection)

    # -- connections

    def _connect(self) -> psycopg.Connection[Any]:
        try:
            connection = self._psycopg.connect(
                self._place.address, connect_timeout=_CONNECT, autocommit=True, application_name="ansambl"
            )
            connection.execute(f"SET search_path = {_quoted(self._schema)}, public".encode())
        except self._psycopg.Error as error:
            raise UnavailableError(self._trouble(error)) from error
        return connection

    def _trouble(self, error: BaseException) -> Text:
        return text("PostgreSQL at {address}: {reason}", address=self._shown, reason=self._reason(error))

    def _reason(self, error: BaseException) -> str:
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        password = self._psycopg.conninfo.conninfo_to_dict(self._place.address).get("password")
        return reason.replace(str(password), "***") if password else reason

    @contextlib.contextmanager
    def _reader(self) -> Iterator[psycopg.Connection[Any]]:
        with self._readers_lock:
            connection = self._readers.pop() if self._readers else None
        if connection is None or connection.closed:
            connection = self._connect()
        try:
            yield connection
        except self._psycopg.OperationalError as error:
            connection.close()
            with self._readers_lock:
                # The others went to the same server.
                for one in self._readers:
                    one.close()
                self._readers.clear()
            raise gone(self._trouble(error)) from error
        except self._psycopg.Error as error:
            raise IndexFailedError(self._trouble(error)) from error
        finally:
            if not connection.closed:
                with self._readers_lock:
                    self._readers.append(connection)

    def _migrate(self, connection: psycopg.Connection[Any]) -> None:
        schema = _quoted(self._schema)
        with connection.transaction():
            # One at a time, or two that begin together would both make the tables.
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_lock_number(self._schema, "schema"),))
            if connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'").fetchone() is None:
                self._add_extension(connection)
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}".encode())
            connection.execute(f"SET search_path = {schema}, public".encode())
            connection.execute("CREATE TABLE IF NOT EXISTS meta (name text PRIMARY KEY, value bigint NOT NULL)")
            connection.execute(
                "INSERT INTO meta VALUES ('schema', 0), ('applied', 0), ('entries', 0) ON CONFLICT DO NOTHING"
            )
            current = self._meta(connection, "schema")
            if current > len(sql.MIGRATIONS):
                message = text(
                    "the index {schema} at {address} was written by a newer version of Ansambl",
                    schema=self._schema, address=self._shown,
                )  # fmt: skip
                raise UsageError(message)
            for number, step in enumerate(sql.MIGRATIONS[current:], current + 1):
                dimension = self._space.dimension if self._space else 1
                connection.execute(step.format(vector=f"halfvec({dimension})").encode())
                if number == 1 and dimension <= sql.LARGEST_INDEXED:
                    connection.execute(sql.VECTOR_INDEX.encode())
                connection.execute("UPDATE meta SET value = %s WHERE name = 'schema'", (number,))

    def _add_extension(self, connection: psycopg.Connection[Any]) -> None:
        try:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector SCHEMA public")
        except self._psycopg.Error as error:
            message = text(
                "PostgreSQL at {address} cannot be used without its extension pgvector: {reason}",
                address=self._shown, reason=self._reason(error),
            )  # fmt: skip
            raise UsageError(message) from error

    @staticmethod
    def _meta(connection: psycopg.Connection[Any], name: str) -> int:
        row = connection.execute("SELECT value FROM meta WHERE name = %s", (name,)).fetchone()
        return int(row[0]) if row else 0

    # -- writing

    @contextlib.contextmanager
    def _writing(self) -> Iterator[psycopg.Connection[Any]]:
        with self._write:
            try:
                if self._writer is None:
                    self._writer = self._lock_writer(self._connect())
                yield self._writer
            except self._psycopg.Error as error:
                lost = isinstance(error, self._psycopg.OperationalError)
                self._drop_writer()
                raise (gone if lost else IndexFailedError)(self._trouble(error)) from error

    def _lock_writer(self, connection: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
        """The lock lives as long as the connection, so a writer that dies frees it."""
        number = _lock_number(self._schema, "write")
        row = connection.execute("SELECT pg_try_advisory_lock(%s)", (number,)).fetchone()
        if row is None or not row[0]:
            connection.close()
            message = text(
                "another process writes to the index {schema} at {address}", schema=self._schema, address=self._shown
            )
            raise IndexInUseError(message)
        connection.autocommit = False
        return connection

    def _drop_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            with contextlib.suppress(self._psycopg.Error):
                writer.close()

    def put(self, entries: Sequence[Entry]) -> None:
        """Add or replace; found once it is committed."""
        check_entries(entries, self._space)
        wanted = {one.id: one for one in entries}
        if not wanted:
            return
        counted: Counter[str] = Counter()
        rows = []
        for one in wanted.values():
            row, lexemes = sql.row_of(one)
            rows.append(row)
            counted.update(lexemes)
        with self._writing() as connection:
            self._remove(connection, list(wanted))
            with connection.cursor() as cursor, cursor.copy(sql.COPY.encode()) as copy:
                for row in rows:
                    copy.write_row(row)
            terms = sorted(counted)
            connection.execute(sql.COUNT_TERMS.encode(), (terms, [counted[one] for one in terms]))
            self._count(connection, len(rows))

    def _remove(self, connection: psycopg.Connection[Any], ids: list[int]) -> None:
        row = connection.execute(sql.REMOVE.encode(), (ids,)).fetchone()
        if row is not None and row[0]:
            self._count(connection, -int(row[0]))

    @staticmethod
    def _count(connection: psycopg.Connection[Any], more: int) -> None:
        connection.execute("UPDATE meta SET value = value + %s WHERE name = 'entries'", (more,))

    def remove(self, ids: Sequence[int]) -> None:
        """Remove; unknown ids are ignored."""
        wanted = [one for one in dict.fromkeys(ids) if 0 <= one < 2**63]
        if wanted:
            with self._writing() as connection:
                self._remove(connection, wanted)

    def commit(self, applied: int) -> None:
        """End the transaction in which all was written since the last commit."""
        with self._writing() as connection:
            connection.execute("UPDATE meta SET value = %s WHERE name = 'applied'", (applied,))
            connection.commit()

    def clear(self) -> None:
        """Empty, at revision 0, durably."""
        with self._writing() as connection:
            connection.execute("TRUNCATE entries, frequencies")
            connection.execute("UPDATE meta SET value = 0 WHERE name IN ('applied', 'entries')")
            connection.commit()

    # -- searching

    def by_vector(self, vector: Vectors, filters: Filters, limit: int) -> list[Ranked]:
        """Through HNSW; exactly where that gives fewer than are wanted."""
        check_vector(vector, self._space)
        limit = bounded(limit)
        if not limit or finds_nothing(filters) or not vector.any():
            return []
        where, values = sql.condition(filters)
        wanted = sql.vector_text(vector)
        query = (
            "SELECT id, 1 - (vector <=> %s::halfvec) FROM entries WHERE vector IS NOT NULL "  # noqa: S608 - our own names
            f"{where} ORDER BY vector <=> %s::halfvec LIMIT %s"
        ).encode()
        arguments = [wanted, *values, wanted, limit]
        with self._reader() as connection, connection.transaction():
            connection.execute(
                f"SET LOCAL hnsw.ef_search = {min(_MOST_EF, max(100, 2 * limit))}; "
                "SET LOCAL hnsw.iterative_scan = strict_order".encode()
            )
            found = connection.execute(query, arguments).fetchall()
            if len(found) < limit:
                connection.execute("SET LOCAL enable_indexscan = off")
                found = connection.execute(query, arguments).fetchall()
        # A vector of zeros has no direction: its distance is no number.
        return _ranked([(one, score) for one, score in found if score == score])  # noqa: PLR0124 - only NaN differs

    def by_terms(self, terms: Mapping[str, float], filters: Filters, limit: int) -> list[Ranked]:
        """BM25 over the passages that hold the rarer terms; over all that hold any, where those are too few."""
        asked, limit = asked_terms(terms), bounded(limit)
        if not asked or not limit or finds_nothing(filters):
            return []
        tokens = sorted({token(one) for one in asked})
        where, values = sql.condition(filters)
        query = (
            "SELECT id, -(weights <#> %s::sparsevec) AS score FROM entries WHERE words @@ %s::tsquery "  # noqa: S608 - see above
            f"{where} ORDER BY score DESC, id LIMIT %s"
        ).encode()
        with self._reader() as connection:
            rows = connection.execute("SELECT term, entries FROM frequencies WHERE term = ANY(%s)", (tokens,))
            holding = {str(term): int(n) for term, n in rows}
            weights = sql.query_weights(asked, holding, self._meta(connection, "entries"))
            few = sql.telling(asked, holding, _CANDIDATES * limit)
            everything = sql.telling(asked, holding, 2**63)
            for lexemes in (few, everything) if len(few) < len(everything) else (everything,):
                if not lexemes:
                    return []
                found = connection.execute(query, [weights, " | ".join(lexemes), *values, limit]).fetchall()
                if len(found) >= limit or (filters_nothing(filters) and lexemes is everything):
                    break
        return _ranked(found)

    def state(self) -> IndexState:
        """What is committed."""
        with self._reader() as connection, connection.transaction():
            row = connection.execute("SELECT count(*), count(vector) FROM entries").fetchone() or (0, 0)
            size = connection.execute("SELECT pg_total_relation_size('entries')").fetchone() or (0,)
            applied = self._meta(connection, "applied")
        facts = {
            "kind": "postgresql", "address": self._shown, "schema": self._schema, "disk_bytes": str(int(size[0]))
        }  # fmt: skip
        return IndexState(int(row[0]), int(row[1]), applied, facts)

    def close(self) -> None:
        """Give back the connections; what was not committed is forgotten."""
        with self._write:
            self._drop_writer()
        with self._readers_lock:
            for one in self._readers:
                one.close()
            self._readers.clear()


def schema_name(name: str, space: VectorSpace | None) -> str:
    """The schema of an index: its name, and a mark of its space.

    Raises:
        UsageError: the name is empty or too long.
    """
    if not name or len(name.encode()) > _LONGEST_NAME or "\0" in name:
        message = text("the name of an index has between 1 and {most} bytes", most=_LONGEST_NAME)
        raise UsageError(message)
    return f"{name}-{space_mark(space)}"


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _lock_number(schema: str, what: str) -> int:
    return zlib.crc32(f"ansambl {what} {schema}".encode())


def _without_password(psycopg: Any, address: str) -> str:
    try:
        parts = psycopg.conninfo.conninfo_to_dict(address)
    except psycopg.Error as error:
        # Its words may repeat the address, and with it a password.
        message = text("the address of the PostgreSQL server cannot be read; it looks like {example}",
                       example="postgresql://user@host:5432/database")  # fmt: skip
        raise UsageError(message) from error
    place = f"{parts.get('host') or 'localhost'}:{parts.get('port') or 5432}"
    return f"{place}/{parts.get('dbname') or ''}"


def _ranked(rows: Sequence[Sequence[Any]]) -> list[Ranked]:
    ranked = [Ranked(int(one), float(score)) for one, score in rows]
    return sorted(ranked, key=lambda one: (-one.score, one.id))
