"""SQLite: migrations that happen whole or not at all, transactions, order of deferred writes."""

import asyncio
import sqlite3
import threading
import time

import pytest

from ansambl.foundation.sqlite import Database, Migration, NewerDatabaseError, load_migrations

FIRST = Migration(1, "one", "CREATE TABLE one (id INTEGER PRIMARY KEY, word TEXT) STRICT;")
SECOND = Migration(2, "two", "ALTER TABLE one ADD COLUMN more TEXT; -- a comment without an end")
BROKEN = Migration(2, "two", "CREATE TABLE two (id INTEGER); INSERT INTO one (word) VALUES ('half'); NONSENSE;")


def schema(path):
    connection = sqlite3.connect(path)
    try:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master ORDER BY name")]
        return connection.execute("PRAGMA user_version").fetchone()[0], names
    finally:
        connection.close()


@pytest.fixture
def database(tmp_path):
    found = Database(tmp_path / "a.db", [FIRST])
    yield found
    found.close()


def add(word):
    return lambda connection: connection.execute("INSERT INTO one (word) VALUES (?)", (word,))


def words(database):
    return [row["word"] for row in database.read("SELECT word FROM one ORDER BY id")]


def test_a_fresh_database_is_private_and_of_the_newest_schema(tmp_path):
    Database(tmp_path / "a.db", [FIRST, SECOND], backups=tmp_path / "backups").close()
    assert schema(tmp_path / "a.db") == (2, ["one"])
    assert (tmp_path / "a.db").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "backups").exists(), "there was nothing to save"


def test_an_upgrade_keeps_the_data_and_a_private_copy_of_before(tmp_path):
    old = Database(tmp_path / "a.db", [FIRST])
    old.transaction(add("kept"))
    old.close()
    new = Database(tmp_path / "a.db", [FIRST, SECOND], backups=tmp_path / "backups")
    assert [tuple(row) for row in new.read("SELECT word, more FROM one")] == [("kept", None)]
    new.close()
    (copy,) = (tmp_path / "backups").iterdir()
    assert "schema1" in copy.name
    assert copy.stat().st_mode & 0o777 == 0o600
    assert schema(copy) == (1, ["one"])
    Database(tmp_path / "a.db", [FIRST, SECOND], backups=tmp_path / "backups").close()
    assert len(list((tmp_path / "backups").iterdir())) == 1, "no second copy without a migration"


def test_a_migration_that_fails_leaves_the_old_schema_and_data(tmp_path):
    old = Database(tmp_path / "a.db", [FIRST])
    old.transaction(add("kept"))
    old.close()
    with pytest.raises(sqlite3.OperationalError):
        Database(tmp_path / "a.db", [FIRST, BROKEN])
    assert schema(tmp_path / "a.db") == (1, ["one"])
    again = Database(tmp_path / "a.db", [FIRST, SECOND])
    assert words(again) == ["kept"]
    again.close()


def test_a_newer_database_is_refused_untouched(tmp_path):
    Database(tmp_path / "a.db", [FIRST, SECOND]).close()
    with pytest.raises(NewerDatabaseError) as raised:
        Database(tmp_path / "a.db", [FIRST])
    assert (raised.value.found, raised.value.known) == (2, 1)
    assert schema(tmp_path / "a.db")[0] == 2


def test_what_is_no_database_is_refused(tmp_path):
    (tmp_path / "a.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(sqlite3.DatabaseError):
        Database(tmp_path / "a.db", [FIRST])


@pytest.mark.parametrize("names", [["0001_a.sql", "0003_b.sql"], ["0001_a.sql", "1_b.sql"], ["0002_a.sql"]])
def test_migrations_with_gaps_or_doubles_are_refused(tmp_path, names):
    for name in names:
        (tmp_path / name).write_text("SELECT 1;")
    with pytest.raises(ValueError, match="not numbered"):
        load_migrations(tmp_path)


def test_migrations_are_read_in_order(tmp_path):
    for number in (2, 10, 1, *range(3, 10)):
        (tmp_path / f"{number:04}_step.sql").write_text(f"CREATE TABLE t{number} (id);")
    assert [one.number for one in load_migrations(tmp_path)] == list(range(1, 11))


def test_a_transaction_is_kept_whole_or_not_at_all(database):
    def half(connection):
        add("lost")(connection)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        database.transaction(half)
    assert words(database) == []
    assert database.transaction(lambda connection: add("kept")(connection).lastrowid) == 1
    assert words(database) == ["kept"]


def test_a_failure_at_the_commit_itself_leaves_the_database_usable(database):
    database.transaction(
        lambda connection: connection.execute(
            "CREATE TABLE part (one INTEGER REFERENCES one (id) DEFERRABLE INITIALLY DEFERRED) STRICT"
        )
    )
    with pytest.raises(sqlite3.IntegrityError):
        database.transaction(lambda connection: connection.execute("INSERT INTO part VALUES (77)"))
    database.transaction(add("after"))
    assert words(database) == ["after"]
    assert database.read("SELECT * FROM part") == []


def test_deferred_writes_keep_their_order_and_close_waits_for_them(tmp_path):
    database = Database(tmp_path / "a.db", [FIRST])
    gate = threading.Event()

    def slow(connection):
        assert gate.wait(10)
        add("first")(connection)

    database.submit(slow)
    for number in range(50):
        database.submit(add(str(number)))
    threading.Timer(0.05, gate.set).start()
    database.close()
    again = Database(tmp_path / "a.db", [FIRST])
    assert words(again) == ["first", *map(str, range(50))]
    again.close()


def test_a_deferred_write_that_fails_is_logged_and_stops_nothing(database, monkeypatch):
    seen = []
    monkeypatch.setattr("ansambl.foundation.sqlite.log.error", lambda event, **fields: seen.append((event, fields)))
    database.submit(lambda connection: connection.execute("INSERT INTO nowhere VALUES (1)"))
    database.submit(add("after"))
    database.close()
    assert seen[0][0] == "submitted_write_failed"
    assert "nowhere" in seen[0][1]["reason"]


def test_closing_twice_is_nothing(database):
    database.close()
    database.close()


async def test_reading_and_writing_at_once(database):
    def count(connection):
        add("x")(connection)
        return connection.execute("SELECT count(*) FROM one").fetchone()[0]

    async def read():
        return (await asyncio.to_thread(database.read, "SELECT count(*) FROM one"))[0][0]

    found = await asyncio.gather(*(database.run(count) for _ in range(50)), *(read() for _ in range(50)))
    assert found[:50] == list(range(1, 51))
    assert all(0 <= one <= 50 for one in found[50:])


async def test_a_copy_is_consistent_while_writing_goes_on(database, tmp_path):
    for _ in range(20):
        database.submit(add("x"))
    copy = await asyncio.to_thread(database.backup, tmp_path / "deep" / "copy.db")
    saved = sqlite3.connect(copy)
    assert saved.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    saved.close()


def test_a_writer_of_another_process_is_waited_for(database, tmp_path):
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(0.1, other.execute, ("COMMIT",)).start()
    began = time.monotonic()
    database.transaction(add("waited"))
    assert time.monotonic() - began < 5
    assert words(database) == ["waited"]
    other.close()
