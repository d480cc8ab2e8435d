"""The table of figures with what was promised."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from support.comparison import Compared, Figure, Promise, comparison, holds
from support.figures import spread

TWO, FOUR, HUNDRED = (spread([value]) for value in (2.0, 4.0, 100.0))


def test_a_promise_about_the_figure_itself():
    assert holds(Figure("a", "s", TWO), Promise(2.0)) is True
    assert holds(Figure("a", "s", FOUR), Promise(2.0)) is False


def test_a_promise_about_how_often_it_holds_the_reference():
    assert holds(Figure("a", "s", FOUR, reference=TWO), Promise(2.0, Compared.TIMES_REFERENCE)) is True
    assert holds(Figure("a", "s", HUNDRED, reference=TWO), Promise(2.0, Compared.TIMES_REFERENCE)) is False
    assert holds(Figure("a", "s", FOUR), Promise(2.0, Compared.TIMES_REFERENCE)) is None


def test_a_promise_about_how_often_another_holds_it():
    assert holds(Figure("a", "s", TWO, other=HUNDRED), Promise(50, Compared.TIMES_LESS)) is True
    assert holds(Figure("a", "s", FOUR, other=HUNDRED), Promise(50, Compared.TIMES_LESS)) is False
    assert holds(Figure("a", "s", FOUR), Promise(50, Compared.TIMES_LESS)) is None


def test_the_table_says_what_is_met_and_what_was_not_measured():
    rows = [
        Figure("chunk", "µs", FOUR, TWO, HUNDRED, (Promise(2, Compared.TIMES_REFERENCE), Promise(3.5))),
        Figure("start", "s", TWO, promises=(Promise(50, Compared.TIMES_LESS),)),
        Figure("memory", "MiB", TWO),
    ]
    lines = comparison(rows, "Ansambl", "nginx", "LiteLLM").splitlines()
    assert len({len(line) for line in lines}) == 1
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert cells == [
        ["chunk", "µs", "4.00", "2.00", "2.00", "100", "25", "at most 2 x nginx; at most 3.5 µs", "met; NOT met"],
        ["start", "s", "2.00", "-", "-", "-", "-", "50 x less than LiteLLM", "not measured"],
        ["memory", "MiB", "2.00", "-", "-", "-", "-", "-", "-"],
    ]
