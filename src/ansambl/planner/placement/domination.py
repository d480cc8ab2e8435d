"""Leaving out variants that others as good as beat in everything, so that the program stays small."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def undominated(
    scores: NDArray[np.float64], slack: NDArray[np.float64], models: Sequence[str], others: int,
    kept: frozenset[str] = frozenset(),
) -> list[int]:  # fmt: skip
    """The rows to keep, in their order. A row of `scores` holds one variant's figures, the greater always the better.

    Rows are looked at in the order of their sums of the first column on, the best first. One is left out when a row
    that was kept is of the same model and nowhere worse by more than `slack`, or when kept rows of `others` different
    models are: a plan can then take one of those instead and loses no more than the slack. Models of `kept` are only
    compared among themselves.
    """
    codes = {name: number for number, name in enumerate(dict.fromkeys(models))}
    order = sorted(range(len(models)), key=lambda row: (tuple(-scores[row]), row))
    rows: list[int] = []
    table = np.empty_like(scores)
    numbers = np.empty(len(models), dtype=np.int64)
    for row in order:
        count = len(rows)
        better = np.all(table[:count] >= scores[row] - slack, axis=1)
        by = numbers[:count][better]
        code = codes[models[row]]
        if bool(np.any(by == code)):
            continue
        if models[row] not in kept and by.size >= others and np.unique(by).size >= others:
            continue
        table[count], numbers[count] = scores[row], code
        rows.append(row)
    return sorted(rows)
