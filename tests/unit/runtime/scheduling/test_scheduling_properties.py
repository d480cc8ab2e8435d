"""What holds for any traffic: nobody is lost or starves, nothing in use is stopped, no memory is promised twice."""

from __future__ import annotations

import random

import pytest
from virtual_machine import Machine, Request

from ansambl.domain.scheduling import RequestClass
from ansambl.runtime.scheduling.baselines import Fifo, LeastRecentlyUsed
from ansambl.runtime.scheduling.ledger import Ledger
from ansambl.runtime.scheduling.records import Ask, InstanceFacts, Rules, SleepFacts
from ansambl.runtime.scheduling.scheduler import Scheduler

BYPRODUCTS = {RequestClass.TASK, RequestClass.BACKGROUND}
DEVICES = ("ram", "gpu0", "gpu1")


class Watched(Machine):
    """Checks after each step that nothing is promised twice, and notes the stated bounds."""

    bounds: dict[int, float]

    def perform(self, effects):
        # `Machine` checks itself that nothing in flight is stopped and that no slot is used twice.
        super().perform(effects)
        for device in self.policy.devices():
            assert device.reserved <= device.capacity

    def _ask(self, request):
        super()._ask(request)
        if isinstance(self.policy, Scheduler):
            delay = self.policy.rules.batch_delay if request.ask.request_class is RequestClass.BATCH else 0.0
            self.at(self.now + delay, lambda: self.state_bound(request))

    def state_bound(self, request):
        bound = self.policy.bound_of(request.ticket)
        if bound is not None:
            self.__dict__.setdefault("bounds", {})[request.ticket] = (self.now, bound)


def drawn(seed, *, longest=20.0, calm=True):
    """Instances, rules and a trace, any of them. A calm one has no failures and no owner who interferes."""
    random_ = random.Random(seed)  # noqa: S311
    devices = DEVICES[: random_.randint(1, 3)]
    facts = {}
    for model in "abcde"[: random_.randint(2, 5)]:
        needs = {device: random_.randint(10, 90) for device in devices if random_.random() < 0.8}
        sleeps = (SleepFacts(1, {"ram": random_.randint(1, 40)}, random_.uniform(0.1, 2)),)
        facts[model] = InstanceFacts(
            model,
            needs,
            places=random_.choice([None, 1, 1, 2, 4]),
            load_seconds=random_.uniform(0.1, 20),
            stop_seconds=random_.uniform(0, 3),
            answer_seconds=random_.uniform(0.1, longest),
            warm=random_.random() < 0.2,
            chats=random_.random() < 0.8,
            sleeps=sleeps if random_.random() < 0.3 and "gpu0" in devices else (),
            pinned=not calm and random_.random() < 0.1,
            ttl=random_.choice([None, None, 5.0, 60.0]),
        )
    rules = Rules(
        longest_answer=longest,
        batch_delay=random_.choice([0.0, 5.0, 30.0]),
        swap_share=random_.choice([0.1, 0.25, 0.5, 1.0]),
        longest_wait=random_.choice([60.0, 900.0, 5000.0]),
        queue_limit=random_.choice([3, 256]),
        together=random_.choice([(), (), (frozenset("ab"), frozenset("bcd"))]),
        task_model=random_.choice([None, "a"]),
    )
    span = random_.choice([5, 50, 300])
    trace = [
        Request(
            random_.uniform(0, span),
            Ask(
                random_.choice(list(facts)),
                random_.choices(list(RequestClass), [5, 2, 1, 1])[0],
                random_.choice([b"", b"aaa", b"abb" * 5]),
                random_.choice([0, 1, 1, 1, 1, 2, 9]),
                random_.choice([None, 10.0]),
            ),
            random_.choice([longest, random_.uniform(0.01, longest)]),
            random_.choice([None, None, None, random_.uniform(0, 20)]),
        )
        for _ in range(random_.randint(5, 60))
    ]
    return facts, rules, dict.fromkeys(devices, 100), trace


def play(seed, make=Scheduler, *, calm=True, only=None):
    facts, rules, totals, trace = drawn(seed, calm=calm)
    random_ = random.Random(seed + 1)  # noqa: S311
    policy = make(Ledger(totals), rules)
    machine = Watched(policy, facts)
    for one in trace:
        if only is None or one.ask.request_class in only:
            machine.send(one)
    if not calm:
        machine.fails = {model: random_.randint(0, 3) for model in facts if random_.random() < 0.3}
        for _ in range(random_.randint(1, 4)):
            model, when = random_.choice(list(facts)), random_.uniform(0, 300)
            event = random_.choice(
                [
                    lambda model=model: policy.rest(model, random_.choice([None, 1, 2]), machine.now),
                    lambda model=model: policy.remove(model, machine.now),
                    lambda model=model: policy.add(facts[model], machine.now),
                ]
            )
            machine.at(when, lambda event=event: machine.perform(event()))
    machine.run(limit=50_000)
    return machine


@pytest.mark.parametrize("make", [Scheduler, Fifo, LeastRecentlyUsed])
@pytest.mark.parametrize("calm", [True, False])
def test_every_request_ends_and_nothing_is_left(make, calm):
    for seed in range(40):
        machine = play(seed, make, calm=calm)
        for one in machine.requests:
            assert one.withdrawn or one.granted is not None or one.refused is not None, (seed, one)
        assert machine.busy_slots == set()
        reserved = dict.fromkeys(DEVICES, 0)
        for model in machine.facts:
            try:
                view = machine.policy.view(model)
            except KeyError:
                continue
            assert (view.running, view.waiting) == (0, 0), (seed, model)
            for device, size in view.reserved.items():
                reserved[device] += size
        for device in machine.policy.devices():
            assert device.reserved == reserved[device.device], "nothing is reserved for who is not there"


def test_nobody_waits_longer_than_was_said():
    """The theorem of `bounds`, for any traffic; and it is no empty word: some wait half as long as they might."""
    closest = 0.0
    for seed in range(1000, 1120):
        machine = play(seed)
        for one in machine.requests:
            if one.ticket in machine.__dict__.get("bounds", {}) and one.granted is not None:
                began, bound = machine.bounds[one.ticket]
                assert one.granted - began <= bound + 1e-6, (seed, one, bound)
                closest = max(closest, (one.granted - began) / bound)
    assert closest > 0.5


def test_the_bound_is_not_far_from_what_can_happen():
    """Two models by turns, one place each, answers as long as they may be, swaps cheap beside them: a worst case."""
    facts = {
        one: InstanceFacts(one, {"ram": 60}, load_seconds=1.0, stop_seconds=0.1, answer_seconds=60.0) for one in "ab"
    }
    policy = Scheduler(Ledger({"ram": 100}), Rules(longest_answer=60.0, longest_wait=1e6, swap_share=1.0))
    machine = Watched(policy, facts)
    for index in range(10):
        machine.send(Request(index * 0.1, Ask("ab"[index % 2]), 60.0))
    last = machine.requests[-1]
    machine.run()
    assert machine.swaps >= 8
    assert last.wait > 500
    assert machine.bounds[last.ticket][1] < 2 * last.wait


def test_tasks_and_background_cause_no_swap():
    for seed in range(60):
        machine = play(seed, only=BYPRODUCTS)
        assert machine.swaps == 0
        assert all(wanted is None for _, _, _, wanted in machine.rests)


def test_the_same_traffic_has_the_same_outcome():
    for seed in range(0, 40, 4):
        one, other = play(seed, calm=False), play(seed, calm=False)
        assert (one.loads, one.rests) == (other.loads, other.rests)
        assert [(it.granted, it.refused) for it in one.requests] == [(it.granted, it.refused) for it in other.requests]
