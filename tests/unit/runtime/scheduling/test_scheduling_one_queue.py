"""The imagined queue in order of arrival: what people would wait there, and what follows for swaps."""

from __future__ import annotations

import pytest
from virtual_machine import Machine, Request

from ansambl.domain.scheduling import RequestClass
from ansambl.runtime.scheduling.ledger import Ledger
from ansambl.runtime.scheduling.one_queue import OneQueue
from ansambl.runtime.scheduling.records import Ask, Grant, InstanceFacts, Residency, Rules
from ansambl.runtime.scheduling.scheduler import Scheduler
from ansambl.runtime.scheduling.states import State
from ansambl.runtime.slots import Slots


def facts(model, size=60, **changes):
    timing = {"load_seconds": 10.0, "stop_seconds": 1.0, "answer_seconds": 4.0}
    return InstanceFacts(model, **{"needs": {"gpu0": size}, **timing, **changes})


class Imagined:
    """One queue over these instances."""

    def __init__(self, *instances, rules=None):
        self.states = {one.model: State(one, dict(one.needs), Slots(one.places), 0) for one in instances}
        for one in self.states.values():
            one.take_figures()
        self.queue = OneQueue(self.states, Ledger({"gpu0": 100}), rules or Rules())

    def wait(self, model, now, **ask):
        self.queue.note(self.states[model], Ask(model, **ask), now)
        return self.queue.wait()


def test_each_change_of_the_model_waits_for_the_answers_before_it_and_for_the_swap():
    one = Imagined(facts("a", places=2), facts("b"))
    assert one.wait("a", 0.0) == 10
    assert one.wait("a", 0.0) == 10
    assert one.wait("a", 0.0) == 14, "two places, answers of 4 s"
    # a is done at 18, stops in 1 s, and b loads in 10 s.
    assert one.wait("b", 2.0) == 27
    assert one.wait("a", 3.0) == 29 + 4 + 1 + 10 - 3
    assert one.queue.worst == pytest.approx(41)


def test_models_that_fit_together_wait_for_no_swap_of_each_other():
    one = Imagined(facts("a", 40), facts("b", 40), facts("c", 40))
    assert one.wait("a", 0.0) == 10
    assert one.wait("b", 20.0) == 10
    assert (one.wait("a", 40.0), one.wait("b", 40.0)) == (0, 0)
    assert one.wait("c", 50.0) == 11, "a goes, which was used longest ago"
    assert one.wait("b", 70.0) == 0
    assert one.wait("a", 80.0) == 11


def test_models_that_may_not_be_there_together_go_for_each_other():
    one = Imagined(
        facts("a", 10), facts("b", 10), facts("c", 10), rules=Rules(together=(frozenset("a"), frozenset("b")))
    )
    assert one.wait("a", 0.0) == 10
    assert one.wait("c", 20.0) == 10
    assert one.wait("b", 40.0) == 11
    assert one.wait("c", 60.0) == 0
    assert one.wait("a", 80.0) == 11


def test_what_is_pinned_or_somebody_elses_stays_and_what_runs_already_needs_no_load():
    one = Imagined(facts("a", pinned=True), facts("b"), facts("c", ours=False, needs={}))
    one.states["a"].residency = Residency.IN
    assert one.wait("a", 0.0) == 0
    assert one.wait("c", 10.0) == 0
    assert one.wait("b", 20.0) == 10
    assert one.wait("a", 40.0) == 0


def test_who_would_be_refused_there_is_not_in_the_queue():
    one = Imagined(facts("a"), rules=Rules(longest_wait=30.0))
    found = [one.wait("a", 0.0) for _ in range(9)]
    assert found == [10, 14, 18, 22, 26, 30, 30, 30, 30]
    assert one.wait("a", 10.0) == 20, "the five before it are served by 30"


def test_many_requests_that_nobody_asked_about_are_booked_all_the_same():
    one = Imagined(facts("a"))
    for index in range(1000):
        one.queue.note(one.states["a"], Ask("a"), index * 4.0)
    assert one.queue.wait() == 10, "also when the last one filled the notes"
    assert one.wait("a", 4000.0) == 10


def test_what_was_taken_out_holds_no_room_and_other_places_count_at_once():
    one = Imagined(facts("a"), facts("b"))
    one.wait("a", 0.0)
    old = one.states.pop("a")
    assert one.wait("b", 100.0) == 10
    old.facts = facts("b", places=2)
    state = one.states["b"]
    state.facts = facts("b", places=2)
    state.slots.resize(2)
    assert [one.wait("b", 200.0) for _ in range(3)] == [0, 0, 4]


def resident(model, *instances):
    policy = Scheduler(Ledger({"gpu0": 100}))
    for one in instances:
        policy.add(one, 0.0, holds=one.needs if one.model == model else None)
    return policy


def test_in_light_traffic_a_swap_begins_as_soon_as_in_one_queue():
    """A long answer runs, and the model that works on it came a moment ago: its turn would last 32 s."""
    policy = resident("a", facts("a", places=2), facts("b"))
    _, (first,) = policy.ask(Ask("a"), 0.0)
    policy.release("a", first.slots[0], 3.0, seconds=3.0)
    policy.ask(Ask("a"), 5.0)
    assert list(policy.ask(Ask("b"), 6.0)[1]) == []
    assert policy.view("a").residency is Residency.DRAINING


def test_where_people_waited_long_requests_are_collected_again():
    policy = resident("a", facts("a", places=2), facts("b"))
    _, (first,) = policy.ask(Ask("a"), 0.0)
    policy.release("a", first.slots[0], 3.0, seconds=3.0)
    policy._one_queue.worst = 100.0
    policy.ask(Ask("a"), 5.0)
    policy.ask(Ask("b"), 6.0)
    assert policy.view("a").residency is Residency.IN


def test_who_came_after_one_that_cannot_wait_does_not_begin_before_it():
    """An answer took 40 s lately, so one that came later might hold up the swap for too long. It would, for 60 s."""
    machine = Machine(Scheduler(Ledger({"gpu0": 100})), {one.model: one for one in (facts("a"), facts("b", places=4))})
    for index in range(6):
        machine.send(Request(100.0 * index, Ask("ab"[index % 2]), 40.0 if index == 5 else 4.0))
    before, waits_for_a, after = Request(700.0, Ask("b")), Request(701.0, Ask("a")), Request(702.0, Ask("b"), 60.0)
    machine.send(Request(600.0, Ask("a"), 4.0))
    for one in (before, waits_for_a, after):
        machine.send(one)
    machine.run()
    assert before.granted == 711.0
    assert waits_for_a.granted == 723.0, "the answer before it takes 1 s, the swap 11 s"
    assert after.granted > waits_for_a.granted


def test_a_program_that_waits_for_each_answer_keeps_the_turn_of_its_model():
    policy = resident("a", facts("a", answer_seconds=1.0), facts("b", load_seconds=1.0))
    now = 0.0
    for _ in range(5):
        _, (held,) = policy.ask(Ask("a"), now)
        policy.release("a", held.slots[0], now + 1.0, seconds=1.0)
        now += 1.01
    policy.ask(Ask("a"), now)
    policy.ask(Ask("b"), now + 0.5)
    assert policy.view("a").residency is Residency.IN


def test_titles_that_come_right_after_an_answer_make_no_loop():
    policy = resident("a", facts("a"), facts("b"))
    for index in range(4):
        _, (held,) = policy.ask(Ask("a"), 100.0 * index)
        assert isinstance(held, Grant)
        policy.release("a", held.slots[0], 100.0 * index + 4, seconds=4.0)
        _, (title,) = policy.ask(Ask("a", RequestClass.TASK, patience=0.0), 100.0 * index + 4.01)
        assert isinstance(title, Grant)
        policy.release("a", title.slots[0], 100.0 * index + 5, seconds=1.0)
    policy.ask(Ask("a"), 400.0)
    policy.ask(Ask("b"), 401.0)
    assert policy.view("a").residency is Residency.DRAINING
