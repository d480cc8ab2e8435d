"""Which residents go: as little as is enough, the cheapest to bring back."""

from __future__ import annotations

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from ansambl.runtime.scheduling.eviction import Resident, Way, choose


def resident(model, frees, cost, *more, must_go=False):
    return Resident(model, (Way(None, frees, cost), *more), must_go)


def test_the_cheapest_that_are_enough_go():
    small, big, dear = resident("s", {"g": 30}, 1), resident("b", {"g": 60}, 5), resident("d", {"g": 90}, 50)
    assert set(choose({"g": -20}, [small, big, dear])) == {"s"}
    assert set(choose({"g": -50}, [small, big, dear])) == {"b"}
    assert set(choose({"g": -80}, [small, big, dear])) == {"s", "b"}
    assert choose({"g": -200}, [small, big, dear]) is None
    assert choose({"g": 0}, [small, big, dear]) == {}


def test_who_sleeps_must_have_room_for_that():
    sleeper = resident("a", {"g": 60}, 20, Way(1, {"g": 60, "ram": -50}, 2))
    assert choose({"g": -10, "ram": 50}, [sleeper])["a"].level == 1
    assert choose({"g": -10, "ram": 49}, [sleeper])["a"].level is None


def test_who_must_go_goes():
    assert set(choose({"g": 5}, [resident("a", {"g": 1}, 9, must_go=True), resident("b", {"g": 1}, 1)])) == {"a"}


_RESIDENTS = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(-20, 60), st.integers(-20, 60), st.integers(0, 20)), min_size=1, max_size=3),
        st.booleans(),
    ),
    max_size=5,
)


@settings(max_examples=60)
@given(st.integers(-100, 20), st.integers(-100, 20), _RESIDENTS)
def test_no_combination_is_cheaper(x, y, drawn):
    """Against all combinations there are."""
    residents = [
        Resident(
            "abcde"[index],
            tuple(Way(level, {"x": dx, "y": dy}, cost) for level, (dx, dy, cost) in enumerate(ways)),
            must,
        )
        for index, (ways, must) in enumerate(drawn)
    ]
    costs = []
    for combination in product(*[(*one.ways, *(() if one.must_go else (None,))) for one in residents]):
        ways = [way for way in combination if way is not None]
        if x + sum(way.frees["x"] for way in ways) >= 0 and y + sum(way.frees["y"] for way in ways) >= 0:
            costs.append(sum(way.cost for way in ways))
    found = choose({"x": x, "y": y}, residents)
    if not costs:
        assert found is None
    else:
        assert sum(way.cost for way in found.values()) == min(costs)
        assert x + sum(way.frees["x"] for way in found.values()) >= 0
        assert y + sum(way.frees["y"] for way in found.values()) >= 0


def test_of_many_residents_enough_go_and_none_in_vain():
    residents = [resident(f"m{index:02}", {"g": 10 + index}, 1 + index % 7) for index in range(40)]
    found = choose({"g": -200}, residents)
    freed = sum(way.frees["g"] for way in found.values())
    assert freed >= 200
    assert all(freed - way.frees["g"] < 200 for way in found.values())
    assert found == choose({"g": -200}, list(reversed(residents))), "in whatever order they are told"
