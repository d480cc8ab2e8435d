"""Which slot a request gets and who is next: the longest common beginning, without anybody waiting too long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansambl.runtime.slots import LONGEST_COMPARED, PASSED_OVER_LIMIT, Slots, common_length


def granted(slots):
    return {one.ticket: one.slots for one in slots.grants()}


def run(slots, prompt, *, leave=True):
    """Grant one request at once, let it leave its prompt in its slot, and return the slot."""
    ticket = slots.ask(prompt)
    (slot,) = granted(slots)[ticket]
    slots.holds(slot, prompt)
    if leave:
        slots.give_back(slot)
    return slot


@given(st.binary(max_size=30), st.binary(max_size=30), st.binary(max_size=30))
def test_the_common_beginning_is_counted_in_bytes(common, one, other):
    found = common_length(common + one, common + other)
    assert (common + one)[:found] == (common + other)[:found]
    assert found >= len(common)
    longer = (common + one)[: found + 1], (common + other)[: found + 1]
    assert longer[0] != longer[1] or found == min(len(common + one), len(common + other))


def test_a_conversation_goes_on_where_it_was():
    slots = Slots(3)
    conversations = [bytes([letter]) * 1000 for letter in b"abc"]
    homes = [run(slots, one) for one in conversations]
    assert sorted(homes) == [0, 1, 2]
    assert [run(slots, one + b"more") for one in reversed(conversations)] == list(reversed(homes))


def test_roles_of_one_conversation_share_a_slot_when_they_come_one_after_another():
    slots = Slots(4)
    home = run(slots, b"document " * 100 + b"note of the coder")
    assert run(slots, b"document " * 100 + b"note of the philosopher") == home


def test_a_new_conversation_takes_an_empty_slot_and_then_the_one_that_was_idle_longest():
    slots = Slots(2)
    first = run(slots, b"system" + b"a" * 1000)
    second = run(slots, b"system" + b"b" * 1000)
    assert first != second, "six bytes in common are not worth a thousand"
    run(slots, b"system" + b"a" * 1001)
    assert run(slots, b"system" + b"c" * 1000) == second


def test_a_busy_slot_is_not_taken():
    slots = Slots(2)
    prompt = b"a" * 100
    home = run(slots, prompt, leave=False)
    assert run(slots, prompt + b"b") != home


def test_a_new_engine_holds_nothing():
    slots = Slots(2)
    run(slots, b"x" * 50)
    home = run(slots, b"a" * 100)
    run(slots, b"x" * 51)
    slots.forget()
    assert run(slots, b"a" * 100) == home, "now the slot that was idle longest, not the one that shares"
    assert run(slots, b"b" * 100) != home


def test_of_those_that_wait_the_one_that_shares_most_is_next():
    slots = Slots(1)
    slot = run(slots, b"a" * 100, leave=False)
    stranger, friend, friend_too = (slots.ask(one) for one in (b"b" * 100, b"a" * 110, b"a" * 110))
    slots.give_back(slot)
    assert list(granted(slots)) == [friend]
    slots.give_back(slot)
    assert list(granted(slots)) == [friend_too], "equals in order of arrival"
    slots.give_back(slot)
    assert list(granted(slots)) == [stranger]


def test_nobody_is_passed_over_for_ever():
    slots = Slots(1)
    slot = run(slots, b"a" * 100, leave=False)
    stranger = slots.ask(b"b" * 100)
    for _ in range(PASSED_OVER_LIMIT):
        friend = slots.ask(b"a" * 101)
        slots.give_back(slot)
        assert list(granted(slots)) == [friend]
    slots.ask(b"a" * 101)
    slots.give_back(slot)
    assert list(granted(slots)) == [stranger]


def test_a_group_gets_all_its_slots_at_once():
    slots = Slots(3)
    alone = slots.ask(b"x")
    (busy,) = granted(slots)[alone]
    first, second = slots.ask(b"council", 2), slots.ask(b"another council", 99)
    assert len(granted(slots)[first]) == 2
    slots.give_back(busy)
    assert granted(slots) == {}, "the free slot is kept for the group that is first in line"
    later = slots.ask(b"y")
    assert granted(slots) == {}
    for slot in {0, 1, 2} - {busy}:
        slots.give_back(slot)
    found = granted(slots)
    assert set(found) == {second}
    assert sorted(found[second]) == [0, 1, 2], "as many as there are"
    slots.give_back(1)
    assert granted(slots) == {later: (1,)}


def test_a_group_begins_in_the_slot_that_shares_most():
    slots = Slots(3)
    homes = [run(slots, bytes([letter]) * 100) for letter in b"abc"]
    ticket = slots.ask(b"b" * 120, 2)
    found = granted(slots)
    assert found[ticket] == (homes[1], homes[0]), "then the one that was idle longest"


def test_who_waits_no_longer_keeps_nothing():
    slots = Slots(2)
    busy = run(slots, b"x", leave=False)
    group = slots.ask(b"g", 2)
    single = slots.ask(b"s")
    assert granted(slots) == {}
    slots.withdraw(group)
    assert list(granted(slots)) == [single]
    slots.give_back(busy)
    assert slots.waiting == 0


_REQUESTS = st.lists(
    st.tuples(st.sampled_from([b"a" * 90, b"b" * 90, b"c" * 40, b""]), st.integers(1, 4), st.integers(0, 3)),
    min_size=1, max_size=40,
)  # fmt: skip


@given(st.integers(1, 4), _REQUESTS)
def test_everybody_is_served_and_overtaken_a_bounded_number_of_times(count, requests):
    """Any traffic of single requests and groups: nobody starves, and no two ever wait for each other."""
    slots = Slots(count)
    arrived, served, busy = [], [], []

    def settle():
        for grant in slots.grants():
            assert not set(grant.slots) & {slot for slot, _ in busy}, "a slot has one request at a time"
            served.append(grant.ticket)
            for slot in grant.slots:
                slots.holds(slot, prompts[grant.ticket])
                busy.append((slot, grant.ticket))

    prompts = {}
    for prompt, wanted, ends in requests:
        ticket = slots.ask(prompt, wanted)
        prompts[ticket] = prompt
        arrived.append(ticket)
        settle()
        for _ in range(min(ends, len(busy))):
            slots.give_back(busy.pop(0)[0])
            settle()
    for _ in range(10 * len(requests) * count):
        if not busy:
            break
        slots.give_back(busy.pop(0)[0])
        settle()
    assert sorted(served) == arrived, "everybody was served"
    for place, ticket in enumerate(served):
        overtaken = sum(1 for other in served[:place] if other > ticket)
        assert overtaken <= PASSED_OVER_LIMIT


@given(st.lists(st.integers(1, 3), min_size=1, max_size=20))
def test_equals_are_served_in_order_of_arrival(counts):
    slots = Slots(3)
    tickets = [slots.ask(b"", count) for count in counts]
    served = []
    for _ in range(100):
        now = slots.grants()
        served += [one.ticket for one in now]
        for one in now:
            for slot in one.slots:
                slots.give_back(slot)
        if not slots.waiting:
            break
    assert served == tickets


def test_who_is_before_in_order_is_served_first_whenever_he_came():
    slots = Slots(1)
    slot = run(slots, b"", leave=False)
    low = slots.ask(b"", order=(1, 0.0))
    late, early = slots.ask(b"", order=(0, 30.0)), slots.ask(b"", order=(0, 10.0))
    assert slots.first() == (0, 10.0)
    served = []
    for _ in range(3):
        slots.give_back(slot)
        served += granted(slots)
    assert served == [early, late, low]


def test_sharing_with_a_slot_does_not_lift_a_lower_rank_above_a_higher_one():
    slots = Slots(1)
    slot = run(slots, b"a" * 100, leave=False)
    slots.ask(b"a" * 110, order=(1, 0.0))
    person = slots.ask(b"b" * 100, order=(0, 5.0))
    slots.give_back(slot)
    assert list(granted(slots)) == [person]


def test_nobody_is_passed_over_where_the_order_is_strict_and_none_is_served_after_the_last():
    slots = Slots(1)
    slot = run(slots, b"a" * 100, leave=False)
    first = slots.ask(b"b" * 100, order=(0, 1.0))
    friend = slots.ask(b"a" * 110, order=(0, 2.0))
    slots.give_back(slot)
    assert [one.ticket for one in slots.grants((0, 1.5), strict=True)] == [first]
    slots.give_back(slot)
    assert slots.grants((0, 1.5)) == []
    assert list(granted(slots)) == [friend]


def test_who_asks_for_no_slot_waits_for_nobody():
    slots = Slots(1)
    run(slots, b"", leave=False)
    slots.ask(b"")
    keeper = slots.ask(b"", 0)
    assert granted(slots) == {keeper: ()}
    assert slots.take_now(b"", 0) == ()
    assert slots.take_now(b"") is None


def test_other_slots_are_given_to_those_that_wait():
    slots = Slots(1)
    slot = run(slots, b"", leave=False)
    waiting = [slots.ask(b"") for _ in range(3)]
    slots.give_back(slot)
    slots.resize(2)
    assert list(granted(slots)) == waiting[:2]
    slots.resize(None)
    assert granted(slots) == {waiting[2]: ()}


def test_of_a_huge_prompt_the_beginning_is_kept():
    slots = Slots(2)
    picture = b"p" * (2 * LONGEST_COMPARED)
    home = run(slots, picture)
    assert sum(len(one.holds) for one in slots._slots) == LONGEST_COMPARED
    assert run(slots, picture + b"and what is this?") == home
