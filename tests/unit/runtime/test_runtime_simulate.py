"""The simulation: its arithmetic against figures worked out by hand, and what it tells of policies that misbehave."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import pytest

from ansambl.domain.scheduling import RequestClass
from ansambl.runtime.scheduling.records import (
    Ask,
    DeviceView,
    Effect,
    Grant,
    InstanceFacts,
    InstanceView,
    Load,
    Memory,
    Refusal,
    Refuse,
    Rest,
    SleepFacts,
)
from ansambl.runtime.simulate import SimulationResult, StuckError, simulate, spread
from ansambl.runtime.simulated import SimulatedInstance, Trace


class OneAtATime:
    """One instance is resident; the request that came first decides which. It numbers its slots."""

    def __init__(self, *, sleeps: int | None = None, patience: float = float("inf"), stuck: bool = False) -> None:
        self.facts: dict[str, InstanceFacts] = {}
        self.queue: deque[tuple[int, Ask, float]] = deque()
        self.free: dict[str, list[int]] = {}
        self.resident: str | None = None
        self.changing = False
        self.running = 0
        self.level = sleeps
        self.patience = patience
        self.stuck = stuck
        self.tickets = 0

    def add(self, facts: InstanceFacts, now: float, *, holds: Memory | None = None) -> Sequence[Effect]:
        self.facts[facts.model] = facts
        self.free[facts.model] = list(range(facts.places or 1))
        return ()

    def ask(self, ask: Ask, now: float) -> tuple[int, Sequence[Effect]]:
        self.tickets += 1
        self.queue.append((self.tickets, ask, now))
        return self.tickets, self.serve()

    def serve(self) -> Sequence[Effect]:
        effects: list[Effect] = []
        while self.queue and not self.changing and not self.stuck:
            ticket, ask, _ = self.queue[0]
            if self.resident == ask.model:
                if not self.free[ask.model]:
                    break
                self.queue.popleft()
                self.running += 1
                effects.append(Grant(ticket, ask.model, (self.free[ask.model].pop(0),)))
                continue
            if self.running:
                break
            self.changing = True
            effects.append(Load(ask.model) if self.resident is None else Rest(self.resident, self.level, ask.model))
        return effects

    def release(self, model: str, slot: int | None, now: float, *, seconds: float | None = None) -> Sequence[Effect]:
        assert slot is not None
        self.running -= 1
        self.free[model].insert(0, slot)
        return self.serve()

    def loaded(
        self, model: str, now: float, *, holds: Memory | None = None, seconds: float | None = None
    ) -> Sequence[Effect]:
        self.changing, self.resident = False, model
        return self.serve()

    def rested(
        self, model: str, now: float, *, level: int | None = None, holds: Memory | None = None
    ) -> Sequence[Effect]:
        self.changing, self.resident = False, None
        return self.serve()

    def tick(self, now: float) -> Sequence[Effect]:
        late = [one for one in self.queue if one[2] + self.patience <= now]
        self.queue = deque(one for one in self.queue if one not in late)
        return [Refuse(ticket, Refusal.EXPIRED) for ticket, _, _ in late]

    def next_time(self) -> float | None:
        times = [one[2] + self.patience for one in self.queue]
        return min(times) if times and self.patience < float("inf") else None

    def remove(self, model: str, now: float) -> Sequence[Effect]:
        raise NotImplementedError

    def withdraw(self, ticket: int, now: float) -> Sequence[Effect]:
        raise NotImplementedError

    def load_failed(self, model: str, now: float, *, out_of_memory: bool, retry_after: float = 5) -> Sequence[Effect]:
        raise NotImplementedError

    def measured(self, model: str, holds: Memory, now: float) -> Sequence[Effect]:
        raise NotImplementedError

    def foreign(self, held: Memory, now: float) -> Sequence[Effect]:
        raise NotImplementedError

    def rest(self, model: str, level: int | None, now: float) -> Sequence[Effect]:
        raise NotImplementedError

    def view(self, model: str) -> InstanceView:
        raise NotImplementedError

    def devices(self) -> Sequence[DeviceView]:
        raise NotImplementedError


def instance(
    model: str = "m", *, places: int = 1, together: float | None = None, kept: int = 0, sleeps: bool = False
) -> SimulatedInstance:
    levels = (SleepFacts(1, {}, 3.0),) if sleeps else ()
    facts = InstanceFacts(model, places=places, load_seconds=20, stop_seconds=2, sleeps=levels)
    return SimulatedInstance(facts, prefill=100, decode=10, together=together, full=places, kept_tokens=kept)


def served(
    *requests: tuple[float, str, int, int, str | None], policy: OneAtATime | None = None, places: int = 1,
    together: float | None = None, kept: int = 0, sleeps: bool = False, kind: RequestClass = RequestClass.INTERACTIVE,
) -> SimulationResult:  # fmt: skip
    trace = Trace()
    for t, model, prompt, output, conversation in requests:
        trace.add(t, model, kind, prompt_tokens=prompt, output_tokens=output, conversation=conversation)
    made = [instance(one, places=places, together=together, kept=kept, sleeps=sleeps) for one in dict.fromkeys("mn")]
    return simulate(policy or OneAtATime(), made, trace)


def waits(result: SimulationResult) -> list[float]:
    return [round(one, 6) for one in result.waits[RequestClass.INTERACTIVE]]


def test_a_request_takes_the_load_the_prompt_and_the_answer() -> None:
    result = served((5, "m", 200, 30, None))
    # 20 s of load, 200/100 s of reading, 30/10 s of answering.
    assert waits(result) == [20]
    assert list(result.first_tokens[RequestClass.INTERACTIVE]) == [pytest.approx(22)]
    assert result.seconds == pytest.approx(25)
    assert result.idle_seconds == pytest.approx(20)
    assert (result.answered, result.output_tokens, result.loads) == (1, 30, {"m": 1})


def test_requests_at_once_share_the_reading_and_gain_in_answering() -> None:
    # Both begin after the load: 2 × 100 tokens read in 2 s, then 2 × 30 tokens at 15 tokens/s in all: 4 s.
    result = served((0, "m", 100, 30, None), (0, "m", 100, 30, None), places=2, together=15)
    assert result.seconds == pytest.approx(20 + 2 + 4)
    assert waits(result) == [20, 20]


def test_one_that_is_alone_again_goes_on_at_the_full_rate() -> None:
    # Together at 12 tokens/s: the short one ends after 10/6 s; the other has 30 - 10 tokens left at 10 tokens/s.
    result = served((0, "m", 100, 10, None), (0, "m", 100, 30, None), places=2, together=12)
    assert result.seconds == pytest.approx(20 + 2 + 10 / 6 + 2)


def test_swaps_and_who_they_were_for() -> None:
    result = served((0, "m", 100, 10, None), (1, "n", 100, 10, None))
    # The second: m is loaded (20), answers (2), stops (2), n is loaded (20).
    assert waits(result) == [20, 43]
    assert (result.swaps, result.swaps_by_background, result.loads) == (1, 0, {"m": 1, "n": 1})
    background = served((0, "m", 100, 10, None), (1, "n", 100, 10, None), kind=RequestClass.BACKGROUND)
    assert (background.swaps, background.swaps_by_background) == (1, 1)


def test_a_sleeping_instance_wakes_faster() -> None:
    result = served(
        (0, "m", 100, 10, None), (1, "n", 100, 10, None), (2, "m", 100, 10, None),
        policy=OneAtATime(sleeps=1), sleeps=True,
    )  # fmt: skip
    assert (result.swaps, result.wakes, result.loads) == (2, 1, {"m": 1, "n": 1})
    # m until 22, rests until 24, n until 46, rests until 48, m wakes until 51.
    assert waits(result)[-1] == 49


def test_a_conversation_reads_only_what_is_new() -> None:
    result = served((0, "m", 1000, 10, "a"), (0, "m", 1500, 10, "a"))
    assert result.cached_tokens == 1010
    assert result.seconds == pytest.approx(20 + 10 + 1 + 4.9 + 1)


def test_another_conversation_takes_the_slot() -> None:
    assert served((0, "m", 100, 10, "a"), (0, "m", 100, 10, "b"), (0, "m", 200, 10, "a")).cached_tokens == 0


def test_the_last_token_of_a_prompt_is_read_in_any_case() -> None:
    assert served((0, "m", 100, 10, "a"), (0, "m", 100, 10, "a")).cached_tokens == 99


@pytest.mark.parametrize(("kept", "cached"), [(0, 0), (10_000, 110), (50, 0)])
def test_a_conversation_outlives_a_swap_where_states_are_kept(kept: int, cached: int) -> None:
    result = served((0, "m", 100, 10, "a"), (1, "n", 100, 10, None), (2, "m", 200, 10, "a"), kept=kept)
    assert (result.swaps, result.cached_tokens) == (2, cached)


def test_what_expires_is_counted_and_nothing_waits_for_it() -> None:
    result = served((0, "m", 100, 500, None), (1, "n", 100, 10, None), policy=OneAtATime(patience=30))
    assert result.refused == {(RequestClass.INTERACTIVE, Refusal.EXPIRED): 1}
    assert result.answered == 1
    assert result.seconds == pytest.approx(20 + 1 + 50)


def test_a_policy_that_lets_requests_wait_for_ever_is_told() -> None:
    with pytest.raises(StuckError, match="1 requests wait"):
        served((0, "m", 100, 10, None), policy=OneAtATime(stuck=True))


def test_a_policy_that_stops_what_works_is_told() -> None:
    class Careless(OneAtATime):
        def ask(self, ask: Ask, now: float) -> tuple[int, Sequence[Effect]]:
            ticket, effects = super().ask(ask, now)
            return ticket, effects if ticket == 1 else (Rest("m", None, "n"),)

    with pytest.raises(StuckError, match="in flight"):
        served((0, "m", 100, 100, None), (25, "n", 100, 10, None), policy=Careless())


def test_a_policy_that_ticks_without_end_is_told() -> None:
    class Restless(OneAtATime):
        def next_time(self) -> float | None:
            return 0.0

    with pytest.raises(StuckError, match="tick"):
        served((0, "m", 100, 10, None), policy=Restless())


def test_requests_may_stand_in_any_order() -> None:
    one, other = (7.0, "m", 100, 10, None), (3.0, "n", 100, 10, None)
    first, second = served(one, other), served(other, one)
    assert first.seconds == second.seconds
    assert sorted(waits(first)) == sorted(waits(second))


def test_a_spread_is_by_nearest_rank() -> None:
    from array import array

    assert spread(array("d", range(100, 0, -1))) == {"p50": 50, "p95": 95, "max": 100}
    assert spread(array("d", [4.0])) == {"p50": 4, "p95": 4, "max": 4}
    assert spread(array("d")) == {"p50": None, "p95": None, "max": None}


def test_an_empty_trace_is_nothing() -> None:
    result = simulate(OneAtATime(), [instance()], Trace())
    assert (result.requests, result.answered, result.seconds) == (0, 0, 0)


def test_one_prefix_cache_for_all_slots_forgets_what_was_not_used_for_longest() -> None:
    def cached(limit: int) -> int:
        trace = Trace()
        for chat in ("a", "b", "a"):
            trace.add(0, "m", prompt_tokens=100, output_tokens=10, conversation=chat)
        made = SimulatedInstance(InstanceFacts("m"), prefill=100, decode=10, cache_tokens=limit)
        return simulate(OneAtATime(), [made], trace).cached_tokens

    assert (cached(220), cached(219)) == (99, 0)
