"""Which residents go so that wanted memory fits: those that cost least to bring back, and no more than needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

EXACT_UP_TO = 12
"""With more residents than that the choice is greedy: all combinations would be too many."""

_MOST_STEPS = 20_000


@dataclass(frozen=True, slots=True)
class Way:
    """One way to let a resident go: to sleep at `level`, or to stop it where that is None.

    It `frees` that much by device, less than nothing where sleeping takes memory, and costs that many expected seconds.
    """

    level: int | None
    frees: Mapping[str, int]
    cost: float


@dataclass(frozen=True, slots=True)
class Resident:
    """A resident that may go, in one of several ways; one that `must_go` goes whatever it costs."""

    model: str
    ways: tuple[Way, ...]
    must_go: bool = False


def choose(free: Mapping[str, int], residents: Sequence[Resident]) -> dict[str, Way] | None:
    """The cheapest set of residents that must go so that `free` (negative: bytes that lack) is 0 or more everywhere.

    Returns:
        How each that goes goes, by its model; None where all of them would not be enough.
    """
    residents = sorted(residents, key=lambda one: (not one.must_go, min(way.cost for way in one.ways), one.model))
    search = _Search(residents)
    whole = len(residents) <= EXACT_UP_TO
    if whole:
        search.exact(0, dict(free), 0.0, {})
    if not whole or search.steps > _MOST_STEPS:
        greedy = _greedy(free, residents)
        if greedy is not None and (search.best is None or _cost(greedy) < search.cost):
            return greedy
    return search.best


def _cost(chosen: Mapping[str, Way]) -> float:
    return sum(way.cost for way in chosen.values())


def _after(free: Mapping[str, int], way: Way) -> dict[str, int]:
    left = dict(free)
    for device, size in way.frees.items():
        left[device] = left.get(device, 0) + size
    return left


def _enough(free: Mapping[str, int]) -> bool:
    return all(size >= 0 for size in free.values())


class _Search:
    """A search through all combinations that leaves out what cannot be better than the best so far."""

    def __init__(self, residents: Sequence[Resident]) -> None:
        self.residents = residents
        self.best: dict[str, Way] | None = None
        self.cost = float("inf")
        self.steps = 0
        # What all from this one on could free at most.
        self.most: list[dict[str, int]] = [{}]
        for one in reversed(residents):
            most = dict(self.most[0])
            for device in {device for way in one.ways for device in way.frees}:
                most[device] = most.get(device, 0) + max(0, *(way.frees.get(device, 0) for way in one.ways), 0)
            self.most.insert(0, most)

    def exact(self, index: int, free: Mapping[str, int], cost: float, chosen: dict[str, Way]) -> None:
        """Try all that can be done with the residents from `index` on."""
        self.steps += 1
        if cost >= self.cost or self.steps > _MOST_STEPS:
            return
        forced = index < len(self.residents) and self.residents[index].must_go
        if not forced and _enough(free):
            self.best, self.cost = dict(chosen), cost
            return
        if index == len(self.residents):
            return
        most = self.most[index]
        if any(size + most.get(device, 0) < 0 for device, size in free.items()):
            return
        one = self.residents[index]
        for way in one.ways:
            chosen[one.model] = way
            self.exact(index + 1, _after(free, way), cost + way.cost, chosen)
            del chosen[one.model]
        if not forced:
            self.exact(index + 1, free, cost, chosen)


def _greedy(free: Mapping[str, int], residents: Sequence[Resident]) -> dict[str, Way] | None:
    """Take those first that free most of what lacks for their cost; then leave out whoever was not needed."""
    left, chosen, rest = dict(free), {}, list(residents)
    for one in [one for one in rest if one.must_go]:
        chosen[one.model] = min(one.ways, key=lambda way: way.cost)
        left = _after(left, chosen[one.model])
        rest.remove(one)
    while not _enough(left):
        best: tuple[float, str, Resident, Way] | None = None
        for one in rest:
            for way in one.ways:
                useful = sum(min(size, -left[d]) for d, size in way.frees.items() if left.get(d, 0) < 0 < size)
                if useful and not any(left.get(d, 0) + size < 0 for d, size in way.frees.items() if size < 0):
                    value = (way.cost + 1e-9) / useful
                    if best is None or (value, one.model) < best[:2]:
                        best = (value, one.model, one, way)
        if best is None:
            return None
        chosen[best[1]] = best[3]
        left = _after(left, best[3])
        rest.remove(best[2])
    forced = {one.model for one in residents if one.must_go}
    for model in sorted(chosen, key=lambda name: (-chosen[name].cost, name)):
        without = {device: size - chosen[model].frees.get(device, 0) for device, size in left.items()}
        if model not in forced and _enough(without):
            del chosen[model]
            left = without
    return chosen
