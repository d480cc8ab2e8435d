"""Fit the factors of the speed forecast and write ``src/ansambl/planner/speed/factors.py``.

The measurements are those of ``tests/data/planner/speed_cases.json``. Fitted is the least pseudo-Huber loss of the
logarithm of forecast over measurement, so that one odd row does not pull; the search goes down coordinate by coordinate
and is the same on every run. The spread comes from cross-validation: all rows of some sources are left out, the rest is
fitted, and the errors on what was left out are collected.

    python tools/fit_speed.py            # write the factors
    python tools/fit_speed.py --check    # only say whether they are the fitted ones
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from ansambl.planner.speed.forecast import batch_speed, expected_rates
from ansambl.planner.speed.roofline import Factors, decode_seconds, device_class, known_rate, prefill_seconds
from ansambl.planner.speed.work import Work, work_of
from support.speed_cases import Measured, measurements

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "src" / "ansambl" / "planner" / "speed" / "factors.py"
# A little more than the nine in ten that a range promises: the rows are few.
COVERED = 0.94
# In so many parts the sources are left out. Each source alone would take three times as long and leave out less.
FOLDS = 9
FEW = 5
# Errors beyond this (a natural logarithm) weigh by their size and no longer by their square.
ODD = 0.15
# Values to start the search from.
DECODE = {
    "bandwidth gpu": 0.8, "bandwidth stacked": 0.6, "bandwidth unified": 0.8, "bandwidth ram": 0.7,
    "seconds gpu": 1e-4, "seconds amd": 1e-4, "seconds unified": 1e-4, "seconds vllm": 1e-4,
    "seconds transformers": 1e-4, "seconds ram": 1e-4,
}  # fmt: skip
PREFILL = {
    "operations gpu": 0.3, "operations apple": 0.6, "operations ram": 0.6, "operations vllm": 0.3,
    "experts": 20.0, "link": 0.5, "sixteen": 1.3, "pipeline": 0.5,
}  # fmt: skip
BATCH = {"routing": 0.8, "crowd llama.cpp": 0.05, "crowd vllm": 0.2}
PHASES = {"decode": DECODE, "prefill": PREFILL, "batch": BATCH}
# No part of a bandwidth is above 1, and tokens do not choose more experts than if each routed for itself.
AT_MOST_ONE = ("bandwidth", "link", "routing", "pipeline")


def factors(values: dict[str, float]) -> Factors:
    """The table that the planner reads. NVIDIA's own kernels reach as much of stacked memory as of any in vLLM."""
    gpu = values["bandwidth gpu"]
    operations = values["operations vllm"]
    return Factors(
        bandwidth={
            "llama.cpp gpu": gpu, "llama.cpp amd": gpu, "llama.cpp stacked": values["bandwidth stacked"],
            "llama.cpp unified": values["bandwidth unified"], "llama.cpp superchip": values["bandwidth unified"],
            "llama.cpp ram": values["bandwidth ram"],
            "vllm gpu": gpu, "vllm stacked": gpu, "vllm superchip": values["bandwidth unified"],
            "transformers gpu": gpu, "transformers stacked": gpu,
        },
        seconds={
            "llama.cpp gpu": values["seconds gpu"], "llama.cpp stacked": values["seconds gpu"],
            "llama.cpp amd": values["seconds amd"], "llama.cpp unified": values["seconds unified"],
            "llama.cpp superchip": values["seconds unified"], "vllm superchip": values["seconds unified"],
            "llama.cpp ram": values["seconds ram"],
            "vllm gpu": values["seconds vllm"], "vllm stacked": values["seconds vllm"],
            "transformers gpu": values["seconds transformers"], "transformers stacked": values["seconds transformers"],
        },
        operations={
            "llama.cpp gpu": values["operations gpu"], "llama.cpp apple": values["operations apple"],
            "llama.cpp ram": values["operations ram"], "vllm gpu": operations, "transformers gpu": operations,
        },
        experts=values["experts"], link=values["link"], routing=values["routing"],
        sixteen=values["sixteen"], pipeline=values["pipeline"],
        crowd={
            "llama.cpp": values["crowd llama.cpp"], "vllm": values["crowd vllm"],
            "transformers": values["crowd vllm"],
        },
    )  # fmt: skip


_WORK: dict[int, Work] = {}


def speed_of(row: Measured, table: Factors) -> float:
    """The forecast of one row in tokens per second."""
    rates = expected_rates(row.engine)
    work = _WORK.get(id(row)) or _WORK.setdefault(id(row), work_of(row.inputs))
    if row.phase == "batch":
        return batch_speed(row.inputs, work, row.engine, table, rates)
    if row.phase == "decode":
        return 1 / decode_seconds(row.inputs, work, row.engine, table, rates)
    return row.inputs.prompt / prefill_seconds(row.inputs, work, row.engine, table, rates)


def errors(rows: Sequence[Measured], values: dict[str, float]) -> list[float]:
    """The logarithm of forecast over measurement, for each row."""
    table = factors(values)
    return [math.log(speed_of(row, table) / row.speed) for row in rows]


def search(
    loss: Callable[[dict[str, float]], float], values: dict[str, float], names: Sequence[str]
) -> dict[str, float]:
    """The values of `names` with the least loss, the others as they are."""
    # A tenth of a percent is finer than any measurement here.
    best, step = loss(values), 0.25
    while step > 0.001:
        moved = False
        for name in names:
            for factor in (1 + step, 1 / (1 + step)):
                tried = {**values, name: values[name] * factor}
                if name.startswith(AT_MOST_ONE) and tried[name] > 1:
                    continue
                found = loss(tried)
                if found < best - 1e-9:
                    best, values, moved = found, tried, True
        if not moved:
            step /= 2
    return values


def fit(rows: Sequence[Measured]) -> dict[str, float]:
    """Decode first, then prefill with the bandwidths so found, then batches with both.

    A source with many rows weighs by the square root of their number, so that one machine does not outvote the rest.
    """
    values = {**DECODE, **PREFILL, **BATCH}
    for phase, names in PHASES.items():
        some = [row for row in rows if row.phase == phase]
        sizes = Counter(row.source for row in some)

        def loss(tried: dict[str, float], some: Sequence[Measured] = some, sizes: Counter[str] = sizes) -> float:
            found = zip(some, errors(some, tried), strict=True)
            return sum((math.hypot(1, error / ODD) - 1) / math.sqrt(sizes[row.source]) for row, error in found)

        values = search(loss, values, tuple(names))
    return values


def fittable() -> list[Measured]:
    """The measurements whose device's rates are known; of the others the forecast says that it does not know."""
    return [
        row
        for row in measurements()
        if row.phase == "decode"
        or all(known_rate(part.device.model, row.engine) for part in row.inputs.parts if part.layers > 0)
    ]


def cross_validated(rows: Sequence[Measured]) -> list[tuple[Measured, float]]:
    """Each row with its error by a fit that saw nothing of the row's source.

    The sources are dealt into `FOLDS`, the largest first, and each fold is left out in turn.
    """
    sizes = Counter(row.source for row in rows)
    order = sorted(sizes, key=lambda source: (-sizes[source], source))
    result: list[tuple[Measured, float]] = []
    for fold in range(FOLDS):
        sources = set(order[fold::FOLDS])
        left_out = [row for row in rows if row.source in sources]
        values = fit([row for row in rows if row.source not in sources])
        result += zip(left_out, errors(left_out, values), strict=True)
    return result


def quantile(numbers: Sequence[float], part: float) -> float:
    """The number that `part` of the others do not exceed; of fewer than `FEW` the largest.

    Of a few more the very largest is not taken, since one measurement of a bad day would make the range useless.
    """
    ordered = sorted(numbers)
    return ordered[-1] if len(ordered) < FEW else ordered[int(part * (len(ordered) - 1))]


def spreads(left_out: Sequence[tuple[Measured, float]]) -> dict[str, float]:
    """By ``"engine phase class"`` the error that `COVERED` of the rows stay within, never less than over all rows.

    A row counts for the class of its first device.
    """
    result = {}
    for phase in PHASES:
        some = [(row, abs(error)) for row, error in left_out if row.phase == phase]
        every = quantile([error for _, error in some], COVERED)
        for name in factors({**DECODE, **PREFILL, **BATCH}).bandwidth:
            engine, kind = name.rsplit(" ", 1)
            like = [error for row, error in some if row.engine == engine]
            own = [
                error
                for row, error in some
                if row.engine == engine and device_class(row.inputs.parts[0].device.model) == kind
            ]
            result[f"{engine} {phase} {kind}"] = max(
                every, quantile(like or [0.0], COVERED), quantile(own or [0.0], COVERED)
            )
    return result


def share_within(found: Sequence[float], limit: float = 0.25) -> float:
    """The share of errors of at most `limit` of the measurement."""
    return sum(abs(math.exp(error) - 1) <= limit for error in found) / len(found)


def _table(title: str, values: object) -> str:
    inside = "".join(f'    "{name}": {value:.4g},\n' for name, value in dict(values).items())  # type: ignore[call-overload]
    return f"{title}{{\n{inside}}}"


def written(rows: Sequence[Measured], left_out: Sequence[tuple[Measured, float]]) -> str:
    """The module's text."""
    table = factors(fit(rows))
    sources = len({row.source for row in rows})
    return (
        '"""Written by tools/fit_speed.py from tests/data/planner/speed_cases.json; do not edit."""\n\n'
        "from __future__ import annotations\n\n"
        "from ansambl.planner.speed.roofline import Factors\n\n"
        f'PROVENANCE = "tools/fit_speed.py on {len(rows)} measurements of {sources} sources"\n'
        '"""Where the factors are from."""\n\n'
        f"_BANDWIDTH = {_table('', table.bandwidth)}\n"
        f"_SECONDS = {_table('', table.seconds)}\n"
        f"_OPERATIONS = {_table('', table.operations)}\n\n"
        f"_CROWD = {_table('', table.crowd)}\n\n"
        "FACTORS = Factors(\n    _BANDWIDTH,\n    _SECONDS,\n    _OPERATIONS,\n"
        f"    experts={table.experts:.4g},\n    link={table.link:.4g},\n    routing={table.routing:.4g},\n"
        f"    sixteen={table.sixteen:.4g},\n    pipeline={table.pipeline:.4g},\n    crowd=_CROWD,\n)\n"
        '"""The fitted factors."""\n\n'
        f"SPREAD = {_table('', spreads(left_out))}\n"
        '"""By ``"engine phase class"``, the natural logarithm of the factor to either side."""\n'
    )


def main() -> None:
    """Fit, and write or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail when the factors are not the fitted ones"
    )
    check = parser.parse_args().check
    rows = fittable()
    left_out = cross_validated(rows)
    content = written(rows, left_out)
    for phase in PHASES:
        found = [error for row, error in left_out if row.phase == phase]
        print(f"{phase}: {share_within(found):.0%} of {len(found)} rows within 25 % when their source is left out")
    if check:
        sys.exit(content != TARGET.read_text(encoding="utf-8"))
    TARGET.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
