"""How far the planner's memory forecasts are from published measurements, case by case.

Cases, their settings and sources are in ``tests/data/planner/memory_cases.json``; rows that lack settings are named
there with what they lack. Printed for each measurement: the forecast with its range, the error of the expected value,
and whether the measurement lies within the range.

    python benchmarks/planner_accuracy.py
"""

from __future__ import annotations

import statistics

from rich.console import Console
from rich.table import Table

from ansambl.domain.units import GIB
from support.memory_cases import Compared, compared


def _write(one: Compared, value: float) -> str:
    if one.what.startswith("concurrency"):
        return f"{value:.2f}"
    if one.what.startswith("kv_tokens"):
        return f"{value:,.0f}"
    return f"{value / GIB:.3f} GiB"


def main() -> None:
    """Print the table and the two figures."""
    table = Table("case", "model", "what", "measured", "expected", "range", "error", "within")
    rows = compared()
    for one in rows:
        within = one.low * 0.995 <= one.measured <= one.high * 1.005
        table.add_row(
            one.case, one.model, one.what, _write(one, one.measured), _write(one, one.expected),
            f"{_write(one, one.low)} – {_write(one, one.high)}", f"{one.error:+.2%}", "yes" if within else "no",
        )  # fmt: skip
    console = Console(width=150)
    console.print(table)
    errors = [abs(one.error) for one in rows]
    worst = max(rows, key=lambda one: abs(one.error))
    console.print(
        f"median absolute error {statistics.median(errors):.2%} over {len(rows)} measurements of "
        f"{len({one.case for one in rows})} cases; worst {abs(worst.error):.1%} ({worst.case} {worst.what})"
    )


if __name__ == "__main__":
    main()
