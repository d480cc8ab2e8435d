"""How far the planner's forecasts of memory and speed are from published measurements, case by case.

Cases, their settings and sources are in ``tests/data/planner/memory_cases.json``; rows that lack settings are named
there with what they lack. Printed for each measurement: the forecast with its range, the error of the expected value,
and whether the measurement lies within the range. Where llmfit, another planner, is installed beside this Python, it is
asked the same. The speeds are in ``speed_cases.json`` beside it; their factors were
fitted to these very rows, and `tools/fit_speed.py` prints what holds for sources that the fit did not see.

    python benchmarks/planner_accuracy.py
"""

from __future__ import annotations

import statistics

from rich.console import Console
from rich.table import Table

from ansambl.domain.units import GIB
from support.llmfit_cases import program, rivals
from support.memory_cases import Compared, compared
from support.speed_cases import compared_speeds

CLOSE = 0.25
"""An expected speed this near to the measured one is counted as close."""


def _write(one: Compared, value: float) -> str:
    if one.what.startswith("concurrency"):
        return f"{value:.2f}"
    if one.what.startswith("kv_tokens"):
        return f"{value:,.0f}"
    return f"{value / GIB:.3f} GiB"


def _print_speeds(console: Console) -> None:
    rows = compared_speeds()
    table = Table("case", "what", "phase", "measured", "expected", "range", "error", "within")
    for one in rows:
        row = one.measured
        if one.expected is None:
            table.add_row(row.case, row.what, row.phase, f"{row.speed:.1f}", "unknown", "", "", "")
            continue
        table.add_row(
            row.case, row.what, row.phase, f"{row.speed:.1f}", f"{one.expected:.1f}", f"{one.low:.0f} – {one.high:.0f}",
            f"{one.error:+.0%}", "yes" if one.within else "no",
        )  # fmt: skip
    console.print(table)
    for phase in ("decode", "prefill", "batch"):
        every = [one for one in rows if one.measured.phase == phase]
        known = [one for one in every if one.expected is not None]
        close = sum(abs(one.error) <= CLOSE for one in known) / len(known)
        held = sum(one.within for one in known) / len(known)
        console.print(
            f"{phase}: {len(every)} measurements, {len(every) - len(known)} of them answered as unknown; of the others "
            f"{close:.0%} within {CLOSE:.0%} of the expected value and {held:.0%} within the range"
        )


def _print_rival(console: Console) -> None:
    """The same measurements by llmfit, where it is installed."""
    binary = program()
    if binary is None:
        console.print("llmfit is not installed beside this Python, so it is not compared (pip install llmfit)")
        return
    rows = list(rivals(binary))
    table = Table("case", "model", "what", "measured", "ours", "error", "llmfit", "error")
    for one in rows:
        ours = one.ours
        known = one.figure is not None and one.error is not None
        table.add_row(
            ours.case, ours.model, ours.what, _write(ours, ours.measured), _write(ours, ours.expected),
            f"{ours.error:+.2%}", _write(ours, one.figure) if known else "no figure",
            f"{one.error:+.2%}" if known else "",
        )  # fmt: skip
    console.print(table)
    both = [(abs(one.ours.error), abs(one.error)) for one in rows if one.error is not None]
    if not both:
        console.print("llmfit gives no figure for any of these measurements")
        return
    mine, theirs = (statistics.median(column) for column in zip(*both, strict=True))
    ratio = f"{mine / theirs:.3f}" if theirs else "not defined"
    console.print(
        f"over the {len(both)} measurements of {len(rows)} that llmfit gives a figure for: median error ours "
        f"{mine:.2%}, llmfit {theirs:.2%}, ratio {ratio}; worst ours {max(one for one, _ in both):.1%}, "
        f"llmfit {max(one for _, one in both):.1%}. llmfit knows no KV pool of vLLM and no compute buffers"
    )


def main() -> None:
    """Print both tables and their figures."""
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
    for held_out, name in ((False, "cases of the facts"), (True, "cases found later, held out at first")):
        some = [one for one in rows if one.held_out is held_out]
        worst = max(some, key=lambda one: abs(one.error))
        console.print(
            f"{name}: median absolute error {statistics.median(abs(one.error) for one in some):.2%} over {len(some)} "
            f"measurements of {len({one.case for one in some})} cases; worst {abs(worst.error):.1%} "
            f"({worst.case} {worst.what})"
        )
    _print_rival(console)
    _print_speeds(console)


if __name__ == "__main__":
    main()
