"""Figures against values that others published or that follow from first principles."""

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansambl.evaluation.statistics import difference_of, holm, share_of, sign_flip_p, tasks_needed, wilson


def pairs(both=0, first=0, second=0, neither=0):
    counts = ((both, True, True), (first, True, False), (second, False, True), (neither, False, False))
    return [([one], [other]) for count, one, other in counts for _ in range(count)]


def test_wilsons_interval_is_that_of_newcombe_1998():
    # Newcombe (1998), table I, method 3: 81 of 263, and 0 of 20.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


def test_repeats_of_a_task_do_not_make_the_interval_of_more_tasks():
    once = share_of([[True], [False]] * 10)
    same = share_of([[True] * 5, [False] * 5] * 10)
    varied = share_of([[True, False, True, False]] * 20)
    assert (same.value, same.tasks) == (0.5, 20)
    assert same.high - same.low == pytest.approx(once.high - once.low, abs=0.02)
    assert varied.tasks == 20
    assert share_of([]).value is None
    # Answers that differ within tasks as much as chance does count for more than tasks, never for more than answers.
    mixed = share_of([[True, False], [True, True], [False, False], [False, True]] * 10)
    assert wilson(40, 80)[0] >= mixed.low >= wilson(20, 40)[0]


def test_the_exact_test_is_mcnemars():
    # 1 against 8 discordant pairs: 2 * (C(9,0) + C(9,1)) / 2^9.
    found = difference_of(pairs(both=20, first=8, second=1), detect=0.05)
    assert found.p == pytest.approx(2 * (comb(9, 0) + comb(9, 1)) / 2**9)
    assert found.value == pytest.approx(7 / 29)


def test_the_interval_is_bonett_and_prices():
    # By hand: (8 + 1, 1 + 1) of 29 + 2.
    found = difference_of(pairs(both=20, first=8, second=1), detect=0.05)
    p12, p21 = 9 / 31, 2 / 31
    half = 1.959964 * ((p12 + p21 - (p12 - p21) ** 2) / 31) ** 0.5
    assert (found.low, found.high) == pytest.approx((p12 - p21 - half, p12 - p21 + half))


def test_no_discordant_task_is_no_certainty():
    found = difference_of(pairs(both=10, neither=10), detect=0.05)
    assert (found.value, found.p) == (0, 1)
    assert found.low < -0.05
    assert found.high > 0.05


def test_repeats_are_clustered_by_task():
    once = difference_of([([True], [False])] * 4, detect=0.05)
    repeated = difference_of([([True] * 50, [False] * 50)] * 4, detect=0.05)
    assert (once.p, once.low, once.high) == pytest.approx((repeated.p, repeated.low, repeated.high))
    assert once.p == pytest.approx(2 / 2**4)


ANSWERS = st.lists(st.booleans(), min_size=1, max_size=3)


@given(st.lists(st.tuples(ANSWERS, ANSWERS), min_size=1, max_size=20))
def test_a_difference_turned_around_has_the_other_sign(tasks):
    one = difference_of(tasks, detect=0.05)
    other = difference_of([(second, first) for first, second in tasks], detect=0.05)
    assert one.value == pytest.approx(-other.value)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    assert one.p == pytest.approx(other.p)
    assert 0 < one.p <= 1
    assert -1 <= one.low <= one.high <= 1


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=8))
def test_the_sign_flip_test_counts_all_signs(values):
    sums = [0]
    for value in values:
        sums = [one + sign * value for one in sums for sign in (1, -1)]
    expected = sum(abs(one) >= abs(sum(values)) for one in sums) / len(sums)
    assert sign_flip_p([Fraction(one, 2) for one in values]) == pytest.approx(expected)


def test_many_large_steps_use_the_normal_approximation():
    values = [Fraction(one, 997) for one in range(-700, 997)]
    assert 0 < sign_flip_p(values) < 1e-6


def test_the_number_of_tasks_that_is_needed():
    # Connor (1987): with 30 % discordant, a difference of 10 points needs 234 pairs at 5 % and a power of 80 %.
    assert tasks_needed(0.3, 0.1) == pytest.approx(234, abs=2)
    assert tasks_needed(0.3, 0.05) > 3 * tasks_needed(0.3, 0.1)


def test_holm():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
