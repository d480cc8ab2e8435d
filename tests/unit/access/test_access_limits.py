"""Limits keep their promise whatever the times of the requests: never more than N in any window, room again in time."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansambl.access.limits import SLOTS, Account, HeaderStyle, LimitReachedError, Window, duration
from ansambl.access.rates import Rate

RATES = st.builds(Rate, st.sampled_from([1, 60, 3600]), st.integers(1, 6))
# Steps around the edges of slots and windows, and anything between.
STEPS = st.lists(
    st.one_of(st.floats(0, 2), st.sampled_from([0.0, 1e-6, 1 / SLOTS, 1 - 1e-6, 1.0, 1 + 1e-6, 1 + 1 / SLOTS])),
    max_size=40,
)  # fmt: skip
START = 1_790_000_000.123


def times_of(rate, steps):
    found, now = [], START
    for step in steps:
        now += step * rate.period
        found.append(now)
    return found


def most_within(times, period):
    """The most of `times` that lie within any half-open window of this length, counted one by one."""
    return max((sum(1 for other in times if one - period < other <= one) for one in times), default=0)


@given(RATES, STEPS)
@settings(max_examples=150, deadline=None)
def test_no_window_ever_holds_more_than_the_limit(rate, steps):
    window, taken = Window(rate), []
    for now in times_of(rate, steps):
        if window.room(now):
            window.add(1, now)
            taken.append(now)
    # A microsecond is the grain of the count.
    assert most_within(taken, rate.period - 1e-5) <= rate.amount


@given(RATES, STEPS)
@settings(max_examples=100, deadline=None)
def test_room_comes_back_at_the_latest_a_slot_after_the_window(rate, steps):
    window, taken = Window(rate), []
    late = rate.period * (1 + 2 / SLOTS)
    for now in times_of(rate, steps):
        if sum(1 for one in taken if now - one < late) < rate.amount:
            assert window.room(now), "what lies that far back counts no more"
        if window.room(now):
            window.add(1, now)
            taken.append(now)


@given(RATES, STEPS)
@settings(max_examples=100, deadline=None)
def test_when_there_is_room_again_is_told_truly(rate, steps):
    window = Window(rate)
    for now in times_of(rate, steps):
        if window.room(now):
            window.add(1, now)
        free = window.free_at(now)
        assert free == now if window.room(now) else now < free <= now + rate.period * (1 + 2 / SLOTS)
    end = START + sum(steps) * rate.period
    free = window.free_at(end)
    assert window.room(free + 1e-5)


@given(RATES, STEPS, st.integers(0, 30))
@settings(max_examples=100, deadline=None)
def test_a_restart_forgets_nothing(rate, steps, at):
    times = times_of(rate, steps)
    kept, restarted, taken = Window(rate), Window(rate), []
    for number, now in enumerate(times):
        if number == at:
            rows = restarted.rows()
            restarted = Window(rate)
            restarted.restore(reversed(rows), now)
        assert kept.room(now) == restarted.room(now)
        if kept.room(now):
            kept.add(1, now)
            restarted.add(1, now)
            taken.append(now)


@given(RATES, st.floats(0, 3), st.floats(1, 1e6))
@settings(max_examples=50, deadline=None)
def test_a_clock_that_is_put_back_gives_nothing_away_and_locks_nobody_out(rate, step, back):
    window = Window(rate)
    window.add(rate.amount, START)
    earlier = START + step - back
    assert window.room(earlier) == 0 or window.room(START) > 0
    # On the clock as it is now all of it is back after one window and a slot.
    assert window.room(earlier + rate.period * (1 + 2 / SLOTS)) == rate.amount


def test_a_window_takes_little_memory_however_many_requests_come():
    window = Window(Rate(86_400, 10**9))
    for number in range(5000):
        window.add(1, START + number * 60)
    assert len(window.rows()) <= SLOTS + 2


def test_requests_are_refused_before_they_are_answered_and_tokens_after():
    account = Account([Rate(60, 2)], [Rate(86_400, 100)])
    account.take(START)
    account.spend(90, START)
    account.take(START)
    # Its answer goes over what is left; nothing can be done about that, but the next request is refused.
    account.spend(90, START)
    with pytest.raises(LimitReachedError) as raised:
        account.take(START + 61.3)
    error = raised.value
    assert (error.status, error.code) == (429, "rate_limit_exceeded")
    assert "100/day" in str(error)
    assert 86_300 - 61 <= error.retry_after <= 86_400 * 1.05


def test_of_two_limits_that_are_reached_the_one_is_told_about_that_takes_longer():
    account = Account([Rate(60, 1)], [Rate(86_400, 100)])
    account.take(START)
    account.spend(100, START)
    with pytest.raises(LimitReachedError) as raised:
        account.take(START + 1)
    assert "100/day tokens" in str(raised.value)
    assert raised.value.retry_after > 86_000
    other = Account([Rate(86_400, 1)], [Rate(60, 100)])
    other.take(START)
    other.spend(100, START)
    with pytest.raises(LimitReachedError) as raised:
        other.take(START + 1)
    assert "1/day requests" in str(raised.value)


def test_a_refused_request_counts_for_nothing():
    account = Account([Rate(60, 1), Rate(86_400, 100)], [])
    account.take(START)
    for _ in range(50):
        with pytest.raises(LimitReachedError):
            account.take(START + 1)
    assert [amount for _, period, _, amount in account.rows() if period == 86_400] == [1]


def test_headers_tell_the_tightest_limit_in_the_names_of_each_dialect():
    account = Account([Rate(60, 10), Rate(86_400, 12)], [Rate(3600, 1000)])
    for _ in range(8):
        account.take(START)
    account.spend(1100, START)
    found = account.allowances(START)
    openai = dict(found.headers(HeaderStyle.OPENAI))
    assert openai[b"x-ratelimit-limit-requests"] == b"10"
    assert openai[b"x-ratelimit-remaining-requests"] == b"2"
    assert openai[b"x-ratelimit-remaining-tokens"] == b"0"
    assert openai[b"x-ratelimit-reset-requests"].startswith(b"1m")
    assert openai[b"x-ratelimit-reset-tokens"].startswith(b"1h")
    anthropic = dict(found.headers(HeaderStyle.ANTHROPIC))
    assert anthropic[b"anthropic-ratelimit-requests-limit"] == b"10"
    assert anthropic[b"anthropic-ratelimit-tokens-remaining"] == b"0"
    assert anthropic[b"anthropic-ratelimit-tokens-reset"].startswith(b"2026-09-21T")
    assert anthropic[b"anthropic-ratelimit-tokens-reset"].endswith(b"Z")
    assert Account([], []).allowances(START).headers(HeaderStyle.OPENAI) == []


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0, "0s"), (0.12, "120ms"), (1, "1s"), (59.2, "1m0s"), (360, "6m0s"), (3723, "1h2m3s"), (86_400, "24h0m0s")],
)
def test_times_until_a_reset_are_written_as_openai_does(seconds, written):
    assert duration(seconds) == written
    assert math.isfinite(seconds)
