"""Amounts by time and how long a key is good, as people write them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansambl.access.rates import Rate, parse_life, parse_rate, parse_rates
from ansambl.domain.errors import UsageError


@pytest.mark.parametrize(
    ("written", "amount", "period"),
    [
        ("60/min", 60, 60), ("60/m", 60, 60), ("60 / minute", 60, 60), ("5/s", 5, 1), ("1/sec", 1, 1),
        ("1M/day", 1_000_000, 86_400), ("1m/d", 1_000_000, 86_400), ("1.5K/hour", 1500, 3600), ("1_000/h", 1000, 3600),
        ("2G/day", 2_000_000_000, 86_400), ("1.1M/day", 1_100_000, 86_400),
    ],
)  # fmt: skip
def test_reading_amounts_by_time(written, amount, period):
    assert parse_rate(written) == Rate(period, amount)


@pytest.mark.parametrize(
    "written",
    ["", "60", "60/", "/min", "60/fortnight", "0/min", "-1/min", "1.5/min", "0.0001K/min", "nan/min", "inf/day",
     "1e3/min", "60/min/min", "60\nx/min", "9" * 40 + "/min", "1000000000000000G/day", "６０/min", "60/min" * 1000],
)  # fmt: skip
def test_what_is_no_amount_is_refused_in_one_short_line(written):
    with pytest.raises(UsageError) as raised:
        parse_rate(written)
    assert len(str(raised.value)) < 300


@given(st.builds(Rate, st.sampled_from([1, 60, 3600, 86_400]), st.integers(1, 10**15)))
@settings(max_examples=100, deadline=None)
def test_what_is_written_is_read_again(rate):
    assert parse_rate(str(rate)) == rate


def test_several_are_for_different_times():
    assert parse_rates(["1K/day", "60/min"]) == (Rate(60, 60), Rate(86_400, 1000))
    assert parse_rates([]) == ()
    with pytest.raises(UsageError, match="60/min"):
        parse_rates(["60/min", "30/minute"])


@pytest.mark.parametrize(("written", "seconds"), [("30d", 30 * 86_400), ("12h", 43_200), ("90s", 90), ("never", None)])
def test_how_long_a_key_is_good(written, seconds):
    assert parse_life(written) == seconds


@pytest.mark.parametrize("written", ["0", "0d", "-1d", "soon", "", "999999d", "1e400d"])
def test_a_life_that_is_none_is_refused(written):
    with pytest.raises(UsageError):
        parse_life(written)
