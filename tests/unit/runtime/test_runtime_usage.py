"""Usage by day: what is added is found again, across midnights and batches, and old days go."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest
from hand_clock import HandClock

import ansambl.app
from ansambl.foundation.clock import VirtualClock
from ansambl.foundation.sqlite import Database, load_migrations
from ansambl.runtime.usage import KEPT_DAYS, MOST_NAMES, WRITE_EVERY, UsageBook, read_key_usage, read_usage

MIGRATIONS = load_migrations(Path(ansambl.app.__file__).parent / "migrations")
DAY = 86_400
NOON = 20_000 * DAY + DAY / 2


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "a.db", MIGRATIONS)
    yield made
    made.close()


def test_what_is_added_is_found_again_by_day_model_and_name(database: Database) -> None:
    clock = HandClock(NOON)
    book = UsageBook(database, clock)
    for tokens in (10, 20):
        one = book.of("m", "coder")
        one.requests += 1
        one.prompt_tokens += tokens
        one.queued_seconds += 0.5
    book.write()
    book.of("m", "coder").requests += 1
    clock.time += DAY
    book.of("m", "coder").requests += 5
    book.of("m").swaps += 2
    book.write()
    database.close()
    rows = read_usage(database.path, since=date(1970, 1, 1))
    assert [(str(one.day), one.name, one.usage.requests) for one in rows] == [
        ("2024-10-05", "", 0),
        ("2024-10-05", "coder", 5),
        ("2024-10-04", "coder", 3),
    ]
    assert (rows[2].usage.prompt_tokens, rows[2].usage.queued_seconds, rows[0].usage.swaps) == (30, 1.0, 2)
    assert len(read_usage(database.path, since=date(2024, 10, 5))) == 2


def test_it_is_written_by_and_by_and_totals_go_on(database: Database) -> None:
    clock = HandClock(NOON)
    book = UsageBook(database, clock)
    book.of("m", "a").output_tokens += 7
    clock.time += WRITE_EVERY
    book.of("m", "b").output_tokens += 1
    book.of("n").output_tokens += 2
    assert {model: one.output_tokens for model, one in book.totals().items()} == {"m": 8, "n": 2}
    database.close()
    assert [one.usage.output_tokens for one in read_usage(database.path, since=date(1970, 1, 1))] == [7]


def test_days_that_are_too_old_go(database: Database) -> None:
    clock = HandClock(NOON)
    book = UsageBook(database, clock)
    book.of("m").requests += 1
    book.write()
    clock.time += (KEPT_DAYS + 1) * DAY
    book.of("m").requests += 1
    book.write()
    database.close()
    assert len(read_usage(database.path, since=date(1970, 1, 1))) == 1


def test_names_are_bounded_between_two_writes() -> None:
    book = UsageBook(None, HandClock(NOON))
    for number in range(MOST_NAMES + 10):
        book.of("m", f"name{number}").requests += 1
    assert book.totals()["m"].requests == MOST_NAMES + 10
    assert len(book._open) <= MOST_NAMES


def test_there_is_nothing_where_there_is_no_database(tmp_path: Path) -> None:
    assert read_usage(tmp_path / "none.db", since=date(2024, 1, 1)) == ()
    (tmp_path / "broken.db").write_bytes(b"no database" * 100)
    assert read_usage(tmp_path / "broken.db", since=date(2024, 1, 1)) == ()


def test_saved_and_restored_conversations_are_taken_from_where_they_are_counted(database: Database) -> None:
    counts = {"m": (2, 0)}
    book = UsageBook(database, HandClock(NOON))
    book.watch(lambda: counts)
    book.write()
    counts["m"] = (3, 4)
    book.write()
    book.write()
    database.close()
    (row,) = read_usage(database.path, since=date(1970, 1, 1))
    assert (row.model, row.name, row.usage.saved, row.usage.restored) == ("m", "", 3, 4)


async def test_what_was_asked_is_written_although_nobody_asks_again(database: Database) -> None:
    clock = VirtualClock()
    book = UsageBook(database, clock)
    writing = asyncio.create_task(book.keep_writing())
    for _ in range(2):
        book.of("m", "coder").requests += 1
        await clock.advance(WRITE_EVERY + 1)
    writing.cancel()
    database.close()
    assert [one.usage.requests for one in read_usage(database.path, since=date(1970, 1, 1))] == [2]


def test_what_was_asked_with_each_key_is_found_again(database: Database) -> None:
    clock = HandClock(NOON)
    book = UsageBook(database, clock)
    for key, tokens in (("k1", 10), ("k1", 20), ("local", 5)):
        one = book.of_key(key, "m")
        one.requests += 1
        one.output_tokens += tokens
    # Nothing else was counted: keys alone are reason enough to write.
    book.write()
    book.of_key("k1", "m").failed += 1
    clock.time += DAY
    book.of_key("k1", "n").prompt_tokens += 3
    book.write()
    database.close()
    rows = read_key_usage(database.path, since=date(1970, 1, 1))
    assert [(str(one.day), one.key, one.model) for one in rows] == [
        ("2024-10-05", "k1", "n"), ("2024-10-04", "k1", "m"), ("2024-10-04", "local", "m")
    ]  # fmt: skip
    assert (rows[1].usage.requests, rows[1].usage.failed, rows[1].usage.output_tokens) == (2, 1, 30)
    assert len(read_key_usage(database.path, since=date(2024, 10, 5))) == 1
    assert read_key_usage(database.path.with_name("none.db"), since=date(1970, 1, 1)) == ()


def minutes_of(book: UsageBook, newest: int = 1440) -> list[tuple[float, str, str, int]]:
    found: dict[tuple[float, str, str], int] = {}
    for row in book.minutes(newest):
        place = (row.minute - NOON / 60, *row.pair)
        found[place] = found.get(place, 0) + row.usage.requests
    return [(*place, requests) for place, requests in sorted(found.items())]


def test_minutes_outlive_a_restart_and_nothing_is_counted_twice(tmp_path: Path) -> None:
    clock = HandClock(NOON)
    for start in range(3):
        database = Database(tmp_path / "a.db", MIGRATIONS)
        book = UsageBook(database, clock)
        assert book.counted_since == NOON
        for _ in range(2):
            # Two writes within a minute, and a restart within it, too.
            one = book.of("m", "coder")
            one.requests += 1
            one.queued_seconds += 0.5
            book.of("", "unresolved").failed += 1
            used = book.of_key("k1", "m")
            used.requests += 1
            used.first_token_seconds += 0.25
            used.first_tokens += 1
            used.swaps += 1
            book.write()
        assert minutes_of(book)[-1] == (0.0, "m", "coder", 2 * (start + 1))
        database.close()
    clock.time += 60
    database = Database(tmp_path / "a.db", MIGRATIONS)
    book = UsageBook(database, clock)
    assert minutes_of(book) == [(0.0, "", "unresolved", 0), (0.0, "m", "coder", 6)]
    assert sum(one.usage.queued_seconds for one in book.minutes(60)) == 3.0
    (key,) = book.key_minutes(60)
    assert (key.pair, key.usage.requests, key.usage.first_token_seconds, key.usage.swaps) == (("k1", "m"), 6, 1.5, 6)
    # The day has the same sums, and no more of them.
    database.close()
    (day,) = read_usage(database.path, since=date(1970, 1, 1))
    (of_key,) = read_key_usage(database.path, since=date(1970, 1, 1))
    assert (day.usage.requests, of_key.usage.requests, of_key.usage.first_tokens) == (6, 6, 6)
    assert book.totals() == {}


def test_minutes_in_the_database_are_a_day_and_never_too_many(tmp_path: Path) -> None:
    clock = HandClock(NOON)
    database = Database(tmp_path / "a.db", MIGRATIONS)
    book = UsageBook(database, clock)
    book._minutes._most = 20
    for minute in range(40):
        clock.time = NOON + 60 * minute
        book.of("m", "coder").requests += 1
        book.of_key("k1", "m").requests += 1
        book.write()
    rows = "SELECT min(minute), count(*) FROM "
    database.close()
    database = Database(tmp_path / "a.db", MIGRATIONS)
    assert tuple(database.read(rows + "usage_minutes")[0]) == (NOON / 60 + 20, 20)
    assert tuple(database.read(rows + "key_usage_minutes")[0]) == (NOON / 60, 40)
    clock.time += DAY
    book = UsageBook(database, clock)
    assert minutes_of(book) == []
    assert book.counted_since == clock.time
    book.of("m", "coder").requests += 1
    book.write()
    database.close()
    database = Database(tmp_path / "a.db", MIGRATIONS)
    assert database.read(rows + "usage_minutes")[0][1] == 1
    assert database.read(rows + "key_usage_minutes")[0][1] == 0
    database.close()


def test_minutes_that_are_yet_to_come_are_not_told(tmp_path: Path) -> None:
    """The clock was set back."""
    clock = HandClock(NOON)
    for moved in (0.0, -3600.0):
        clock.time = NOON + moved
        database = Database(tmp_path / "a.db", MIGRATIONS)
        book = UsageBook(database, clock)
        assert minutes_of(book) == []
        book.of("m").requests += 1
        book.write()
        database.close()


@pytest.mark.parametrize("table", ["usage_minutes", "key_usage_minutes"])
def test_damaged_minutes_are_no_reason_not_to_start(tmp_path: Path, table: str) -> None:
    path, clock = tmp_path / "a.db", HandClock(NOON)
    database = Database(path, MIGRATIONS)
    book = UsageBook(database, clock)
    book.of("m", "coder").requests += 1
    book.of_key("k", "m").requests += 1
    book.write()
    database.close()
    with closing(sqlite3.connect(path)) as opened:
        opened.execute("PRAGMA journal_mode = DELETE")
        size = opened.execute("PRAGMA page_size").fetchone()[0]
        page = opened.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", [table]).fetchone()[0]
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    database = Database(path, MIGRATIONS)
    try:
        again = UsageBook(database, clock)
        again.of("m", "coder").requests += 1
        assert again.totals()["m"].requests == 1
        again.write()
    finally:
        database.close()
    assert [one.usage.requests for one in read_usage(path, since=date(1970, 1, 1))] == [2]


def test_usage_of_keys_is_written_before_it_takes_too_much_memory(database: Database) -> None:
    book = UsageBook(database, HandClock(NOON))
    for number in range(MOST_NAMES + 1):
        book.of_key(f"k{number}", "m").requests += 1
    database.close()
    assert len(read_key_usage(database.path, since=date(1970, 1, 1))) == MOST_NAMES
