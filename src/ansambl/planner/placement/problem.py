"""The choice as plain whole numbers: what the integer program is given, and what one answer is worth.

Nothing here knows models or machines, so that the program can be proven against trying everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """One way that may be chosen.

    `taken` is by device in whole units (MiB), `worth` by role (None: cannot serve it). `group` names the machine, whose
    columns of one `kind` (the model) exclude each other. `fixed` and `slope` are microseconds of every busy device for
    a token of all its roles; `at_once` counts roles of the council that do not wait for each other.
    """

    group: int
    kind: int
    taken: Mapping[int, int]
    worth: tuple[int | None, ...]
    at_once: int = 1
    busy: tuple[int, ...] = ()
    fixed: int = 0
    slope: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """What one option asks for. A main column serves a required role.

    `groups` are the machines that may be used, `spread` is on how many of them main columns must lie at least. `swaps`
    allows a swap group on each machine. `needed` are kinds that must be chosen, `mains` the only columns that may serve
    required roles (None: all).
    """

    least: int = 1
    most: int = 1_000
    groups: frozenset[int] | None = None
    spread: int = 1
    mains: frozenset[int] | None = None
    swaps: bool = False
    needed: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Problem:
    """The whole choice.

    `roles` count first the required ones, then helpers (`required` says how many); `weights` and `council` are by role.
    Values are whole numbers in one unit: `weakest` for each unit of the worst required role's worth, `clone` for each
    role of the council that does not wait, `column` for each column less, `swap` lost by a role on a swapped column.
    `levels` are microseconds for a token of all required roles at once with what they are worth, the fastest first;
    none means that speed at once does not count, and the last must be slow enough for anything.
    """

    columns: tuple[Column, ...]
    capacity: Mapping[int, int]
    weights: tuple[int, ...]
    required: int
    council: frozenset[int] = frozenset()
    weakest: int = 0
    clone: int = 0
    column: int = 0
    swap: int = 0
    levels: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """Which column each role runs on (None: a helper that is not served), and which columns take turns.

    `idle` columns are chosen because they are needed and serve no role.
    """

    roles: tuple[int | None, ...]
    swapped: frozenset[int] = frozenset()
    idle: frozenset[int] = frozenset()

    @property
    def chosen(self) -> tuple[int, ...]:
        """All columns in use, in order."""
        return tuple(sorted({one for one in self.roles if one is not None} | self.idle))


def fits(problem: Problem, answer: Answer) -> bool:
    """Whether every device holds the resident columns and the greatest of the swapped ones of each machine."""
    resident: dict[int, int] = {}
    turns: dict[tuple[int, int], int] = {}
    for number in answer.chosen:
        column = problem.columns[number]
        for device, size in column.taken.items():
            if number in answer.swapped:
                key = (column.group, device)
                turns[key] = max(turns.get(key, 0), size)
            else:
                resident[device] = resident.get(device, 0) + size
    for (_, device), size in turns.items():
        resident[device] = resident.get(device, 0) + size
    return all(size <= problem.capacity[device] for device, size in resident.items())


def value(problem: Problem, answer: Answer) -> int:
    """What an answer is worth: the program's objective, worked out plainly."""
    total = 0
    worst: int | None = None
    uses: dict[int, list[int]] = {one: [] for one in answer.chosen}
    for role, number in enumerate(answer.roles):
        if number is None:
            continue
        uses[number].append(role)
        worth = problem.columns[number].worth[role]
        if worth is None:
            message = f"column {number} cannot serve role {role}"
            raise ValueError(message)
        worth -= problem.swap if number in answer.swapped else 0
        total += problem.weights[role] * worth
        if role < problem.required:
            worst = worth if worst is None else min(worst, worth)
    total += problem.weakest * (worst or 0) - problem.column * len(uses)
    for number, roles in uses.items():
        council = sum(1 for role in roles if role in problem.council)
        total += problem.clone * min(council, problem.columns[number].at_once)
    if problem.levels:
        slowest = max(device_times(problem, answer).values(), default=0)
        total += next(worth for time, worth in problem.levels if slowest <= time)
    return total


def device_times(problem: Problem, answer: Answer) -> dict[int, int]:
    """Microseconds in which each device does its part of one token of all required roles."""
    times: dict[int, int] = {}
    for number in answer.chosen:
        column = problem.columns[number]
        roles = sum(1 for role, one in enumerate(answer.roles) if one == number and role < problem.required)
        if roles:
            for device in column.busy:
                times[device] = times.get(device, 0) + column.fixed + column.slope * roles
    return times
