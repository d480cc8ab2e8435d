"""Who is served, and what is loaded, drained and unloaded for whom."""

from __future__ import annotations

import pytest
from virtual_machine import Machine, Request, waits

from ansambl.domain.scheduling import RequestClass
from ansambl.runtime.scheduling.ledger import Ledger
from ansambl.runtime.scheduling.records import (
    Ask,
    Grant,
    InstanceFacts,
    Load,
    Refusal,
    Refuse,
    Residency,
    Rest,
    Rules,
    SleepFacts,
)
from ansambl.runtime.scheduling.scheduler import Scheduler

INTERACTIVE, BATCH = RequestClass.INTERACTIVE, RequestClass.BATCH
BACKGROUND = RequestClass.BACKGROUND


def facts(model, size=60, **changes):
    return InstanceFacts(model, **{"needs": {"gpu0": size}, "load_seconds": 10.0, "stop_seconds": 1.0, **changes})


def scheduler(*instances, rules=None, capacity=100, **more):
    policy = Scheduler(Ledger({"gpu0": capacity, **more}), rules)
    for one in instances:
        policy.add(one, 0.0)
    return policy


def resident(policy, *models, now=0.0):
    """Have models loaded by a request each that is over at once."""
    for model in models:
        _, effects = policy.ask(Ask(model), now)
        assert list(effects) == [Load(model)]
        (grant,) = policy.loaded(model, now)
        policy.release(model, grant.slots[0] if grant.slots else None, now)
    return policy


def kinds(effects):
    return [type(one).__name__ for one in effects]


def test_a_load_is_asked_for_once_and_serves_all_that_waited():
    policy = scheduler(facts("a", places=2))
    first, effects = policy.ask(Ask("a"), 0.0)
    assert list(effects) == [Load("a")]
    second, effects = policy.ask(Ask("a"), 1.0)
    third, _ = policy.ask(Ask("a"), 2.0)
    assert list(effects) == []
    assert policy.view("a").reserved == {"gpu0": 60}, "predicted until it runs"
    effects = policy.loaded("a", 10.0, holds={"gpu0": 55})
    assert [one.ticket for one in effects] == [first, second]
    assert policy.view("a").reserved == {"gpu0": 55}
    assert policy.view("a").measured
    (grant,) = policy.release("a", effects[0].slots[0], 11.0)
    assert grant == Grant(third, "a", effects[0].slots)


def test_new_facts_change_nothing_of_what_was_measured_of_a_model_in_memory():
    policy = scheduler(facts("a"))
    _, _ = policy.ask(Ask("a"), 0.0)
    (grant,) = policy.loaded("a", 10.0, holds={"gpu0": 55})
    policy.release("a", grant.slots[0], 11.0)
    policy.add(facts("a", 70), 12.0)
    assert policy.view("a").measured
    assert policy.view("a").reserved == {"gpu0": 55}


def test_what_fits_beside_is_loaded_beside():
    policy = scheduler(facts("a", 60), facts("b", 40))
    resident(policy, "a", "b")
    assert policy.view("a").residency is Residency.IN
    assert policy.view("b").residency is Residency.IN


def test_an_idle_model_goes_at_once_and_its_requests_bring_it_back():
    policy = resident(scheduler(facts("a"), facts("b")), "a")
    ticket, effects = policy.ask(Ask("b"), 5.0)
    assert list(effects) == [Rest("a", None, "b")]
    assert list(policy.rested("a", 6.0)) == [Load("b")]
    (grant,) = policy.loaded("b", 16.0)
    assert grant == Grant(ticket, "b", (0,), swaps=1)
    assert policy.view("a").residency is Residency.OUT


def test_a_model_in_use_is_drained_and_takes_no_new_requests():
    policy = resident(scheduler(facts("a", places=2), facts("b")), "a")
    _, (held,) = policy.ask(Ask("a"), 1000.0)
    _, effects = policy.ask(Ask("b"), 1001.0)
    # Nobody swapped for a long time, but its turn has begun just now... which a request that waits long enough ends.
    while policy.view("a").residency is Residency.IN:
        effects = policy.tick(policy.next_time())
    assert policy.view("a").residency is Residency.DRAINING
    assert policy.view("a").wanted == "b"
    _, effects = policy.ask(Ask("a"), 1100.0)
    assert list(effects) == []
    assert list(policy.release("a", held.slots[0], 1101.0)) == [Rest("a", None, "b")]


def test_a_drained_model_goes_on_when_nobody_wants_its_room_any_more():
    policy = resident(scheduler(facts("a"), facts("b")), "a")
    _, (held,) = policy.ask(Ask("a"), 1000.0)
    unwanted, _ = policy.ask(Ask("b"), 1001.0)
    while policy.view("a").residency is Residency.IN:
        policy.tick(policy.next_time())
    waiting, _ = policy.ask(Ask("a"), 1100.0)
    policy.withdraw(unwanted, 1101.0)
    assert policy.view("a").residency is Residency.IN
    (grant,) = policy.release("a", held.slots[0], 1102.0)
    assert grant.ticket == waiting


def test_requests_that_came_before_are_served_before_a_model_goes():
    policy = resident(scheduler(facts("a"), facts("b")), "a")
    _, (held,) = policy.ask(Ask("a"), 1000.0)
    older, _ = policy.ask(Ask("a"), 1001.0)
    policy.ask(Ask("b"), 1002.0)
    younger, _ = policy.ask(Ask("a"), 1003.0)
    assert not list(policy.tick(2000.0))
    (grant,) = policy.release("a", held.slots[0], 2000.0)
    assert grant.ticket == older, "and now it is drained"
    effects = list(policy.release("a", grant.slots[0], 2001.0))
    assert effects == [Rest("a", None, "b")]
    assert policy.view("a").waiting == 1
    assert younger


def test_interactive_comes_before_batch_until_batch_has_waited_its_delay():
    policy = resident(scheduler(facts("a"), rules=Rules(batch_delay=30)), "a")
    _, (held,) = policy.ask(Ask("a"), 100.0)
    batch, _ = policy.ask(Ask("a", BATCH), 101.0)
    person, _ = policy.ask(Ask("a"), 110.0)
    late, _ = policy.ask(Ask("a"), 140.0)
    background, _ = policy.ask(Ask("a", BACKGROUND), 90.0)
    order = []
    for _ in range(4):
        (held,) = policy.release("a", held.slots[0], 150.0)
        order.append(held.ticket)
    assert order == [person, batch, late, background]


def test_the_cheapest_to_bring_back_goes():
    policy = scheduler(facts("slow", 45, load_seconds=100.0), facts("quick", 45, load_seconds=5.0), facts("c", 50))
    resident(policy, "quick", "slow")
    _, effects = policy.ask(Ask("c"), 1.0)
    assert list(effects) == [Rest("quick", None, "c")]


def test_the_one_that_frees_what_lacks_goes():
    one = InstanceFacts("one", {"gpu0": 90}, load_seconds=1.0)
    two = InstanceFacts("two", {"gpu1": 90}, load_seconds=100.0)
    policy = scheduler(one, two, InstanceFacts("three", {"gpu1": 50}), gpu1=100)
    resident(policy, "one", "two")
    _, effects = policy.ask(Ask("three"), 1.0)
    assert list(effects) == [Rest("two", None, "three")]


def test_sleeping_beats_stopping_where_ram_allows_it():
    sleeps = (SleepFacts(1, {"ram": 50}, 2.0), SleepFacts(2, {}, 6.0))
    policy = scheduler(facts("a", sleeps=sleeps), facts("b"), ram=60)
    assert (policy.view("a").sleep_levels, policy.view("b").sleep_levels) == ((1, 2), ())
    resident(policy, "a")
    _, effects = policy.ask(Ask("b"), 5.0)
    assert list(effects) == [Rest("a", 1, "b")]
    assert list(policy.rested("a", 6.0, level=1)) == [Load("b")]
    assert policy.view("a").reserved == {"ram": 50}
    assert policy.view("a").residency is Residency.ASLEEP
    tight = resident(scheduler(facts("a", sleeps=sleeps), facts("b"), ram=40), "a")
    assert list(tight.ask(Ask("b"), 5.0)[1]) == [Rest("a", 2, "b")]


def test_who_sleeps_is_stopped_when_its_ram_is_wanted():
    sleeper = facts("a", sleeps=(SleepFacts(1, {"ram": 50}, 2.0),))
    policy = resident(scheduler(sleeper, InstanceFacts("r", {"ram": 30}), ram=60), "a")
    assert list(policy.rest("a", 1, 1.0)) == [Rest("a", 1, None)]
    policy.rested("a", 2.0, level=1)
    _, effects = policy.ask(Ask("r"), 3.0)
    assert list(effects) == [Rest("a", None, "r")]
    assert list(policy.rested("a", 4.0)) == [Load("r")]


def test_pinned_models_stay_and_what_cannot_fit_beside_them_is_refused():
    policy = resident(scheduler(facts("a", pinned=True), facts("b", 50), facts("c", 40)), "a")
    _, effects = policy.ask(Ask("b"), 5.0)
    (refused,) = effects
    assert (refused.refusal, refused.lacking) == (Refusal.DOES_NOT_FIT, {"gpu0": 10})
    assert list(policy.ask(Ask("c"), 5.0)[1]) == [Load("c")]
    _, (too_big,) = scheduler(facts("d", 130)).ask(Ask("d"), 0.0)
    assert too_big.lacking == {"gpu0": 30}


def test_other_programs_memory_is_respected():
    policy = scheduler(facts("a", 60))
    policy.foreign({"gpu0": 50}, 0.0)
    ticket, effects = policy.ask(Ask("a"), 1.0)
    assert not list(effects)
    assert list(policy.foreign({"gpu0": 40}, 2.0)) == [Load("a")]
    policy.load_failed("a", 3.0, out_of_memory=False, retry_after=0.0)
    assert ticket


def test_who_waits_for_what_other_programs_hold_is_refused_after_a_while():
    policy = scheduler(facts("a", 60), facts("b", 45))
    policy.foreign({"gpu0": 50}, 0.0)
    ticket, _ = policy.ask(Ask("a"), 1.0)
    while not (effects := list(policy.tick(policy.next_time()))):
        assert policy.next_time() <= 11.0
    assert effects == [Refuse(ticket, Refusal.DOES_NOT_FIT, lacking={"gpu0": 10})]
    assert list(policy.ask(Ask("b"), 12.0)[1]) == [Load("b")]


def test_what_cannot_sleep_stays_as_it_is():
    policy = resident(scheduler(facts("a", sleeps=(SleepFacts(1, {"ram": 50}, 2.0),)), ram=60), "a")
    assert list(policy.rest("a", 1, 1.0)) == [Rest("a", 1, None)]
    assert not list(policy.loaded("a", 2.0))
    assert policy.view("a").residency is Residency.IN
    assert policy.view("a").reserved == {"gpu0": 60}


def test_models_of_different_groups_are_not_resident_together():
    rules = Rules(together=(frozenset("ab"), frozenset("bc")))
    policy = scheduler(*(facts(one, 10) for one in "abcd"), rules=rules)
    resident(policy, "a", "b", "d")
    _, effects = policy.ask(Ask("c"), 1.0)
    assert list(effects) == [Rest("a", None, "c")], "b may stay, and d is in no group"
    assert list(policy.rested("a", 2.0)) == [Load("c")]


def test_the_queue_is_limited_and_withdrawing_makes_room():
    policy = resident(scheduler(facts("a"), rules=Rules(queue_limit=2)), "a")
    policy.ask(Ask("a"), 0.0)
    first, _ = policy.ask(Ask("a"), 0.0)
    policy.ask(Ask("a"), 0.0)
    _, (refused,) = policy.ask(Ask("a"), 0.0)
    assert refused.refusal is Refusal.QUEUE_FULL
    assert refused.retry_after >= 1
    policy.withdraw(first, 1.0)
    assert not list(policy.ask(Ask("a"), 1.0)[1])


def test_who_would_wait_too_long_is_refused_at_once():
    policy = resident(scheduler(facts("a", answer_seconds=100.0), rules=Rules(longest_wait=250.0)), "a")
    outcomes = [list(policy.ask(Ask("a"), 0.0)[1]) for _ in range(5)]
    assert kinds(outcomes[0]) == ["Grant"]
    assert outcomes[1] == outcomes[2] == outcomes[3] == []
    assert outcomes[4][0].refusal is Refusal.TOO_LONG
    assert outcomes[4][0].retry_after >= 1


def test_an_out_of_memory_is_tried_once_more_with_more_room_and_never_again():
    policy = resident(scheduler(facts("a", 40), facts("b", 40)), "a")
    ticket, effects = policy.ask(Ask("b"), 1.0)
    assert list(effects) == [Load("b")]
    assert list(policy.load_failed("b", 2.0, out_of_memory=True)) == [Rest("a", None, "b")]
    assert list(policy.rested("a", 3.0)) == [Load("b")]
    assert policy.view("b").reserved["gpu0"] >= 60, "all that was free was not enough"
    (refused,) = policy.load_failed("b", 4.0, out_of_memory=True, retry_after=7.0)
    assert refused == Refuse(ticket, Refusal.LOAD_FAILED, 7.0)
    assert policy.view("b").reserved == {}
    _, (again,) = policy.ask(Ask("b"), 5.0)
    assert again.refusal is Refusal.LOAD_FAILED
    assert again.retry_after == pytest.approx(6.0)
    assert list(policy.ask(Ask("b"), 11.5)[1]) == [Load("b")]


def test_another_failure_refuses_all_that_waited():
    policy = scheduler(facts("a"), facts("b"))
    tickets = [policy.ask(Ask("a"), 1.0)[0] for _ in range(3)]
    effects = policy.load_failed("a", 2.0, out_of_memory=False, retry_after=9.0)
    assert list(effects) == [Refuse(one, Refusal.LOAD_FAILED, 9.0) for one in tickets]
    assert policy.devices()[0].reserved == 0


def test_a_crashed_model_is_loaded_anew_for_those_that_wait():
    policy = resident(scheduler(facts("a")), "a")
    _, (held,) = policy.ask(Ask("a"), 1.0)
    waiting, _ = policy.ask(Ask("a"), 2.0)
    assert list(policy.rested("a", 3.0)) == [Load("a")]
    policy.release("a", held.slots[0], 3.0)
    (grant,) = policy.loaded("a", 13.0)
    assert grant.ticket == waiting


def test_an_owner_may_have_a_model_rest_and_the_next_request_brings_it_back():
    policy = scheduler(facts("a", warm=True))
    policy.loaded("a", 1.0)
    _, (held,) = policy.ask(Ask("a"), 1.0)
    assert not list(policy.rest("a", None, 2.0))
    assert list(policy.release("a", held.slots[0], 3.0)) == [Rest("a", None, None)]
    assert not list(policy.rested("a", 4.0)), "kept warm, but its owner wants it to rest"
    assert list(policy.ask(Ask("a"), 5.0)[1]) == [Load("a")]


def test_a_model_rests_when_nobody_used_it_for_its_time():
    policy = resident(scheduler(facts("a", ttl=60.0)), "a")
    assert policy.next_time() == 60.0
    _, (held,) = policy.ask(Ask("a"), 50.0)
    assert not list(policy.tick(60.0))
    policy.release("a", held.slots[0], 70.0)
    assert policy.view("a").rests_at == 130.0
    while policy.next_time() < 130.0:
        assert not list(policy.tick(policy.next_time()))
    assert list(policy.tick(130.0)) == [Rest("a", None, None)]


def test_warm_models_come_back_when_there_is_room_that_nobody_wants():
    policy = scheduler(facts("w", 50, warm=True), facts("b", 80))
    assert policy.view("w").residency is Residency.LOADING
    policy.loaded("w", 10.0)
    _, effects = policy.ask(Ask("b"), 11.0)
    assert list(effects) == [Rest("w", None, "b")]
    assert list(policy.rested("w", 12.0)) == [Load("b")]
    (grant,) = policy.loaded("b", 22.0)
    assert not list(policy.release("b", grant.slots[0], 23.0)), "there is no room for it"
    policy.rest("b", None, 24.0)
    assert list(policy.rested("b", 25.0)) == [Load("w")]


def test_a_removed_model_serves_what_it_has_and_is_forgotten():
    policy = resident(scheduler(facts("a")), "a")
    _, (held,) = policy.ask(Ask("a"), 1.0)
    waiting, _ = policy.ask(Ask("a"), 2.0)
    assert list(policy.remove("a", 3.0)) == [Refuse(waiting, Refusal.GONE)]
    assert list(policy.release("a", held.slots[0], 4.0)) == [Rest("a", None, None)]
    policy.rested("a", 5.0)
    with pytest.raises(KeyError):
        policy.view("a")
    assert policy.devices()[0].reserved == 0
    _, (refused,) = policy.ask(Ask("a"), 6.0)
    assert refused.refusal is Refusal.GONE


def test_an_adopted_model_is_resident_with_what_it_holds():
    policy = scheduler()
    policy.add(facts("a", 60), 0.0, holds={"gpu0": 72})
    assert policy.view("a").reserved == {"gpu0": 72}
    assert kinds(policy.ask(Ask("a"), 1.0)[1]) == ["Grant"]


def test_other_places_count_when_nothing_is_in_flight():
    policy = resident(scheduler(facts("a", places=1)), "a")
    _, (held,) = policy.ask(Ask("a"), 1.0)
    policy.add(facts("a", places=3), 2.0)
    assert not list(policy.ask(Ask("a"), 2.0)[1])
    (grant,) = policy.release("a", held.slots[0], 3.0)
    policy.release("a", grant.slots[0], 4.0)
    policy.rest("a", None, 5.0)
    policy.rested("a", 6.0)
    asked = [policy.ask(Ask("a"), 7.0) for _ in range(3)]
    assert len(asked) == 3
    assert len(policy.loaded("a", 17.0)) == 3


def test_what_somebody_else_runs_takes_no_room_and_is_never_stopped():
    attached = InstanceFacts("remote", places=None, ours=False)
    policy = scheduler(attached, facts("a", 100))
    grants = [one for _ in range(100) for one in policy.ask(Ask("remote"), 0.0)[1]]
    assert [one.slots for one in grants] == [()] * 100
    assert policy.view("remote").running == 100
    assert list(policy.ask(Ask("a"), 0.0)[1]) == [Load("a")]
    assert not list(policy.rest("remote", None, 1.0))


def test_a_request_without_places_keeps_a_model_resident():
    policy = resident(scheduler(facts("a", places=1), facts("b")), "a")
    _, (held,) = policy.ask(Ask("a"), 1.0)
    _, (keeper,) = policy.ask(Ask("a", count=0), 1.0)
    assert keeper.slots == ()
    policy.ask(Ask("b"), 2.0)
    policy.tick(5000.0)
    assert not list(policy.release("a", held.slots[0], 5001.0)), "it is kept"
    assert list(policy.release("a", None, 5002.0)) == [Rest("a", None, "b")]


def test_the_oldest_is_not_overtaken_in_memory_by_smaller_ones():
    policy = resident(scheduler(facts("a", 60), facts("big", 100), facts("small", 40)), "a")
    _, (held,) = policy.ask(Ask("a"), 1000.0)
    policy.ask(Ask("big"), 1001.0)
    _, effects = policy.ask(Ask("small"), 1002.0)
    assert not list(effects), "there would be room for it, but that is for the one that waits longer"
    policy.tick(5000.0)
    assert list(policy.release("a", held.slots[0], 5001.0)) == [Rest("a", None, "big")]
    assert list(policy.rested("a", 5002.0)) == [Load("big")]


def test_other_devices_are_not_concerned():
    policy = scheduler(
        *(InstanceFacts(name + str(gpu), {f"gpu{gpu}": 60}) for name in "ab" for gpu in (0, 1)), gpu1=100
    )
    resident(policy, "a0", "a1")
    policy.ask(Ask("a0"), 1.0)
    policy.ask(Ask("b0"), 2.0)
    _, effects = policy.ask(Ask("b1"), 3.0)
    assert list(effects) == [Rest("a1", None, "b1")]


def closed_loop(clients, load, answer=1.0, stop=0.2, until=120.0):
    machine = Machine(
        Scheduler(Ledger({"gpu0": 100})),
        {one: facts(one, load_seconds=load, stop_seconds=stop, answer_seconds=answer) for one in "ab"},
    )

    def follow(request):
        if machine.now < until:
            return Request(machine.now + 0.01, request.ask, answer, then=follow)
        return None

    for client in range(clients):
        for model in "ab":
            machine.send(Request(client * 0.1, Ask(model), answer, then=follow))
    machine.run()
    return machine


@pytest.mark.parametrize("load", [1.0, 1.5])
@pytest.mark.parametrize("clients", [1, 3])
def test_clients_that_ask_again_and_again_are_served_together_before_a_swap(load, clients):
    machine = closed_loop(clients, load)
    assert all(one.granted is not None for one in machine.requests)
    assert len(machine.requests) >= 4 * machine.swaps
    assert waits(machine.requests)[-1] <= 30


def test_a_model_whose_client_comes_back_in_a_moment_is_not_swapped_out_between_two_requests():
    policy = resident(scheduler(facts("a"), facts("b")), "a")
    now = 100.0
    for _ in range(10):
        _, (held,) = policy.ask(Ask("a"), now)
        policy.release("a", held.slots[0], now + 1.0)
        now += 1.02
    _, effects = policy.ask(Ask("b"), now - 0.01)
    assert not list(effects)
    assert policy.next_time() - now < 0.2
    assert list(policy.tick(policy.next_time())) == [Rest("a", None, "b")]


def test_what_lies_on_a_device_of_which_nothing_is_known_keeps_no_model_out():
    """A GPU whose memory no driver tells is no device of the ledger; after a sleep a model was refused for it."""
    needs = {"gpu0": 60, "gpu7": 10**12}
    policy = scheduler(facts("a", needs=needs, sleeps=(SleepFacts(1, {"gpu0": 1, "gpu7": 5}, 1.0),)))
    _, effects = policy.ask(Ask("a"), 0.0)
    assert Load("a") in effects
    policy.loaded("a", 1.0, holds=needs)
    policy.release("a", 0, 2.0)
    (effect,) = policy.rest("a", 1, 3.0)
    assert effect == Rest("a", 1, None)
    policy.rested("a", 4.0, level=1, holds={"gpu0": 1, "gpu7": 5})
    assert policy.view("a").reserved == {"gpu0": 1}
    _, effects = policy.ask(Ask("a"), 5.0)
    assert Load("a") in effects
