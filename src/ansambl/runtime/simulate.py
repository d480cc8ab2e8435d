"""A machine under a virtual clock: a trace of requests, a policy, and what became of each request.

How an engine works on requests is told in `simulated`.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf

from ansambl.domain.scheduling import RequestClass
from ansambl.runtime.scheduling.policy import Policy
from ansambl.runtime.scheduling.records import Ask, Effect, Grant, Load, Refusal, Refuse, Rest
from ansambl.runtime.simulated import CLASSES, SimulatedEngine, SimulatedInstance, Trace

_MAY_SWAP = tuple(one.may_swap for one in CLASSES)
_TICKS = 10_000
"""Ticks at one moment after which a policy is taken to be stuck."""


class StuckError(Exception):
    """A policy leaves requests waiting and asks for nothing by which they could be served."""


@dataclass(slots=True)
class SimulationResult:
    """What became of the requests. Waits are seconds from a request to its place, by class, in no order.

    `swaps` counts loads (or wakings) for which another instance had to rest; `swaps_by_background` those of them for
    whose model no interactive or batch request waited when the other was told to rest. `seconds` is from the first
    request to the last answer, `idle_seconds` the part of it in which no request was being answered.
    """

    requests: int = 0
    answered: int = 0
    refused: dict[tuple[RequestClass, Refusal], int] = field(default_factory=dict)
    swaps: int = 0
    swaps_by_background: int = 0
    loads: dict[str, int] = field(default_factory=dict)
    wakes: int = 0
    waits: dict[RequestClass, array[float]] = field(default_factory=lambda: {one: array("d") for one in CLASSES})
    first_tokens: dict[RequestClass, array[float]] = field(
        default_factory=lambda: {one: array("d") for one in CLASSES}
    )  # fmt: skip
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    idle_seconds: float = 0.0


class _Run:
    """One trace under one policy."""

    def __init__(self, policy: Policy, instances: Iterable[SimulatedInstance], trace: Trace) -> None:
        self.policy = policy
        self.trace = trace
        self.engines = {one.facts.model: SimulatedEngine(one) for one in instances}
        self.active = list(self.engines.values())
        self.result = SimulationResult(requests=len(trace))
        self.changes: list[tuple[float, int, str, int | None, float]] = []
        self.changed = 0
        self.waiting: dict[int, int] = {}
        self.urgent = dict.fromkeys(self.engines, 0)
        self.swap_for: dict[str, bool] = {}
        self.present: set[str] = set()
        self.granted = array("d", bytes(8 * len(trace)))
        self.running = 0
        self.idle_since = 0.0
        self.idle = 0.0

    def perform(self, effects: Sequence[Effect], now: float) -> None:
        """Do what the policy wants."""
        for effect in effects:
            if isinstance(effect, Grant):
                self._grant(effect, now)
            elif isinstance(effect, Load):
                self._load(effect.model, now)
            elif isinstance(effect, Rest):
                self._rest(effect, now)
            else:
                self._refuse(effect)

    def _leave_queue(self, ticket: int) -> int:
        index = self.waiting.pop(ticket)
        if _MAY_SWAP[self.trace.request_class[index]]:
            self.urgent[self.trace.models[self.trace.model[index]]] -= 1
        return index

    def _grant(self, grant: Grant, now: float) -> None:
        index, trace, result = self._leave_queue(grant.ticket), self.trace, self.result
        engine = self.engines[grant.model]
        request_class = CLASSES[trace.request_class[index]]
        result.waits[request_class].append(now - trace.times[index])
        slot = grant.slots[0] if grant.slots else None
        engine.places[index] = slot
        prompt, chat, cached = trace.prompt[index], trace.conversation[index], 0
        if chat:
            # The last token is read in any case: its output begins the answer.
            cached = max(0, min(engine.held(chat, slot), prompt - 1))
            result.cached_tokens += cached
        result.prompt_tokens += prompt
        if not self.running:
            self.idle += now - self.idle_since
        self.running += 1
        self.granted[index] = now
        engine.begin(now, index, prompt - cached)

    def _refuse(self, refuse: Refuse) -> None:
        index, refused = self._leave_queue(refuse.ticket), self.result.refused
        key = CLASSES[self.trace.request_class[index]], refuse.refusal
        refused[key] = refused.get(key, 0) + 1

    def _load(self, model: str, now: float) -> None:
        engine, result = self.engines[model], self.result
        self.present.add(model)
        if model in self.swap_for:
            result.swaps += 1
            result.swaps_by_background += not self.swap_for.pop(model)
        seconds = engine.facts.load_seconds
        if engine.level is None:
            result.loads[model] = result.loads.get(model, 0) + 1
        else:
            seconds = next(one.wake_seconds for one in engine.facts.sleeps if one.level == engine.level)
            result.wakes += 1
        self._later(now + seconds, model, "loaded", None, seconds)

    def _rest(self, rest: Rest, now: float) -> None:
        engine = self.engines[rest.model]
        if engine.running:
            message = f"{rest.model} was told to rest while {engine.running} requests were in flight"
            raise StuckError(message)
        # One that is told to go for two reasons may name the one that is met already.
        if rest.wanted is not None and rest.wanted not in self.present:
            self.swap_for.setdefault(rest.wanted, self.urgent[rest.wanted] > 0)
        engine.forget()
        self.present.discard(rest.model)
        self._later(now + engine.facts.stop_seconds, rest.model, "rested", rest.level, 0.0)

    def _later(self, time: float, model: str, what: str, level: int | None, seconds: float) -> None:
        self.changed += 1
        heappush(self.changes, (time, self.changed, model if what == "loaded" else f"-{model}", level, seconds))

    def change(self) -> tuple[float, Sequence[Effect]]:
        """The next start or stop that is complete."""
        now, _, model, level, seconds = heappop(self.changes)
        if model.startswith("-"):
            model = model[1:]
            engine = self.engines[model]
            engine.level = level
            holds = next((one.holds for one in engine.facts.sleeps if one.level == level), None)
            return now, self.policy.rested(model, now, level=level, holds=holds)
        self.engines[model].level = None
        return now, self.policy.loaded(model, now, seconds=seconds)

    def work(self, engine: SimulatedEngine, now: float) -> Sequence[Effect]:
        """The next step of an engine: a prompt was read, or an answer is complete."""
        trace, result = self.trace, self.result
        index, done = engine.go(now, trace.output)
        if not done:
            arrived = trace.times[index]
            result.first_tokens[CLASSES[trace.request_class[index]]].append(now - arrived)
            return ()
        slot = engine.places.pop(index)
        engine.hold(trace.conversation[index], slot, trace.prompt[index] + trace.output[index])
        result.answered += 1
        result.output_tokens += trace.output[index]
        self.running -= 1
        if not self.running:
            self.idle_since = now
        return self.policy.release(engine.facts.model, slot, now, seconds=now - self.granted[index])

    def ask(self, index: int, now: float) -> Sequence[Effect]:
        """A request comes."""
        trace = self.trace
        model, number = trace.models[trace.model[index]], trace.request_class[index]
        if _MAY_SWAP[number]:
            self.urgent[model] += 1
        ticket, effects = self.policy.ask(Ask(model, CLASSES[number], trace.hints[trace.conversation[index]]), now)
        self.waiting[ticket] = index
        return effects

    def run(self) -> SimulationResult:
        """From the first request to the last."""
        trace, policy, active, changes = self.trace, self.policy, self.active, self.changes
        order = iter(trace.order())
        following = next(order, None)
        times = trace.times
        began = now = self.idle_since = times[following] if following is not None else 0.0
        for engine in active:
            self.perform(policy.add(engine.facts, now), now)
        ticks, ended = 0, began
        while following is not None or self.waiting or self.running:
            arrival = times[following] if following is not None else inf
            engine = min(active, key=_due)
            tick = policy.next_time()
            change = changes[0][0] if changes else inf
            # What is over makes room before anything new is decided at the same moment.
            at = min(arrival, engine.due, change, inf if tick is None else tick)
            if at == inf:
                raise StuckError(f"{len(self.waiting)} requests wait and nothing is to come")
            ticks = ticks + 1 if tick is not None and tick <= now and at <= now else 0
            if ticks > _TICKS:
                raise StuckError(f"the policy wants one tick after another at {now} s")
            now = max(now, at)
            if engine.due <= now:
                effects = self.work(engine, now)
                ended = now
            elif change <= now:
                now, effects = self.change()
            elif arrival <= now and following is not None:
                effects = self.ask(following, now)
                following = next(order, None)
            else:
                effects = policy.tick(now)
            if effects:
                self.perform(effects, now)
        self.result.seconds = ended - began
        self.result.idle_seconds = self.idle
        return self.result


def _due(engine: SimulatedEngine) -> float:
    return engine.due


def simulate(policy: Policy, instances: Iterable[SimulatedInstance], trace: Trace) -> SimulationResult:
    """Have `policy` serve `trace` on `instances`, which it does not know yet; it must be new.

    Raises:
        StuckError: the policy leaves requests waiting for ever, or stops an instance that works.
        KeyError: the trace names a model that no instance serves.
    """
    return _Run(policy, instances, trace).run()


def spread(seconds: array[float]) -> Mapping[str, float | None]:
    """The median, the 95th percentile (nearest rank) and the longest; None where there are none."""
    if not seconds:
        return {"p50": None, "p95": None, "max": None}
    ordered = sorted(seconds)
    last = len(ordered) - 1
    return {
        "p50": round(ordered[last // 2], 3),
        "p95": round(ordered[min(last, -(-len(ordered) * 95 // 100) - 1)], 3),
        "max": round(ordered[last], 3),
    }
