"""How long a plan takes, and how good it is beside a greedy fill of the same machines.

Two questions: two machines and the whole catalog; fifty machines that all differ and forty models. The greedy fill goes
through the roles one by one and takes for each the best variant that still has room; it is timed and valued in the same
run, by the same variants and the same objective. Prints one table; asserts nothing.

    python benchmarks/plan_time.py
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ansambl.domain.device import PlannedMachine
from ansambl.domain.planning import Goal
from ansambl.domain.units import GIB, Bytes
from ansambl.engines.compatibility import compatibility_rows
from ansambl.hardware.catalog import load_machine, machine_names
from ansambl.planner.placement import PlanInputs, solve
from ansambl.planner.placement.build import UNITS, build
from ansambl.planner.placement.problem import Answer, Problem, fits, value
from ansambl.planner.placement.refusals import Refusals
from ansambl.planner.placement.variants import find_variants

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
from plan_inputs import candidates, plan_inputs

MODELS, MACHINES = 40, 50


def different_machines(count: int) -> tuple[PlannedMachine, ...]:
    """The shipped machines again and again, each time with more RAM, so that no two are alike."""
    names = machine_names()
    found = []
    for number in range(count):
        one = load_machine(names[number % len(names)])
        more = Bytes(one.ram.memory + number // len(names) * 16 * GIB)
        found.append(replace(one, name=f"{one.name}-{number}", ram=replace(one.ram, memory=more)))
    return tuple(found)


def greedy(problem: Problem) -> Answer:
    """Each role, the heaviest first, on the best column that still has room; helpers last and only where there is."""
    roles: list[int | None] = [None] * len(problem.weights)
    order = sorted(range(problem.required), key=lambda role: -problem.weights[role])
    for role in (*order, *range(problem.required, len(problem.weights))):
        able = [number for number, one in enumerate(problem.columns) if one.worth[role] is not None]
        for number in sorted(able, key=lambda number: (-(problem.columns[number].worth[role] or 0), number)):
            tried = Answer((*roles[:role], number, *roles[role + 1 :]))
            if fits(problem, tried):
                roles[role] = number
                break
    return Answer(tuple(roles))


def measure(title: str, inputs: PlanInputs, table: Table) -> None:
    """One row: the plan's time, the greedy fill's time with the same variants, and both values."""
    start = time.perf_counter()
    plan = solve(inputs)
    taken = time.perf_counter() - start
    best = max((one.rank or 0.0 for one in plan.options if one.fits), default=0.0)
    start = time.perf_counter()
    variants = find_variants(inputs, Refusals())
    problem = build(inputs, variants).problem
    answer = greedy(problem)
    filled = time.perf_counter() - start
    reached = value(problem, answer) / UNITS
    table.add_row(
        title, inputs.goal.value, str(len(variants)), f"{taken:.2f} s", f"{filled:.2f} s", f"{best:.1f}",
        f"{reached:.1f}", f"{best / reached:.3f}" if reached > 0 else "-",
    )  # fmt: skip


def main() -> None:
    """Print the table."""
    facts = compatibility_rows()
    names = sorted({one.model for one in candidates()})[:MODELS]
    some = tuple(one for one in candidates() if one.model in names)
    table = Table("question", "goal", "variants", "plan", "greedy fill", "points", "greedy points", "ratio")
    for goal in Goal:
        two = plan_inputs(["rtx-pro-6000-128g", "rtx-4090-64g"], goal=goal, rows=facts)
        measure(f"2 machines, {len(candidates())} checkpoints", two, table)
    many = replace(plan_inputs(machine_names()[:1], candidates=some, rows=facts), machines=different_machines(MACHINES))
    measure(f"{MACHINES} machines, {len(names)} models", many, table)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
