"""The integer program: which columns are chosen, which take turns, and which role runs on which, solved by HiGHS.

The greatest value decides, then the least memory, then the order of the columns, so that the answer is one and the same
for the same input. One thread, a fixed seed, no time limit, no gap. Columns that provably cannot be part of the best
answer are left out first (`bounds`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import highspy
import numpy as np

from ansambl.planner.placement.bounds import good_answer, most_value, promising
from ansambl.planner.placement.problem import Answer, Limits, Problem, value

_VALUE, _MEMORY, _ORDER = 10_000, 9_000, 900
"""What one unit of value, all memory together, and the last column's number count."""


@dataclass(slots=True)
class _Model:
    """Rows and columns as they are gathered for HiGHS; all columns are whole numbers."""

    cost: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    lower: list[float] = field(default_factory=list)
    start: list[int] = field(default_factory=lambda: [0])
    index: list[int] = field(default_factory=list)
    entry: list[float] = field(default_factory=list)
    row_lower: list[float] = field(default_factory=list)
    row_upper: list[float] = field(default_factory=list)

    def add(self, cost: float, upper: float = 1.0, lower: float = 0.0, *, whole: bool = True) -> int:
        """A new variable; its number."""
        self.cost.append(cost)
        self.upper.append(upper)
        self.lower.append(lower)
        self.whole.append(whole)
        return len(self.cost) - 1

    def row(self, entries: list[tuple[int, float]], least: float, most: float) -> None:
        """A new condition on the sum of variables times factors."""
        for number, factor in entries:
            self.index.append(number)
            self.entry.append(factor)
        self.start.append(len(self.index))
        self.row_lower.append(least)
        self.row_upper.append(most)


@dataclass(slots=True)
class _Variables:
    use: dict[tuple[int, bool], int] = field(default_factory=dict)
    main: dict[tuple[int, bool], int] = field(default_factory=dict)
    serve: dict[tuple[int, int, bool], int] = field(default_factory=dict)


def solve(problem: Problem, limits: Limits, above: int | None = None) -> Answer | None:
    """The answer of the greatest value within the limits, None when there is none.

    With `above`, only answers of a greater value are of interest, and nothing without turns is above it.
    """
    numbers = [
        number
        for number, column in enumerate(problem.columns)
        if (limits.groups is None or column.group in limits.groups)
        and all(size <= problem.capacity[device] for device, size in column.taken.items())
    ]
    for role in range(problem.required):
        mains = [number for number in numbers if limits.mains is None or number in limits.mains]
        if all(problem.columns[number].worth[role] is None for number in mains):
            return None
    hand: Answer | None = None
    least: int | None = None
    turns = 0
    if above is None:
        hand = good_answer(problem, limits, numbers)
        least = None if hand is None else value(problem, hand)
    else:
        # Two members of a swap group at least serve a role each and lose by it.
        turns = 2 * problem.swap * min(problem.weights)
        least = above + 1 + turns
    # Each level of speed is a program of its own: its columns are few, as the slow ones cannot reach it.
    levels: tuple[tuple[int | None, int], ...] = problem.levels or ((None, 0),)
    reachable = []
    for place, (time, worth) in enumerate(levels):
        bound = most_value(problem, limits, numbers, time, worth)
        if bound is not None:
            reachable.append((-bound, place, time, worth))
    best: Answer | None = None
    for lost, _, time, worth in sorted(reachable, key=lambda one: one[:2]):
        if least is not None and -lost < least:
            continue
        found = _solve_level(problem, limits, numbers, time, worth, least, turns)
        if found is None:
            continue
        reached = value(problem, found)
        if best is None or least is None or reached + turns > least:
            best, least = found, max(reached + turns, least or reached)
    return best or hand


def _solve_level(
    problem: Problem, limits: Limits, numbers: list[int], time: int | None, worth: int, least: int | None, turns: int
) -> Answer | None:
    """The best answer whose devices all do their part of a token of all roles within `time`."""
    useful = None if least is None else promising(problem, limits, numbers, least - worth, time)
    if useful is not None and not all(any(one == role for _, one in useful) for role in range(problem.required)):
        return None
    model, variables = _Model(), _Variables()
    _columns(problem, limits, numbers, useful, model, variables)
    _roles(problem, model, variables)
    _devices(problem, model, variables)
    _counts(problem, limits, numbers, model, variables)
    _council(problem, model, variables)
    if time is not None:
        _within(problem, time, model, variables)
    if least is not None:
        held = [(number, cost) for number, cost in enumerate(model.cost) if cost]
        model.row(held, float(least - worth - turns) - 0.5, highspy.kHighsInf)
    model.cost = [cost * _VALUE for cost in model.cost]
    _break_ties(problem, model, variables)
    values = _run(model)
    return None if values is None else _answer(problem, variables, values)


def _columns(
    problem: Problem, limits: Limits, numbers: list[int], useful: Mapping[tuple[int, int], bool] | None, model: _Model,
    variables: _Variables,
) -> None:  # fmt: skip
    for number in numbers:
        column = problem.columns[number]
        if useful is not None and not any((number, role) in useful for role in range(len(column.worth))):
            continue
        for swapped in (False, True) if limits.swaps else (False,):
            variables.use[number, swapped] = model.add(-problem.column)
            may_serve = limits.mains is None or number in limits.mains
            if may_serve and any(
                worth is not None and (useful is None or (number, role) in useful)
                for role, worth in enumerate(column.worth[: problem.required])
            ):
                variables.main[number, swapped] = model.add(0.0)
            for role, worth in enumerate(column.worth):
                if useful is not None and (number, role) not in useful:
                    continue
                if worth is not None and (may_serve or role >= problem.required):
                    gained = worth - (problem.swap if swapped else 0)
                    variables.serve[number, role, swapped] = model.add(problem.weights[role] * gained)
    for key, use in variables.use.items():
        number, swapped = key
        served = [
            (role, variables.serve[number, role, swapped])
            for role in range(len(problem.weights))
            if (number, role, swapped) in variables.serve
        ]
        for role, serve in served:
            holder = variables.main[key] if role < problem.required else use
            model.row([(serve, 1.0), (holder, -1.0)], -highspy.kHighsInf, 0.0)
        if key in variables.main:
            main = variables.main[key]
            model.row([(main, 1.0), (use, -1.0)], -highspy.kHighsInf, 0.0)
            required = [(serve, -1.0) for role, serve in served if role < problem.required]
            model.row([(main, 1.0), *required], -highspy.kHighsInf, 0.0)
        if problem.columns[number].kind not in limits.needed:
            model.row([(use, 1.0), *((serve, -1.0) for _, serve in served)], -highspy.kHighsInf, 0.0)


def _roles(problem: Problem, model: _Model, variables: _Variables) -> None:
    worst = None
    if problem.weakest:
        worths = [
            worth for column in problem.columns for worth in column.worth[: problem.required] if worth is not None
        ]
        low = min(worths, default=0) - problem.swap
        worst = model.add(problem.weakest, float(max(worths, default=0)), float(min(low, 0)), whole=False)
    by_role: dict[int, list[tuple[int, float]]] = {role: [] for role in range(len(problem.weights))}
    for (_, role, _), serve in variables.serve.items():
        by_role[role].append((serve, 1.0))
    for role, entries in by_role.items():
        if role < problem.required:
            model.row(entries, 1.0, 1.0)
        elif entries:
            model.row(entries, 0.0, 1.0)
    if worst is None:
        return
    for role in range(problem.required):
        entries = [
            (serve, float((problem.columns[number].worth[role] or 0) - (problem.swap if swapped else 0)))
            for (number, one, swapped), serve in variables.serve.items()
            if one == role
        ]
        model.row([(worst, -1.0), *entries], 0.0, highspy.kHighsInf)


def _devices(problem: Problem, model: _Model, variables: _Variables) -> None:
    """Resident columns add up; of those that take turns each device must hold the greatest of each machine."""
    rows: dict[int, list[tuple[int, float]]] = {}
    turns: dict[tuple[int, int], int] = {}
    for (number, swapped), use in variables.use.items():
        column = problem.columns[number]
        for device, size in column.taken.items():
            if not swapped:
                rows.setdefault(device, []).append((use, float(size)))
                continue
            key = (column.group, device)
            if key not in turns:
                turns[key] = model.add(0.0, float(problem.capacity[device]), whole=False)
                rows.setdefault(device, []).append((turns[key], 1.0))
            model.row([(turns[key], 1.0), (use, -float(size))], 0.0, highspy.kHighsInf)
    for device, entries in sorted(rows.items()):
        model.row(entries, 0.0, float(problem.capacity[device]))


def _counts(problem: Problem, limits: Limits, numbers: list[int], model: _Model, variables: _Variables) -> None:
    mains = [(main, 1.0) for main in variables.main.values()]
    model.row(mains, float(limits.least), float(limits.most))
    if limits.spread > 1:
        by_group: dict[int, list[tuple[int, float]]] = {}
        for (number, _), main in variables.main.items():
            by_group.setdefault(problem.columns[number].group, []).append((main, -1.0))
        used = []
        for _, entries in sorted(by_group.items()):
            used.append((model.add(0.0), 1.0))
            model.row([used[-1], *entries], -highspy.kHighsInf, 0.0)
        model.row(used, float(limits.spread), highspy.kHighsInf)
    alike: dict[tuple[int, int], list[tuple[int, float]]] = {}
    for (number, _), use in variables.use.items():
        column = problem.columns[number]
        alike.setdefault((column.group, column.kind), []).append((use, 1.0))
    for _, entries in sorted(alike.items()):
        if len(entries) > 1:
            model.row(entries, 0.0, 1.0)
    for kind in sorted(limits.needed):
        entries = [(use, 1.0) for (number, _), use in variables.use.items() if problem.columns[number].kind == kind]
        model.row(entries, 1.0, highspy.kHighsInf)
    if not limits.swaps:
        return
    for group in sorted({problem.columns[number].group for number in numbers}):
        members = [
            use for (number, swapped), use in variables.use.items()
            if swapped and problem.columns[number].group == group
        ]  # fmt: skip
        taking_turns = model.add(0.0)
        # One alone takes no turns.
        model.row([*((use, 1.0) for use in members), (taking_turns, -2.0)], 0.0, highspy.kHighsInf)
        for use in members:
            model.row([(use, 1.0), (taking_turns, -1.0)], -highspy.kHighsInf, 0.0)


def _council(problem: Problem, model: _Model, variables: _Variables) -> None:
    if not problem.clone or not problem.council:
        return
    for (number, swapped), use in variables.use.items():
        inside = [
            (variables.serve[number, role, swapped], -1.0)
            for role in sorted(problem.council)
            if (number, role, swapped) in variables.serve
        ]
        if inside:
            most = min(problem.columns[number].at_once, len(inside))
            answering = model.add(problem.clone, float(most))
            model.row([(answering, 1.0), *inside], -highspy.kHighsInf, 0.0)
            model.row([(answering, 1.0), (use, -float(most))], -highspy.kHighsInf, 0.0)


def _within(problem: Problem, time: int, model: _Model, variables: _Variables) -> None:
    """Every busy device does its part of a token of all required roles within `time`."""
    times: dict[int, list[tuple[int, float]]] = {}
    for (number, swapped), main in variables.main.items():
        column = problem.columns[number]
        if column.busy and column.slope:
            # Implied, and tells the solver early how many roles one column can serve in time.
            most = (time - column.fixed) // column.slope
            serving = [
                (variables.serve[number, role, swapped], 1.0)
                for role in range(problem.required)
                if (number, role, swapped) in variables.serve
            ]
            if most < len(serving):
                model.row([*serving, (main, -float(max(0, most)))], -highspy.kHighsInf, 0.0)
        for device in column.busy:
            entries = times.setdefault(device, [])
            if column.fixed:
                entries.append((main, column.fixed / time))
            if column.slope:
                entries.extend(
                    (variables.serve[number, role, swapped], column.slope / time)
                    for role in range(problem.required)
                    if (number, role, swapped) in variables.serve
                )
    for _, entries in sorted(times.items()):
        model.row(entries, -highspy.kHighsInf, 1.0)


def _break_ties(problem: Problem, model: _Model, variables: _Variables) -> None:
    """Take less than a unit of value for memory, and less still for a later place in the order."""
    room = max(1, sum(problem.capacity.values()))
    for (number, swapped), use in variables.use.items():
        taken = sum(problem.columns[number].taken.values())
        model.cost[use] -= _MEMORY * taken // room + _ORDER * (2 * number + swapped) // (2 * len(problem.columns))


def _run(model: _Model) -> list[float] | None:
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(model.cost), len(model.row_lower)
    lp.col_cost_ = np.array(model.cost)
    lp.col_lower_, lp.col_upper_ = np.array(model.lower), np.array(model.upper)
    lp.row_lower_, lp.row_upper_ = np.array(model.row_lower), np.array(model.row_upper)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.num_col_, lp.a_matrix_.num_row_ = lp.num_col_, lp.num_row_
    lp.a_matrix_.start_ = np.array(model.start, dtype=np.int32)
    lp.a_matrix_.index_ = np.array(model.index, dtype=np.int32)
    lp.a_matrix_.value_ = np.array(model.entry)
    kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
    lp.integrality_ = [kinds[whole] for whole in model.whole]
    lp.sense_ = highspy.ObjSense.kMaximize
    # The programs are small and a good answer is known: presolve, heuristics and many cuts cost more than they save.
    solver = highspy.Highs()  # type: ignore[no-untyped-call]  # a class of C++
    for name, setting in (
        ("output_flag", False),
        ("threads", 1),
        ("parallel", "off"),
        ("random_seed", 0),
        ("mip_rel_gap", 0.0),
        ("presolve", "off"),
        ("mip_heuristic_effort", 0.0),
        ("mip_abs_gap", 0.5),
    ):
        solver.setOptionValue(name, setting)
    solver.passModel(lp)
    solver.run()
    if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return None
    return [float(one) for one in solver.getSolution().col_value]


def _answer(problem: Problem, variables: _Variables, values: list[float]) -> Answer:
    chosen = [key for key, use in variables.use.items() if values[use] > 0.5]
    roles: list[int | None] = [None] * len(problem.weights)
    for (number, role, _), serve in variables.serve.items():
        if values[serve] > 0.5:
            roles[role] = number
    serving = {number for number in roles if number is not None}
    return Answer(
        roles=tuple(roles),
        swapped=frozenset(number for number, swapped in chosen if swapped),
        idle=frozenset(number for number, _ in chosen if number not in serving),
    )
