"""Usage by day: what is added is found again, across midnights and batches, and old days go."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

import ansambl.app
from ansambl.foundation.clock import VirtualClock
from ansambl.foundation.sqlite import Database, load_migrations
from ansambl.runtime.usage import KEPT_DAYS, MOST_NAMES, WRITE_EVERY, UsageBook, read_key_usage, read_usage

MIGRATIONS = load_migrations(Path(ansambl.app.__file__).parent / "migrations")
DAY = 86_400
NOON = 20_000 * DAY + DAY / 2


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = NOON

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "a.db", MIGRATIONS)
    yield made
    made.close()


def test_what_is_added_is_found_again_by_day_model_and_name(database: Database) -> None:
    clock = Hands()
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
    clock = Hands()
    book = UsageBook(database, clock)
    book.of("m", "a").output_tokens += 7
    clock.time += WRITE_EVERY
    book.of("m", "b").output_tokens += 1
    book.of("n").output_tokens += 2
    assert {model: one.output_tokens for model, one in book.totals().items()} == {"m": 8, "n": 2}
    database.close()
    assert [one.usage.output_tokens for one in read_usage(database.path, since=date(1970, 1, 1))] == [7]


def test_days_that_are_too_old_go(database: Database) -> None:
    clock = Hands()
    book = UsageBook(database, clock)
    book.of("m").requests += 1
    book.write()
    clock.time += (KEPT_DAYS + 1) * DAY
    book.of("m").requests += 1
    book.write()
    database.close()
    assert len(read_usage(database.path, since=date(1970, 1, 1))) == 1


def test_names_are_bounded_between_two_writes() -> None:
    book = UsageBook(None, Hands())
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
    book = UsageBook(database, Hands())
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
    clock = Hands()
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


def test_usage_of_keys_is_written_before_it_takes_too_much_memory(database: Database) -> None:
    book = UsageBook(database, Hands())
    for number in range(MOST_NAMES + 1):
        book.of_key(f"k{number}", "m").requests += 1
    database.close()
    assert len(read_key_usage(database.path, since=date(1970, 1, 1))) == MOST_NAMES
