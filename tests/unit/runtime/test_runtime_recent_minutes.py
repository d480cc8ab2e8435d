"""The minutes of the last day: what is added is found again, in order, and there are never too many."""

from __future__ import annotations

from hand_clock import HandClock

from ansambl.runtime.recent_minutes import RecentMinutes
from ansambl.runtime.usage import Usage, UsageBook

MINUTE = 60
START = 30_000_000 * MINUTE


def minutes(kept: RecentMinutes[Usage], since: int = 0) -> list[tuple[int, tuple[str, str], int]]:
    return [(minute, pair, sums.requests) for minute, pair, sums in kept.since(since)]


def test_a_minute_is_added_up_and_found_in_order() -> None:
    kept: RecentMinutes[Usage] = RecentMinutes()
    for minute, name in ((7, "a"), (5, "a"), (7, "b"), (7, "a")):
        kept.add(minute, ("m", name), Usage(requests=1))
    assert minutes(kept) == [(5, ("m", "a"), 1), (7, ("m", "a"), 2), (7, ("m", "b"), 1)]
    assert minutes(kept, since=6) == [(7, ("m", "a"), 2), (7, ("m", "b"), 1)]
    assert kept.complete_since == 0


def test_old_minutes_go_and_it_is_known_from_when_on_it_is_complete() -> None:
    kept: RecentMinutes[Usage] = RecentMinutes(kept=10)
    for minute in (1, 5, 14, 15):
        kept.add(minute, ("m", ""), Usage(requests=1))
    assert [one[0] for one in minutes(kept)] == [14, 15]
    assert kept.complete_since == 6


def test_where_there_are_too_many_rows_the_oldest_minutes_go() -> None:
    kept: RecentMinutes[Usage] = RecentMinutes(rows=6)
    for minute in range(4):
        for name in "abc":
            kept.add(minute, ("m", name), Usage(requests=1))
    assert sorted({one[0] for one in minutes(kept)}) == [2, 3]
    assert kept.complete_since == 2


def test_the_book_tells_its_minutes_before_and_after_it_wrote_them() -> None:
    clock = HandClock(START)
    book = UsageBook(None, clock)

    def told(newest: int = 60) -> dict[tuple[int, str, str], int]:
        found: dict[tuple[int, str, str], int] = {}
        for row in book.minutes(newest):
            place = (row.minute - START // MINUTE, *row.pair)
            found[place] = found.get(place, 0) + row.usage.requests
        return found

    book.of("m", "coder").requests += 1
    assert told() == {(0, "m", "coder"): 1}
    book.write()
    book.of("m", "coder").requests += 1
    assert told() == {(0, "m", "coder"): 2}
    clock.time += 2 * MINUTE
    book.of("m", "brief").requests += 1
    book.of_key("k1", "m").output_tokens += 7
    book.write()
    assert told() == {(0, "m", "coder"): 2, (2, "m", "brief"): 1}
    assert told(newest=2) == {(2, "m", "brief"): 1}
    assert [(one.pair, one.usage.output_tokens) for one in book.key_minutes(1)] == [(("k1", "m"), 7)]
    assert book.totals()["m"].requests == 3
    assert book.counted_since == START


def test_what_no_instance_answered_counts_by_minute_and_not_for_a_model() -> None:
    book = UsageBook(None, HandClock(START))
    book.of("", "coder").failed += 1
    assert book.totals() == {}
    book.write()
    assert book.totals() == {}
    assert [(one.pair, one.usage.failed) for one in book.minutes(1)] == [(("", "coder"), 1)]
