"""The last minutes as the admin API tells them: steps that hold whole minutes, and nothing that nobody asked."""

from __future__ import annotations

import pytest
from hand_clock import HandClock

from ansambl.app.admin.traffic import traffic_document
from ansambl.runtime.usage import UsageBook

# A minute that is a multiple of 60 of them.
HOUR = 500_000 * 3600


@pytest.fixture
def clock() -> HandClock:
    return HandClock(HOUR)


@pytest.fixture
def book(clock: HandClock) -> UsageBook:
    found = UsageBook(None, clock)
    for seconds, name, tokens in ((0, "coder", 5), (70, "coder", 6), (80, "coder", 1), (80, "brief", 2)):
        clock.time = HOUR + seconds
        one = found.of("m", name)
        one.requests += 1
        one.output_tokens += tokens
        one.first_tokens += 1
        one.first_token_seconds += 0.25
        found.of_key("k1", "m").requests += 1
    return found


def test_each_minute_is_a_step(book: UsageBook) -> None:
    told = traffic_document(book, 60, 1, HOUR + 130)
    assert (told.start, told.step, told.now) == (HOUR - 57 * 60, 60, HOUR + 130)
    assert told.counted_since == HOUR
    assert [(one.time - HOUR, one.model, one.name, one.requests, one.output_tokens) for one in told.traffic] == [
        (0, "m", "coder", 1, 5), (60, "m", "brief", 1, 2), (60, "m", "coder", 2, 7),
    ]  # fmt: skip
    assert told.traffic[2].first_token_seconds == 0.5
    assert [(one.time - HOUR, one.key, one.requests) for one in told.by_key] == [(0, "k1", 1), (60, "k1", 3)]


def test_minutes_are_added_up_to_whole_steps(book: UsageBook) -> None:
    told = traffic_document(book, 60, 15, HOUR + 130)
    # The first step is a whole one, so there may be some minutes more than were asked for.
    assert told.start == HOUR - 60 * 60
    assert [(one.time - HOUR, one.name, one.requests) for one in told.traffic] == [(0, "brief", 1), (0, "coder", 3)]
    assert [(one.key, one.requests) for one in told.by_key] == [("k1", 4)]


def test_what_is_older_is_not_told(book: UsageBook, clock: HandClock) -> None:
    clock.time = HOUR + 3600 + 65
    assert {one.time - HOUR for one in traffic_document(book, 62, 1, clock.time).traffic} == {0, 60}
    assert {one.time - HOUR for one in traffic_document(book, 61, 1, clock.time).traffic} == {60}
    assert traffic_document(book, 60, 1, clock.time).traffic == []


def test_conversations_that_were_saved_are_no_traffic(clock: HandClock) -> None:
    book = UsageBook(None, clock)
    book.of("m").saved += 1
    assert traffic_document(book, 60, 1, clock.time).traffic == []
