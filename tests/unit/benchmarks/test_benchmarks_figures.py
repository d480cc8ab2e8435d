"""The statistics and the table of the benchmarks."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from support import figures
from support.figures import Row, Spread


def test_percentile_takes_the_nearest_rank():
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert [figures.percentile(values, share) for share in (0.0, 0.2, 0.5, 0.9, 1.0)] == [1.0, 1.0, 3.0, 5.0, 5.0]
    with pytest.raises(ValueError, match="nothing"):
        figures.percentile([], 0.5)


def test_a_spread_shows_its_range_only_when_it_has_one():
    assert str(figures.spread([0.12, 0.1, 0.2])) == "0.120 (0.100-0.200)"
    assert str(figures.spread([21.04, 21.01])) == "21.0"


def test_the_table_says_what_is_absent_and_divides_medians():
    rows = [
        Row("chunk", "CPU µs", Spread(20.0, 19.0, 21.0), Spread(10.0, 9.0, 11.0)),
        Row("memory", "MiB", Spread(70.0, 70.0, 70.0)),
    ]
    lines = figures.table(rows, "Ansambl", "nginx").splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [cell.strip() for cell in lines[2].strip("|").split("|")] == [
        "chunk", "CPU µs", "20.0 (19.0-21.0)", "10.0 (9.0-11.0)", "2.0",
    ]  # fmt: skip
    assert [cell.strip() for cell in lines[3].strip("|").split("|")][3:] == ["absent", "-"]
