from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansambl.planner.placement.problem import Answer, Column, Limits, Problem, device_times, fits, value
from ansambl.planner.placement.program import solve

LEVELS = ((1_000, 40), (4_000, 15), (16_000, 4), (10**9, 0))


def subsets(items: list[int]) -> Iterator[frozenset[int]]:
    for count in range(len(items) + 1):
        yield from map(frozenset, itertools.combinations(items, count))


def allowed(problem: Problem, limits: Limits, answer: Answer) -> bool:
    columns = problem.columns
    mains = {one for one in answer.roles[: problem.required] if one is not None}
    seen = [(columns[one].group, columns[one].kind) for one in answer.chosen]
    in_turns = [columns[one].group for one in answer.swapped]
    return (
        limits.least <= len(mains) <= limits.most
        and len(set(seen)) == len(seen)
        and (limits.groups is None or all(columns[one].group in limits.groups for one in answer.chosen))
        and len({columns[one].group for one in mains}) >= limits.spread
        and (limits.mains is None or mains <= limits.mains)
        and all(any(columns[one].kind == kind for one in answer.chosen) for kind in limits.needed)
        and all(in_turns.count(group) >= 2 for group in in_turns)
        and fits(problem, answer)
    )


def answers(problem: Problem, limits: Limits) -> Iterator[Answer]:
    """Every assignment there is, without any cleverness."""
    choices: list[list[int | None]] = []
    for role in range(len(problem.weights)):
        able: list[int | None] = [n for n, one in enumerate(problem.columns) if one.worth[role] is not None]
        choices.append(able if role < problem.required else [*able, None])
    for roles in itertools.product(*choices):
        serving = {one for one in roles if one is not None}
        rest = [n for n, one in enumerate(problem.columns) if n not in serving and one.kind in limits.needed]
        for idle in subsets(rest):
            chosen = sorted(serving | idle)
            for swapped in subsets(chosen) if limits.swaps else iter([frozenset[int]()]):
                answer = Answer(tuple(roles), swapped, idle)
                if allowed(problem, limits, answer):
                    yield answer


@st.composite
def problems(draw: st.DrawFn) -> tuple[Problem, Limits]:
    required = draw(st.integers(1, 3))
    roles = required + draw(st.integers(0, 1))
    groups = draw(st.integers(1, 2))
    small = st.integers(0, 30)
    columns = tuple(
        Column(
            group=(group := draw(st.integers(0, groups - 1))),
            kind=draw(st.integers(0, 2)),
            taken={group * 2: draw(small), group * 2 + 1: draw(small)},
            worth=tuple(draw(st.one_of(st.none(), st.integers(-20, 60))) for _ in range(roles)),
            at_once=draw(st.integers(1, 3)),
            busy=tuple(draw(st.sets(st.sampled_from([group * 2, group * 2 + 1]), max_size=2))),
            fixed=draw(st.integers(0, 3_000)),
            slope=draw(st.integers(0, 2_000)),
        )
        for _ in range(draw(st.integers(1, 4)))
    )
    problem = Problem(
        columns=columns,
        capacity={device: draw(st.integers(10, 60)) for device in range(groups * 2)},
        weights=tuple(draw(st.integers(1, 5)) for _ in range(roles)),
        required=required,
        council=frozenset(draw(st.sets(st.integers(0, required - 1)))),
        weakest=draw(st.integers(0, 3)),
        clone=draw(st.integers(0, 8)),
        column=draw(st.integers(0, 8)),
        swap=draw(st.integers(0, 10)),
        levels=draw(st.sampled_from([(), LEVELS])),
    )
    limits = Limits(
        least=draw(st.integers(1, 2)),
        most=draw(st.integers(1, 3)),
        groups=draw(st.sampled_from([None, frozenset({0})])),
        spread=draw(st.integers(1, 2)),
        mains=draw(st.sampled_from([None, None, frozenset({0, 1})])),
        swaps=draw(st.booleans()),
        needed=draw(st.sampled_from([frozenset[int](), frozenset({0})])),
    )
    return problem, limits


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(problems())
def test_the_program_finds_what_trying_everything_finds(given_: tuple[Problem, Limits]) -> None:
    problem, limits = given_
    best = max((value(problem, answer) for answer in answers(problem, limits)), default=None)
    found = solve(problem, limits)
    if found is None:
        assert best is None
        return
    assert allowed(problem, limits, found)
    assert value(problem, found) == best


def test_a_swap_group_takes_the_greatest_of_its_members_on_each_device() -> None:
    columns = (
        Column(0, 0, {0: 60, 1: 10}, (50, None)),
        Column(0, 1, {0: 20, 1: 40}, (None, 50)),
    )
    problem = Problem(columns, {0: 60, 1: 40}, (1, 1), 2, swap=5)
    assert solve(problem, Limits()) is None
    found = solve(problem, Limits(swaps=True))
    assert found == Answer((0, 1), frozenset({0, 1}))
    assert value(problem, found) == 50 - 5 + 50 - 5
    assert solve(replace(problem, capacity={0: 60, 1: 39}), Limits(swaps=True)) is None


def test_equal_values_are_decided_by_memory_and_then_by_order() -> None:
    columns = (
        Column(0, 0, {0: 500}, (50,)),
        Column(0, 1, {0: 100}, (50,)),
        Column(0, 2, {0: 100}, (50,)),
    )
    problem = Problem(columns, {0: 1000}, (1,), 1)
    assert solve(problem, Limits()) == Answer((1,))


def test_one_device_works_for_all_that_lie_on_it() -> None:
    columns = (
        Column(0, 0, {0: 1}, (1, 1), busy=(0,), fixed=100, slope=10),
        Column(0, 1, {0: 1}, (1, 1), busy=(0, 1), fixed=7),
    )
    problem = Problem(columns, {0: 9, 1: 9}, (1, 1), 2)
    assert device_times(problem, Answer((0, 1))) == {0: 117, 1: 7}
    assert device_times(problem, Answer((0, 0))) == {0: 120}


def test_many_random_machines_are_solved_within_their_capacity() -> None:
    random_ = random.Random(7)  # noqa: S311 - sizes, no secret
    columns = tuple(
        Column(n % 4, n % 25, {n % 4: random_.randint(1, 60)}, tuple(random_.randint(100, 900) for _ in range(6)))
        for n in range(200)
    )
    problem = Problem(columns, dict.fromkeys(range(4), 100), (10,) * 6, 5, weakest=5, column=10)
    found = solve(problem, Limits())
    assert found is not None
    assert fits(problem, found)
