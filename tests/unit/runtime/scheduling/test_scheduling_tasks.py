"""Titles, tags and follow-ups, and what nobody waits for: they are served beside the others and never swap a model."""

from __future__ import annotations

from ansambl.domain.scheduling import RequestClass
from ansambl.runtime.scheduling.ledger import Ledger
from ansambl.runtime.scheduling.records import Ask, Grant, InstanceFacts, Load, Refusal, Refuse, Residency, Rest, Rules
from ansambl.runtime.scheduling.scheduler import Scheduler

TASK, BACKGROUND = RequestClass.TASK, RequestClass.BACKGROUND
DELAY = Rules().task_delay


def facts(model, size=60, **changes):
    return InstanceFacts(model, **{"needs": {"gpu0": size}, "load_seconds": 10.0, "stop_seconds": 1.0, **changes})


def scheduler(*instances, rules=None, running=()):
    policy = Scheduler(Ledger({"gpu0": 100}), rules)
    for one in instances:
        policy.add(one, 0.0, holds=one.needs if one.model in running else None)
    return policy


def test_a_title_that_arrives_just_before_its_chat_does_not_take_the_place():
    policy = scheduler(facts("a"), running="a")
    title, effects = policy.ask(Ask("a", TASK), 10.0)
    assert not list(effects)
    chat, effects = policy.ask(Ask("a"), 10.1)
    assert list(effects) == [Grant(chat, "a", (0,))]
    assert not list(policy.tick(10.0 + DELAY))
    assert list(policy.release("a", 0, 12.0)) == [Grant(title, "a", (0,))]


def test_a_task_is_served_when_nobody_else_waits():
    policy = scheduler(facts("a"), running="a")
    first, _ = policy.ask(Ask("a"), 1.0)
    title, _ = policy.ask(Ask("a", TASK), 2.0)
    person, _ = policy.ask(Ask("a"), 9.0)
    assert policy.view("a").waiting_by_class == {RequestClass.INTERACTIVE: 1, TASK: 1}
    assert [one.ticket for one in policy.release("a", 0, 10.0)] == [person]
    assert [one.ticket for one in policy.release("a", 0, 11.0)] == [title]
    assert first < title


def test_a_task_goes_to_the_resident_chat_model_that_is_least_busy():
    policy = scheduler(
        facts("a", 20, places=2), facts("b", 20, places=2), facts("e", 20, chats=False), facts("out"), running="abe"
    )
    policy.ask(Ask("a"), 1.0)
    ticket, _ = policy.ask(Ask("out", TASK), 2.0)
    (grant,) = policy.tick(2.0 + DELAY)
    assert (grant.ticket, grant.model) == (ticket, "b")
    named, _ = policy.ask(Ask("a", TASK), 3.0)
    assert [(one.ticket, one.model) for one in policy.tick(3.0 + DELAY)] == [(named, "a")]


def test_a_task_is_refused_when_no_model_can_answer_it():
    policy = scheduler(facts("a"), facts("e", 20, chats=False), running="e")
    ticket, effects = policy.ask(Ask("a", TASK), 1.0)
    assert not list(effects), "it loads nothing"
    assert list(policy.tick(1.0 + DELAY)) == [Refuse(ticket, Refusal.NO_MODEL_FOR_TASK)]


def test_a_task_waits_for_a_model_that_is_loading_as_long_as_its_patience():
    policy = scheduler(facts("a"))
    chat, effects = policy.ask(Ask("a"), 0.0)
    assert list(effects) == [Load("a")]
    title, _ = policy.ask(Ask("a", TASK), 1.0)
    hasty, _ = policy.ask(Ask("a", TASK, patience=3.0), 1.0)
    assert not list(policy.tick(1.0 + DELAY))
    assert list(policy.tick(4.0)) == [Refuse(hasty, Refusal.EXPIRED)]
    assert [one.ticket for one in policy.loaded("a", 10.0)] == [chat]
    assert [one.ticket for one in policy.release("a", 0, 11.0)] == [title]


def test_a_task_goes_elsewhere_when_its_model_is_drained():
    policy = scheduler(facts("a", 50), facts("b", 40), facts("c", 50), running="ab")
    policy.ask(Ask("a"), 100.0)
    policy.ask(Ask("b"), 100.0)
    policy.ask(Ask("c"), 101.0)
    while policy.view("a").residency is Residency.IN:
        policy.tick(policy.next_time())
    now = 1000.0
    title, _ = policy.ask(Ask("a", TASK), now)
    assert not list(policy.tick(now + DELAY))
    assert list(policy.release("b", 0, now + 1)) == [Grant(title, "b", (0,))]


def test_the_model_that_is_named_for_tasks_answers_them_and_is_loaded_where_there_is_room():
    rules = Rules(task_model="small")
    policy = scheduler(facts("a"), facts("small", 30), rules=rules, running="a")
    ticket, _ = policy.ask(Ask("a", TASK), 1.0)
    assert list(policy.tick(1.0 + DELAY)) == [Load("small")]
    assert [(one.ticket, one.model) for one in policy.loaded("small", 3.0)] == [(ticket, "small")]
    tight = scheduler(facts("a", 80), facts("small", 30), rules=rules, running="a")
    ticket, _ = tight.ask(Ask("a", TASK), 1.0)
    assert list(tight.tick(1.0 + DELAY)) == [Grant(ticket, "a", (0,))], "nobody is unloaded for it"


def test_background_waits_until_its_model_is_resident_for_another_reason():
    policy = scheduler(facts("a"), facts("b"), running="a")
    background, effects = policy.ask(Ask("b", BACKGROUND), 1.0)
    assert not list(effects)
    person, effects = policy.ask(Ask("b"), 5.0)
    assert list(effects) == [Rest("a", None, "b")]
    policy.rested("a", 6.0)
    assert [one.ticket for one in policy.loaded("b", 16.0)] == [person]
    assert [one.ticket for one in policy.release("b", 0, 17.0)] == [background]


def test_background_is_loaded_into_room_that_nobody_wants_and_expires():
    policy = scheduler(facts("a"), facts("b", 40), facts("c", 40), running="a")
    assert list(policy.ask(Ask("b", BACKGROUND), 1.0)[1]) == [Load("b")]
    late, effects = policy.ask(Ask("c", BACKGROUND, patience=50.0), 2.0)
    assert not list(effects)
    policy.loaded("b", 11.0)
    assert policy.next_time() == 52.0
    assert list(policy.tick(52.0)) == [Refuse(late, Refusal.EXPIRED)]


def test_background_that_waits_keeps_no_model_from_leaving_and_its_answer_is_not_cut():
    policy = scheduler(facts("a"), facts("b"), running="a")
    running, _ = policy.ask(Ask("a", BACKGROUND), 1.0)
    waiting, _ = policy.ask(Ask("a", BACKGROUND), 2.0)
    _, effects = policy.ask(Ask("b"), 3.0)
    assert not list(effects)
    assert policy.view("a").residency is Residency.DRAINING, "nobody waits for an answer from it"
    assert list(policy.release("a", 0, 9.0)) == [Rest("a", None, "b")]
    assert policy.view("a").waiting == 1
    assert running < waiting


def test_a_withdrawn_task_is_forgotten():
    policy = scheduler(facts("a"), running="a")
    ticket, _ = policy.ask(Ask("a", TASK), 1.0)
    policy.withdraw(ticket, 1.1)
    assert not list(policy.tick(100.0))
    assert policy.next_time() is None
