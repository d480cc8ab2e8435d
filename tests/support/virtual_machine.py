"""A machine under a virtual clock: it does what a scheduling policy says, and checks that it may."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from ansambl.domain.scheduling import RequestClass
from ansambl.runtime.scheduling.policy import Policy
from ansambl.runtime.scheduling.records import Ask, Grant, InstanceFacts, Load, Refusal, Refuse, Rest


@dataclass
class Request:
    """One request of a trace, and what became of it. A closed-loop client sends `then` when it was answered."""

    at: float
    ask: Ask
    answer: float = 1.0
    gives_up: float | None = None
    then: Callable[[Request], Request | None] | None = None
    ticket: int = 0
    granted: float | None = None
    model: str = ""
    refused: Refusal | None = None
    withdrawn: bool = False
    swaps: int = 0

    @property
    def wait(self) -> float:
        assert self.granted is not None
        return self.granted - self.at


@dataclass
class Machine:
    """Drives `policy` over a trace. `loads` and `rests` are what was done, `broken` models fail to load that often."""

    policy: Policy
    facts: dict[str, InstanceFacts]
    load_seconds: Callable[[str], float] | None = None
    fails: dict[str, int] = field(default_factory=dict)
    now: float = 0.0
    loads: list[tuple[float, str]] = field(default_factory=list)
    rests: list[tuple[float, str, int | None, str | None]] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    in_flight: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    busy_slots: set[tuple[str, int]] = field(default_factory=set)
    steps: int = 0

    def __post_init__(self) -> None:
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._by_ticket: dict[int, Request] = {}
        self._early: list[Grant | Refuse] = []
        self.working: dict[str, bool] = defaultdict(bool)
        for one in self.facts.values():
            self.perform(self.policy.add(one, self.now))

    def at(self, when: float, action: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._events, (when, self._order, action))

    def send(self, request: Request) -> None:
        self.requests.append(request)
        self.at(request.at, lambda: self._ask(request))

    def run(self, until: float = float("inf"), limit: int = 2_000_000) -> None:
        """Until nothing is left to do."""
        while True:
            due = self.policy.next_time()
            nothing = not self._events
            if nothing and due is None:
                return
            when = min(self._events[0][0] if self._events else float("inf"), due if due is not None else float("inf"))
            if when > until:
                return
            self.steps += 1
            assert self.steps < limit, "the policy wants to be called for ever"
            self.now = max(self.now, when)
            if self._events and self._events[0][0] <= when:
                heapq.heappop(self._events)[2]()
            else:
                self.perform(self.policy.tick(self.now))

    def perform(self, effects) -> None:
        for one in effects:
            if isinstance(one, Grant | Refuse):
                if one.ticket in self._by_ticket:
                    self._outcome(self._by_ticket.pop(one.ticket), one)
                else:
                    self._early.append(one)
            elif isinstance(one, Load):
                assert not self.working[one.model], "a single flight"
                self.working[one.model] = True
                self.loads.append((self.now, one.model))
                seconds = self.load_seconds(one.model) if self.load_seconds else self.facts[one.model].load_seconds
                self.at(self.now + seconds, lambda model=one.model, seconds=seconds: self._loaded(model, seconds))
            elif isinstance(one, Rest):
                assert not self.in_flight[one.model], "nothing in flight is ever stopped"
                self.working[one.model] = True
                self.rests.append((self.now, one.model, one.level, one.wanted))
                self.at(
                    self.now + self.facts[one.model].stop_seconds,
                    lambda model=one.model, level=one.level: self._rested(model, level),
                )

    def _loaded(self, model: str, seconds: float) -> None:
        self.working[model] = False
        if self.fails.get(model, 0):
            self.fails[model] -= 1
            self.perform(self.policy.load_failed(model, self.now, out_of_memory=True))
        else:
            self.perform(self.policy.loaded(model, self.now, seconds=seconds))

    def _rested(self, model: str, level: int | None) -> None:
        self.working[model] = False
        self.perform(self.policy.rested(model, self.now, level=level))

    def _ask(self, request: Request) -> None:
        self._early = []
        request.ticket, effects = self.policy.ask(request.ask, self.now)
        self._by_ticket[request.ticket] = request
        self.perform(effects)
        if request.gives_up is not None:
            self.at(self.now + request.gives_up, lambda: self._give_up(request))

    def _give_up(self, request: Request) -> None:
        if request.ticket in self._by_ticket:
            del self._by_ticket[request.ticket]
            request.withdrawn = True
        self.perform(self.policy.withdraw(request.ticket, self.now))

    def _outcome(self, request: Request, outcome: Grant | Refuse) -> None:
        if isinstance(outcome, Refuse):
            request.refused = outcome.refusal
            self._follow(request)
            return
        request.granted, request.model, request.swaps = self.now, outcome.model, outcome.swaps
        for slot in outcome.slots:
            assert (outcome.model, slot) not in self.busy_slots, "a slot has one request at a time"
            self.busy_slots.add((outcome.model, slot))
        releases = outcome.slots or (None,) * max(1, request.ask.count)
        self.in_flight[outcome.model] += len(releases)
        self.at(self.now + request.answer, lambda: self._release(request, outcome.model, releases))

    def _release(self, request: Request, model: str, slots: tuple[int | None, ...]) -> None:
        for slot in slots:
            self.in_flight[model] -= 1
            self.busy_slots.discard((model, slot))
            self.perform(self.policy.release(model, slot, self.now, seconds=request.answer))
        self._follow(request)

    def _follow(self, request: Request) -> None:
        following = request.then(request) if request.then is not None else None
        if following is not None:
            self.send(following)

    @property
    def swaps(self) -> int:
        return sum(1 for _, _, _, wanted in self.rests if wanted is not None)


def waits(requests: list[Request], kind: RequestClass | None = None) -> list[float]:
    """The sorted waits of those that were granted."""
    return sorted(one.wait for one in requests if one.granted is not None and kind in {None, one.ask.request_class})
