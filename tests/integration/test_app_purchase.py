"""The question "what should I buy?": how a budget is read."""

import pytest

from ansambl.app.purchase import read_budget
from ansambl.domain.errors import UsageError


@pytest.mark.parametrize(
    ("words", "amount"),
    [("3000", 3000.0), ("$3,000", 3000.0), (" 3000 usd ", 3000.0), ("1_500.50", 1500.5), ("0", 0.0), ("-5", -5.0)],
)
def test_a_budget_is_read_as_people_write_it(words, amount):
    assert read_budget(words) == amount


def test_no_budget_is_no_limit():
    assert read_budget(None) is None


@pytest.mark.parametrize("words", ["", "much", "nan", "inf", "1e999", "3000 EUR", "3k", "9" * 5000])
def test_what_is_no_amount_is_refused_in_one_line(words):
    with pytest.raises(UsageError, match="is not an amount of US dollars") as error:
        read_budget(words)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 150
