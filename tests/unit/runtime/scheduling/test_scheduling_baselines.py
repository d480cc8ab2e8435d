"""The policies of others, which ours is compared with: fair ones, on the same ledger and places."""

from __future__ import annotations

import random

import pytest
from virtual_machine import Machine, Request, waits

from ansambl.domain.scheduling import RequestClass
from ansambl.runtime.scheduling.baselines import Fifo, LeastRecentlyUsed
from ansambl.runtime.scheduling.ledger import Ledger
from ansambl.runtime.scheduling.records import Ask, Grant, InstanceFacts, Load, Rest
from ansambl.runtime.scheduling.scheduler import Scheduler

INTERACTIVE = RequestClass.INTERACTIVE


def facts(model, size=60, **changes):
    return InstanceFacts(model, **{"needs": {"gpu0": size}, "load_seconds": 5.0, "stop_seconds": 1.0, **changes})


def machine(make, *instances):
    return Machine(make(Ledger({"gpu0": 100})), {one.model: one for one in instances})


@pytest.mark.parametrize("make", [Fifo, LeastRecentlyUsed])
def test_models_that_fit_are_resident_together_and_use_all_places(make):
    held = machine(make, facts("a", 50, places=2), facts("b", 50, places=2))
    for index in range(8):
        held.send(Request(10.0 * index, Ask("ab"[index % 2]), 15.0))
    held.run()
    assert held.swaps == 0
    assert waits(held.requests)[-1] <= 5.0


def test_fifo_holds_up_all_behind_the_first_that_needs_another_model():
    policy = Fifo(Ledger({"gpu0": 100}))
    for one in (facts("a", places=2), facts("b")):
        policy.add(one, 0.0)
    policy.ask(Ask("a"), 0.0)
    (first,) = policy.loaded("a", 5.0)
    policy.ask(Ask("b"), 6.0)
    later, effects = policy.ask(Ask("a"), 7.0)
    assert not list(effects), "there is a place, but it came after"
    assert list(policy.release("a", first.slots[0], 8.0)) == [Rest("a", None, "b")]
    assert list(policy.rested("a", 9.0)) == [Load("b")]
    (second,) = policy.loaded("b", 14.0)
    assert list(policy.release("b", second.slots[0], 15.0)) == [Rest("b", None, "a")]
    assert list(policy.rested("b", 16.0)) == [Load("a")]
    assert [one.ticket for one in policy.loaded("a", 21.0)] == [later]


def test_fifo_serves_what_came_before_a_swap():
    policy = Fifo(Ledger({"gpu0": 100}))
    for one in (facts("a"), facts("b")):
        policy.add(one, 0.0)
    policy.ask(Ask("a"), 0.0)
    (held,) = policy.loaded("a", 5.0)
    before, _ = policy.ask(Ask("a"), 6.0)
    policy.ask(Ask("b"), 7.0)
    (grant,) = policy.release("a", held.slots[0], 8.0)
    assert grant.ticket == before
    assert list(policy.release("a", grant.slots[0], 9.0)) == [Rest("a", None, "b")]


def test_the_least_recently_used_goes_at_once():
    policy = LeastRecentlyUsed(Ledger({"gpu0": 100}))
    for one in (facts("old", 45, load_seconds=100.0), facts("new", 45), facts("c", 50)):
        policy.add(one, 0.0)
    for when, model in ((1.0, "old"), (2.0, "new")):
        policy.ask(Ask(model), when)
        (grant,) = policy.loaded(model, when)
        policy.release(model, grant.slots[0], when)
    busy, effects = policy.ask(Ask("old"), 1.5)
    assert list(effects) == [Grant(busy, "old", (0,))]
    policy.release("old", 0, 1.6)
    assert list(policy.ask(Ask("c"), 3.0)[1]) == [Rest("old", None, "c")]


def test_a_task_is_a_request_like_any_other_to_them():
    for make in (Fifo, LeastRecentlyUsed):
        policy = make(Ledger({"gpu0": 100}))
        for one in (facts("a"), facts("b")):
            policy.add(one, 0.0, holds=one.needs if one.model == "a" else None)
        assert list(policy.ask(Ask("b", RequestClass.TASK), 1.0)[1]) == [Rest("a", None, "b")]


def trace(seed):
    """Sessions of people with two to four models that do not fit together, at a load that one machine can bear."""
    random_ = random.Random(seed)  # noqa: S311
    answer, models = random_.uniform(2, 10), "abcd"[: random_.randint(2, 4)]
    instances = {
        one: facts(one, random_.choice([60, 80]), places=2, load_seconds=random_.uniform(3, 25), answer_seconds=answer)
        for one in models
    }
    requests, now = [], 0.0
    for _ in range(25):
        now += random_.expovariate(1 / 60)
        model, when = random_.choice(models), now
        for _ in range(random_.randint(1, 6)):
            seconds = random_.expovariate(1 / answer)
            requests.append((when, model, seconds))
            when += seconds + random_.uniform(1, 20)
    return instances, requests


def outcome(make, seed):
    instances, requests = trace(seed)
    held = machine(make, *instances.values())
    for when, model, seconds in requests:
        held.send(Request(when, Ask(model), seconds))
    held.run()
    found = waits(held.requests, INTERACTIVE)
    assert len(found) == len(requests), "everybody was served"
    return held.swaps, found[int(0.95 * len(found))], found[-1]


def test_ours_swaps_less_and_makes_people_wait_less():
    ours, fifo, lru = ([outcome(make, seed) for seed in range(12)] for make in (Scheduler, Fifo, LeastRecentlyUsed))
    for mine, theirs in zip(ours, fifo, strict=True):
        assert mine[0] <= theirs[0]
        assert mine[1] <= theirs[1]
        assert mine[2] <= theirs[2]
    for others in (fifo, lru):
        for index in range(3):
            assert sum(one[index] for one in ours) < sum(one[index] for one in others)


def steady(seed):
    """Two or three models alike, requests one by one at half of what one queue can bear: a swap for nearly each."""
    random_ = random.Random(seed)  # noqa: S311
    answer, load, models = random_.uniform(1, 15), random_.uniform(1, 30), "abc"[: random_.randint(2, 3)]
    instances = {one: facts(one, load_seconds=load, answer_seconds=answer) for one in models}
    pause = 2 * (answer + (1 - 1 / len(models)) * (load + 1))
    requests, now = [], 0.0
    for _ in range(150):
        now += random_.expovariate(1 / pause)
        requests.append((now, random_.choice(models), random_.expovariate(1 / answer)))
    return instances, requests


def test_where_collecting_saves_nothing_nobody_waits_longer_than_in_one_queue():
    """Before one queue was imagined (`one_queue`), the longest wait was longer on eight of these."""
    longer = 0
    for seed in range(24):
        instances, requests = steady(seed)
        longest = []
        for make in (Scheduler, Fifo):
            held = machine(make, *instances.values())
            for when, model, seconds in requests:
                held.send(Request(when, Ask(model), seconds))
            held.run()
            longest.append(waits(held.requests, INTERACTIVE)[-1])
        longer += longest[0] > longest[1] + 1e-6
    assert longer <= 1
