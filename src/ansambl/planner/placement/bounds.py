"""A good answer found quickly, and a proof for most columns that no better answer uses them.

The program stays exact: what is left out could not reach the value of an answer that is already in hand, whatever the
rest of the plan.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ansambl.planner.placement.problem import Answer, Column, Limits, Problem, fits, value

_CANNOT = -(10**9)
_MOST_COLUMNS, _MOST_PAIRS, _CLIMBED = 500, 250, 12
_ROUNDS, _MOST_PARTNERS = 4, 1500


def good_answer(problem: Problem, limits: Limits, numbers: Sequence[int]) -> Answer | None:
    """The best of single columns and pairs of them, improved role by role and filled up with helpers.

    None when this finds nothing within the limits; there may be an answer all the same.
    """
    if limits.needed:
        return None
    worths = _worths(problem, numbers)[:, : problem.required]
    may = np.array([limits.mains is None or number in limits.mains for number in numbers])
    worths[~may] = _CANNOT
    weights = np.array(problem.weights[: problem.required])
    best = np.argsort(-(worths @ weights), kind="stable")[:_MOST_COLUMNS]
    leading = {int(one) for role in range(problem.required) for one in np.argsort(-worths[:, role], kind="stable")[:20]}
    some = np.array(sorted({int(one) for one in best} | leading), dtype=np.int64)
    answers = _singles(problem, limits, numbers, worths, some) + _pairs(problem, limits, numbers, worths, some)
    answers.sort(key=lambda pair: (-pair[0], pair[1].chosen))
    climbed = [_climb(problem, limits, answer, numbers) for _, answer in answers[:_CLIMBED]]
    return max(climbed, key=lambda answer: value(problem, answer), default=None)


def promising(
    problem: Problem, limits: Limits, numbers: Sequence[int], least: int, time: int | None = None
) -> dict[tuple[int, int], bool]:
    """The pairs (column, role) that an answer may use whose value, without that of its speed at once, is `least`.

    `time` is the most microseconds that any device may take for a token of all required roles.
    """
    worths = _able(problem, limits, numbers, time)
    bounds = _bounds(problem, limits, numbers, worths)
    hopeful = (bounds >= least) & (worths > _CANNOT)
    # What two columns cannot be together bounds more closely; each that goes leaves the others fewer partners.
    for _ in range(_ROUNDS):
        left = np.flatnonzero(hopeful.any(axis=1))
        if limits.swaps or limits.most == 1 or not 1 < len(left) <= _MOST_PARTNERS:
            break
        worths[~hopeful] = _CANNOT
        closer = _partner_bounds(problem, limits, [numbers[int(one)] for one in left], worths[left], time)
        before = int(hopeful.sum())
        hopeful[left] &= closer >= least
        if int(hopeful.sum()) == before:
            break
    return {(numbers[int(position)], int(role)): True for position, role in np.argwhere(hopeful)}


def _partner_bounds(
    problem: Problem, limits: Limits, numbers: Sequence[int], worths: NDArray[np.int64], time: int | None
) -> NDArray[np.float64]:
    """By column and role the most of an answer in which every other role runs on a column that fits beside this one."""
    required, weights = problem.required, np.array(problem.weights)
    columns = [problem.columns[number] for number in numbers]
    together = np.ones((len(columns), len(columns)), dtype=bool)
    in_time = together.copy()
    for device, room in problem.capacity.items():
        taken = np.array([one.taken.get(device, 0) for one in columns])
        together &= taken[:, None] + taken[None, :] <= room
        if time is not None:
            part = np.array([one.fixed + one.slope if device in one.busy else 0 for one in columns])
            in_time &= (part[:, None] == 0) | (part[None, :] == 0) | (part[:, None] + part[None, :] <= time)
    groups, kinds = np.array([one.group for one in columns]), np.array([one.kind for one in columns])
    together &= (groups[:, None] != groups[None, :]) | (kinds[:, None] != kinds[None, :])
    np.fill_diagonal(together, val=True)
    np.fill_diagonal(in_time, val=True)
    most = _most_roles(columns, required, time)
    other = np.empty(worths.shape)
    best = np.empty(worths.shape)
    for role in range(worths.shape[1]):
        # A column that serves helpers alone is busy with no role.
        fits_beside = together & in_time if role < required else together
        beside = np.where(fits_beside, worths[None, :, role], _CANNOT)
        best[:, role] = beside.max(axis=1)
        np.fill_diagonal(beside, _CANNOT)
        other[:, role] = beside.max(axis=1)
    best[:, required:] = np.maximum(best[:, required:], 0)
    base = (
        best[:, required:] @ weights[required:] - problem.column * limits.least + problem.clone * len(problem.council)
    )
    # Of its own roles a column serves no more than it can in time; the others run on what fits beside it.
    gains = np.maximum(0, worths[:, :required] - other[:, :required]) * weights[:required]
    beside_all = other[:, :required] * weights[:required]
    bounds = np.empty(worths.shape)
    for role in range(worths.shape[1]):
        here = worths[:, role]
        if role < required:
            left = np.sort(np.delete(gains, role, axis=1), axis=1)[:, ::-1]
            counted = np.arange(required - 1)[None, :] < (most - 1)[:, None]
            value_of = np.delete(beside_all, role, axis=1).sum(axis=1) + weights[role] * here
            worst = np.minimum(np.delete(best[:, :required], role, axis=1).min(axis=1, initial=np.inf), here)
            bounds[:, role] = base + value_of + (left * counted).sum(axis=1) + problem.weakest * worst
        else:
            total = best @ weights - problem.column * limits.least + problem.clone * len(problem.council)
            worst = best[:, :required].min(axis=1)
            bounds[:, role] = total - weights[role] * (best[:, role] - here) + problem.weakest * worst
    return bounds


def most_value(problem: Problem, limits: Limits, numbers: Sequence[int], time: int | None, worth: int) -> int | None:
    """A value that no answer within `time` is above, `worth` of it for the speed; None when no answer is within it."""
    worths = _able(problem, limits, numbers, time)
    bounds = _bounds(problem, limits, numbers, worths)
    able = (worths > _CANNOT)[:, : problem.required]
    if not bool(able.any(axis=0).all()):
        return None
    reached = np.where(able, bounds[:, : problem.required], _CANNOT).max(axis=0).min()
    return None if reached <= _CANNOT // 2 else int(np.floor(reached)) + worth


def _able(problem: Problem, limits: Limits, numbers: Sequence[int], time: int | None) -> NDArray[np.int64]:
    worths = _worths(problem, numbers)
    columns = [problem.columns[number] for number in numbers]
    away = np.array([limits.mains is not None and number not in limits.mains for number in numbers])
    if time is not None:
        roles = problem.required if limits.most == 1 else 1
        away |= np.array([bool(one.busy) and one.fixed + one.slope * roles > time for one in columns])
    worths[away, : problem.required] = _CANNOT
    return worths


def _bounds(problem: Problem, limits: Limits, numbers: Sequence[int], worths: NDArray[np.int64]) -> NDArray[np.float64]:
    """By column and role the most that an answer with this pair is worth, capacity and speed at once left aside."""
    required, weights = problem.required, np.array(problem.weights)
    best = worths.max(axis=0).astype(float)
    best[required:] = np.maximum(best[required:], 0)
    council = np.array([min(len(problem.council), problem.columns[number].at_once) for number in numbers])
    all_copies = float(problem.clone * len(problem.council))
    base = float(best[required:] @ weights[required:]) - problem.column * limits.least
    top = float(best[:required] @ weights[:required])
    bounds = np.empty(worths.shape)
    main = worths[:, :required].astype(float)
    alone = main @ weights[:required] + problem.weakest * main.min(axis=1) + problem.clone * council + base
    highest = (
        float(alone.max()) if limits.most == 1 else top + problem.weakest * best[:required].min() + all_copies + base
    )
    for role in range(worths.shape[1]):
        here = worths[:, role].astype(float)
        lost = weights[role] * (best[role] - here)
        if role >= required:
            bounds[:, role] = highest - lost
        elif limits.most == 1:
            bounds[:, role] = alone
        else:
            others = float(np.delete(best[:required], role).min(initial=np.inf))
            worst = np.minimum(here, others)
            bounds[:, role] = top - lost + problem.weakest * worst + all_copies + base
    return bounds


def _most_roles(columns: Sequence[Column], required: int, time: int | None) -> NDArray[np.int64]:
    """How many roles each column can serve within a time."""
    if time is None:
        return np.full(len(columns), required)
    return np.array(
        [
            min(required, (time - one.fixed) // one.slope) if one.busy and one.slope else required
            for one in columns
        ]
    )  # fmt: skip


def _worths(problem: Problem, numbers: Sequence[int]) -> NDArray[np.int64]:
    return np.array(
        [[_CANNOT if worth is None else worth for worth in problem.columns[number].worth] for number in numbers],
        dtype=np.int64,
    )


def _singles(
    problem: Problem, limits: Limits, numbers: Sequence[int], worths: NDArray[np.int64], some: NDArray[np.int64]
) -> list[tuple[int, Answer]]:
    if limits.least > 1 or limits.spread > 1:
        return []
    found = []
    for position in some:
        if worths[position].min() <= _CANNOT:
            continue
        answer = Answer((*((numbers[int(position)],) * problem.required), *_no_helpers(problem)))
        found.append((value(problem, answer), answer))
    return found


def _no_helpers(problem: Problem) -> tuple[None, ...]:
    return (None,) * (len(problem.weights) - problem.required)


def _pairs(
    problem: Problem, limits: Limits, numbers: Sequence[int], worths: NDArray[np.int64], some: NDArray[np.int64]
) -> list[tuple[int, Answer]]:
    if limits.most < 2 or problem.required < 2 or len(some) < 2:
        return []
    weights = np.array(problem.weights[: problem.required])
    first, second = (some[one] for one in np.triu_indices(len(some), 1))
    total = np.maximum(worths[first], worths[second]) @ weights
    columns = [problem.columns[number] for number in numbers]
    groups, kinds = np.array([one.group for one in columns]), np.array([one.kind for one in columns])
    able = (groups[first] != groups[second]) if limits.spread > 1 else (
        (groups[first] != groups[second]) | (kinds[first] != kinds[second]))  # fmt: skip
    for device, room in problem.capacity.items():
        taken = np.array([one.taken.get(device, 0) for one in columns])
        able &= taken[first] + taken[second] <= room
    positions = np.flatnonzero(able & (total > _CANNOT // 2))
    positions = positions[np.argsort(-total[positions], kind="stable")][:_MOST_PAIRS]
    found = []
    for position in positions:
        pair = int(first[position]), int(second[position])
        places = [pair[0] if worths[pair[0], role] >= worths[pair[1], role] else pair[1]
                  for role in range(problem.required)]  # fmt: skip
        if len(set(places)) < 2:
            role = int(np.argmin(np.abs(worths[pair[0]] - worths[pair[1]])))
            places[role] = pair[0] if places[role] == pair[1] else pair[1]
        if all(worths[place, role] > _CANNOT for role, place in enumerate(places)):
            answer = Answer((*(numbers[place] for place in places), *_no_helpers(problem)))
            found.append((value(problem, answer), answer))
    return found


def _climb(problem: Problem, limits: Limits, answer: Answer, numbers: Sequence[int]) -> Answer:
    """Move roles between the chosen columns while that gains, and give each helper the best place that is left."""
    roles = list(answer.roles)
    best = value(problem, answer)
    improved = True
    while improved:
        improved = False
        for role in range(problem.required):
            for number in sorted({one for one in roles[: problem.required] if one is not None}):
                before = roles[role]
                if number == before or problem.columns[number].worth[role] is None:
                    continue
                roles[role] = number
                moved = Answer(tuple(roles))
                mains = {one for one in roles[: problem.required] if one is not None}
                spread = len({problem.columns[one].group for one in mains})
                if len(mains) >= limits.least and spread >= limits.spread and value(problem, moved) > best:
                    best, improved = value(problem, moved), True
                else:
                    roles[role] = before
    for role in range(problem.required, len(roles)):
        able = [number for number in numbers if (problem.columns[number].worth[role] or 0) > 0]
        able.sort(key=lambda number: (-(problem.columns[number].worth[role] or 0), number))
        for number in able[:60]:
            tried = Answer((*roles[:role], number, *roles[role + 1 :]))
            if _apart(problem, tried) and fits(problem, tried) and value(problem, tried) > best:
                best = value(problem, tried)
                roles[role] = number
    return Answer(tuple(roles))


def _apart(problem: Problem, answer: Answer) -> bool:
    seen = [(problem.columns[one].group, problem.columns[one].kind) for one in answer.chosen]
    return len(set(seen)) == len(seen)
